//! The candidate with the least work in flight for its weight.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Policy, Router, Setup, Signal, Verdict, register};

use rank::{Load, Measure};

/// Least work in flight, in tokens or in requests.
#[derive(Debug)]
pub struct LeastLoaded {
    measure: Measure,
    requests: Signal,
    tokens: Signal,
    weight: Signal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    measure: Measure,
}

impl Default for Settings {
    fn default() -> Self {
        Self { measure: Measure::Tokens }
    }
}

impl Policy for LeastLoaded {
    const ABOUT: About = About::new(
        "least-loaded",
        env!("CARGO_PKG_VERSION"),
        "The candidate with the least work in flight for its weight.",
    )
    .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { measure } = setup.settings()?;
        Ok(Self {
            measure,
            requests: setup.signal("in-flight"),
            tokens: setup.signal("tokens-in-flight"),
            weight: setup.signal("weight"),
        })
    }
}

impl Router for LeastLoaded {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let load = Load {
            requests: ask.signal(self.requests),
            tokens: ask.signal(self.tokens),
            weight: ask.signal(self.weight),
        };
        Ok(ask.pick_any_lowest(|row| load.of(row, self.measure)))
    }
}

register!(LeastLoaded: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::testing;

    #[test]
    fn tokens_decide_unless_the_settings_say_requests() {
        let pick = |settings| {
            let policy = testing::load::<LeastLoaded>(settings, &["long", "many"]).unwrap();
            policy.ask().signal("in-flight", &[1.0, 3.0]).signal("tokens-in-flight", &[9000.0, 300.0]).route()
        };
        assert_eq!(pick("{}"), Ok(Verdict::Pick(1)));
        assert_eq!(pick(r#"{"measure":"requests"}"#), Ok(Verdict::Pick(0)));
    }

    #[test]
    fn idle_candidates_are_all_used() {
        let policy = testing::load::<LeastLoaded>("{}", &["a", "b", "c"]).unwrap();
        let picked: Vec<_> = (0..60).map(|seed| policy.ask().seed(seed).route()).collect();
        for target in 0..3 {
            assert!(picked.contains(&Ok(Verdict::Pick(target))), "{target}");
        }
    }
}
