//! Asks a second deployment when the first has been silent for longer than 98 of 100 requests of the kind take.

pub mod rank;
pub mod times;

use serde::Deserialize;
use witgate_sdk::cells::Table;
use witgate_sdk::{
    About, Ask, Attempt, Fact, Field, Observer, Outcomes, Plan, Policy, Reason, Router, Setup, Signal, Verdict, order,
    register,
};

use rank::Load;
use times::Cells;

/// A router with a second choice.
#[derive(Debug)]
pub struct Hedge {
    settings: Settings,
    cells: Table,
    routes: usize,
    /// Number of the provider, by target.
    providers: Vec<u32>,
    /// `hedge-lost` in the catalogue's list of endings, and `served`.
    endings: [f64; 2],
    signals: Signals,
    facts: Facts,
    fields: Fields,
    reasons: [Reason; 2],
}

#[derive(Debug)]
struct Signals {
    ttft: Signal,
    in_flight: Signal,
    weight: Signal,
    warm_up: Signal,
    samples: Signal,
    rpm: Signal,
    tpm: Signal,
}

#[derive(Debug)]
struct Facts {
    route: Fact,
    prompt: Fact,
    deadline: Fact,
    attempts_left: Fact,
}

#[derive(Debug)]
struct Fields {
    route: Field,
    ending: Field,
    tokens_in: Field,
    ttft: Field,
    latency: Field,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    quantile: f64,
    shortest_delay_ms: f64,
    min_samples: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { quantile: 0.98, shortest_delay_ms: 500.0, min_samples: 100.0 }
    }
}

impl Policy for Hedge {
    const ABOUT: About = About::new(
        "hedge",
        env!("CARGO_PKG_VERSION"),
        "Asks a second deployment when the first is silent for longer than usual.",
    )
    .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let settings = setup.settings()?;
        let routes = times::routes(setup.routes().len());
        let ending =
            |name: &str| setup.endings().iter().position(|known| known == name).map_or(-1.0, |place| place as f64);
        Ok(Self {
            settings,
            cells: Table::open("times", routes * times::SIZES * times::WIDTH)?,
            routes,
            providers: order::providers(setup.deployments()),
            endings: [ending("served"), ending("hedge-lost")],
            signals: Signals {
                ttft: setup.signal("ttft-peak-ewma-ms"),
                in_flight: setup.signal("in-flight"),
                weight: setup.signal("weight"),
                warm_up: setup.signal("warm-up"),
                samples: setup.signal("samples"),
                rpm: setup.signal("rpm-headroom"),
                tpm: setup.signal("tpm-headroom"),
            },
            facts: Facts {
                route: setup.fact("route"),
                prompt: setup.fact("prompt-tokens"),
                deadline: setup.fact("deadline-ms"),
                attempts_left: setup.fact("attempts-left"),
            },
            fields: Fields {
                route: setup.outcome("route"),
                ending: setup.outcome("ending"),
                tokens_in: setup.outcome("tokens-in"),
                ttft: setup.outcome("ttft-ms"),
                latency: setup.outcome("latency-ms"),
            },
            reasons: [setup.reason("expected soonest"), setup.reason("expected soonest, hedged")],
        })
    }
}

impl Router for Hedge {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let (rpm, tpm) = (ask.signal(self.signals.rpm), ask.signal(self.signals.tpm));
        let headroom: Vec<f64> = rpm.iter().zip(tpm).map(|(rpm, tpm)| rpm.min(*tpm)).collect();
        let load = Load {
            ttft: ask.signal(self.signals.ttft),
            in_flight: ask.signal(self.signals.in_flight),
            weight: ask.signal(self.signals.weight),
            warm_up: ask.signal(self.signals.warm_up),
            samples: ask.signal(self.signals.samples),
            headroom: &headroom,
        };
        let target = |row: usize| ask.candidates()[row];
        let first = rank::first(&load, &mut ask.random());
        let provider = |row| self.providers.get(target(row) as usize).copied().unwrap_or(0);
        let second = self.delay(ask).and_then(|delay| Some((rank::second(&load, first, provider)?, delay)));
        let plan = Plan::to(target(first));
        Ok(match second {
            None => plan.because(self.reasons[0]).into(),
            Some((row, delay)) => plan.then(Attempt::hedge(target(row), delay)).because(self.reasons[1]).into(),
        })
    }
}

