//! The candidate that the scorers before it rate best.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Plan, Policy, Reason, Router, Setup, Signal, Verdict, choose, register};

/// Among all candidates whose score is the best, or close to it, the one with the least work in flight.
#[derive(Debug)]
pub struct BestScore {
    tolerance: f64,
    score: Signal,
    tokens: Signal,
    requests: Signal,
    weight: Signal,
    best: Reason,
    tied: Reason,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    tolerance: f64,
}

impl Policy for BestScore {
    const ABOUT: About = About::new(
        "best-score",
        env!("CARGO_PKG_VERSION"),
        "The candidate that the chain's scorers rate best; of equals the one with the least work in flight.",
    )
    .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { tolerance } = setup.settings()?;
        Ok(Self {
            tolerance,
            score: setup.signal("score"),
            tokens: setup.signal("tokens-in-flight"),
            requests: setup.signal("in-flight"),
            weight: setup.signal("weight"),
            best: setup.reason("best score"),
            tied: setup.reason("least loaded of the best scores"),
        })
    }
}

impl Router for BestScore {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let [score, tokens, requests, weight] =
            [self.score, self.tokens, self.requests, self.weight].map(|signal| ask.signal(signal));
        let limit = rank::limit(score, self.tolerance);
        let row = choose::any_lowest(score.len(), &mut ask.random(), |row| {
            (score[row] < limit, tokens[row] / weight[row], requests[row] / weight[row])
        });
        let is_tied = score.iter().filter(|score| **score >= limit).nth(1).is_some();
        Ok(Plan::to(ask.candidates()[row]).because(if is_tied { self.tied } else { self.best }).into())
    }
}

register!(BestScore: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use witgate_sdk::testing::{self, Loaded};

    /// The target and the reason.
    fn answer(policy: &Loaded<BestScore>, verdict: Result<Verdict, String>) -> (u32, String) {
        let Ok(Verdict::Follow(plan)) = verdict else { panic!("no plan: {verdict:?}") };
        (plan.attempts[0].target, policy.reasons()[plan.reason as usize].clone())
    }

    #[test]
    fn the_best_score_is_picked_whatever_its_load_and_the_less_loaded_within_the_tolerance() {
        let pick = |settings| {
            let policy = testing::load::<BestScore>(settings, &["best", "close", "worst"]).unwrap();
            let ask = policy.ask().signal("score", &[0.9, 0.8, 0.1]).signal("tokens-in-flight", &[900.0, 300.0, 0.0]);
            answer(&policy, ask.route())
        };
        assert_eq!(pick("{}"), (0, "best score".to_owned()));
        assert_eq!(pick(r#"{"tolerance":0.09}"#), (0, "best score".to_owned()));
        assert_eq!(pick(r#"{"tolerance":0.1}"#), (1, "least loaded of the best scores".to_owned()));
        assert_eq!(pick(r#"{"tolerance":1}"#), (2, "least loaded of the best scores".to_owned()));
    }

    #[test]
    fn without_scores_the_load_for_the_weight_decides_and_requests_settle_ties() {
        let policy = testing::load::<BestScore>("{}", &["a", "b", "heavy"]).unwrap();
        let pick = |tokens: &[f64], requests: &[f64]| {
            let ask = policy.ask().signal("weight", &[1.0, 1.0, 4.0]);
            let ask = ask.signal("tokens-in-flight", tokens).signal("in-flight", requests);
            answer(&policy, ask.route()).0
        };
        assert_eq!(pick(&[1000.0, 800.0, 3000.0], &[1.0; 3]), 2);
        assert_eq!(pick(&[1000.0, 800.0, 3400.0], &[1.0; 3]), 1);
        assert_eq!(pick(&[0.0; 3], &[2.0, 1.0, 5.0]), 1);
    }

    #[test]
    fn equals_are_all_used_and_only_they() {
        let policy = testing::load::<BestScore>("{}", &["a", "b", "c"]).unwrap();
        let ask = policy.ask().signal("score", &[0.5, 0.2, 0.5]);
        let mut picked: Vec<u32> = (0..60).map(|seed| answer(&policy, ask.clone().seed(seed).route()).0).collect();
        picked.sort_unstable();
        picked.dedup();
        assert_eq!(picked, [0, 2]);
    }
}
