//! The candidate with the least work in flight for its weight.

pub mod rank;
pub mod ready;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Policy, Router, Setup, Signal, Verdict, register};

use rank::{Load, Measure};
use ready::Ready;

/// Least work in flight, in tokens or in requests.
#[derive(Debug)]
pub struct LeastLoaded {
    measure: Measure,
    requests: Signal,
    tokens: Signal,
    weight: Signal,
    /// Only where it is wanted: a signal that is not read costs nothing.
    ready: Option<ReadySignals>,
}

#[derive(Debug)]
struct ReadySignals {
    loaded: Signal,
    free: Signal,
    running: Signal,
    queue: Signal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    measure: Measure,
    prefer_ready: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { measure: Measure::Tokens, prefer_ready: false }
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
        let Settings { measure, prefer_ready } = setup.settings()?;
        let ready = prefer_ready.then(|| ReadySignals {
            loaded: setup.signal("model-loaded"),
            free: setup.signal("upstream-free-slots"),
            running: setup.signal("upstream-running"),
            queue: setup.signal("upstream-queue"),
        });
        Ok(Self {
            measure,
            requests: setup.signal("in-flight"),
            tokens: setup.signal("tokens-in-flight"),
            weight: setup.signal("weight"),
            ready,
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
        let ready = self.ready.as_ref().map(|ready| Ready {
            in_flight: load.requests,
            loaded: ask.signal(ready.loaded),
            free: ask.signal(ready.free),
            running: ask.signal(ready.running),
            queue: ask.signal(ready.queue),
        });
        Ok(ask.pick_any_lowest(|row| (ready.as_ref().map(|ready| ready.class(row)), load.of(row, self.measure))))
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
    fn who_is_ready_comes_first_when_the_settings_say_so() {
        let pick = |settings, signal: &str, values: &[f64]| {
            let policy = testing::load::<LeastLoaded>(settings, &["busy", "idle"]).unwrap();
            policy
                .ask()
                .signal("in-flight", &[1.0, 0.0])
                .signal("tokens-in-flight", &[9.0, 0.0])
                .signal(signal, values)
                .route()
        };
        for (signal, values) in
            [("model-loaded", [1.0, 0.0]), ("upstream-free-slots", [3.0, 0.0]), ("upstream-queue", [0.0, 2.0])]
        {
            assert_eq!(pick(r#"{"prefer_ready":true}"#, signal, &values), Ok(Verdict::Pick(0)), "{signal}");
        }
        // where no server says anything, the load decides
        assert_eq!(pick(r#"{"prefer_ready":true}"#, "weight", &[1.0, 1.0]), Ok(Verdict::Pick(1)));
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