impl Observer for Hedge {
    fn observe(&self, outcomes: &Outcomes) -> Result<(), String> {
        let column = |field| outcomes.field(field);
        let (route, ending) = (column(self.fields.route), column(self.fields.ending));
        let (tokens, ttft) = (column(self.fields.tokens_in), column(self.fields.ttft));
        let latency = column(self.fields.latency);
        let [served, lost] = self.endings;
        for row in outcomes.rows() {
            // One that lost was silent at least for so long: without it the slow would be forgotten.
            let millis = if ending[row] == served {
                ttft[row]
            } else if ending[row] == lost {
                latency[row]
            } else {
                continue;
            };
            let kind = times::kind(route[row] as usize, self.routes, tokens[row]);
            times::add(&self.cells, kind, millis, self.settings.quantile);
        }
        Ok(())
    }
}

impl Hedge {
    /// After how long a silence; `None` when this request is not to be hedged.
    fn delay(&self, ask: &Ask) -> Option<f64> {
        let kind = times::kind(ask.fact(self.facts.route) as usize, self.routes, ask.fact(self.facts.prompt));
        let (usual, samples) = times::published(&self.cells, kind);
        let delay = usual.max(self.settings.shortest_delay_ms);
        let in_time = 2.0 * delay < ask.fact(self.facts.deadline);
        (samples >= self.settings.min_samples && in_time && ask.fact(self.facts.attempts_left) >= 2.0).then_some(delay)
    }
}

impl Cells for Table {
    fn load(&self, index: usize) -> f64 {
        Self::load(*self, index)
    }

    fn store(&self, index: usize, value: f64) {
        Self::store(*self, index, value);
    }
}

register!(Hedge: router, observer);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::testing::{self, ENDINGS, Loaded, Question};

    fn policy(settings: &str) -> Loaded<Hedge> {
        testing::reset();
        testing::load(settings, &["m@a", "m@b"]).unwrap()
    }

    fn ask(policy: &Loaded<Hedge>) -> Question<'_, Hedge> {
        let ask = policy.ask().fact("deadline-ms", 60_000.0).fact("attempts-left", 4.0);
        ask.signal("ttft-peak-ewma-ms", &[100.0, 200.0]).signal("samples", &[9.0, 9.0])
    }

    fn ended(policy: &Loaded<Hedge>, ending: &str, times: usize, millis: f64) {
        let ending = ENDINGS.iter().position(|known| *known == ending).unwrap() as f64;
        let fields = [("ending", ending), ("ttft-ms", millis), ("latency-ms", millis), ("tokens-in", 10.0)];
        (0..times).for_each(|_| policy.observe(&fields).unwrap());
    }

    /// Delay of the hedge to the second deployment.
    fn hedge(asked: &Question<'_, Hedge>) -> Option<f64> {
        let Ok(Verdict::Follow(plan)) = asked.route() else { return None };
        assert_eq!(plan.attempts[0], Attempt::at_once(0));
        plan.attempts.get(1).map(|attempt| {
            assert_eq!(*attempt, Attempt::hedge(1, attempt.delay_ms));
            attempt.delay_ms
        })
    }

    #[test]
    fn a_kind_is_hedged_once_its_times_are_known() {
        let policy = policy("{}");
        ended(&policy, "served", 99, 800.0);
        assert_eq!(hedge(&ask(&policy)), None);
        ended(&policy, "served", 1, 800.0);
        let delay = hedge(&ask(&policy)).unwrap();
        assert!((800.0..921.0).contains(&delay), "{delay}");
        assert_eq!(hedge(&ask(&policy).fact("prompt-tokens", 5_000.0)), None, "of long prompts nothing is known");
    }

    #[test]
    fn the_delay_has_a_floor_and_must_fit_the_deadline() {
        let policy = policy(r#"{"shortest_delay_ms":50,"min_samples":10}"#);
        ended(&policy, "served", 10, 1.0);
        assert_eq!(hedge(&ask(&policy)), Some(50.0));
        assert_eq!(hedge(&ask(&policy).fact("deadline-ms", 101.0)), Some(50.0));
        assert_eq!(hedge(&ask(&policy).fact("deadline-ms", 100.0)), None);
        assert_eq!(hedge(&ask(&policy).fact("attempts-left", 1.0)), None);
        assert_eq!(hedge(&ask(&policy).signal("rpm-headroom", &[1.0, 0.2])), None);
    }

    #[test]
    fn what_lost_against_its_hedge_counts_as_slow_and_failures_do_not_count() {
        let policy = policy(r#"{"min_samples":10}"#);
        ended(&policy, "served", 90, 1_000.0);
        ended(&policy, "failed", 90, 9_000.0);
        let before = hedge(&ask(&policy)).unwrap();
        ended(&policy, "hedge-lost", 6, 3_000.0);
        let after = hedge(&ask(&policy)).unwrap();
        assert!(before < 1_200.0 && after > 3_000.0, "{before} {after}");
    }
}
