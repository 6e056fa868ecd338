//! The less loaded of the fastest candidates.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Policy, Router, Setup, Signal, Verdict, register};

use rank::Times;

/// Among all candidates that are about as fast as the fastest, the less loaded.
#[derive(Debug)]
pub struct Latency {
    tolerance: f64,
    time: Signal,
    samples: Signal,
    in_flight: Signal,
    weight: Signal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    metric: String,
    tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { metric: "ttft-p90-ms".to_owned(), tolerance: 0.1 }
    }
}

impl Policy for Latency {
    const ABOUT: About = About::new("latency", env!("CARGO_PKG_VERSION"), "The less loaded of the fastest candidates.")
        .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { metric, tolerance } = setup.settings()?;
        Ok(Self {
            tolerance,
            time: setup.signal(&metric),
            samples: setup.signal("samples"),
            in_flight: setup.signal("in-flight"),
            weight: setup.signal("weight"),
        })
    }
}

impl Router for Latency {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let times = Times { time: ask.signal(self.time), samples: ask.signal(self.samples) };
        let limit = times.limit(self.tolerance);
        let (in_flight, weight) = (ask.signal(self.in_flight), ask.signal(self.weight));
        Ok(ask.pick_any_lowest(|row| (times.beyond(row, limit), in_flight[row] / weight[row])))
    }
}

register!(Latency: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::testing;

    #[test]
    fn within_the_tolerance_the_less_loaded_is_picked_and_beyond_it_the_faster() {
        let pick = |settings| {
            let policy = testing::load::<Latency>(settings, &["fast", "close", "slow"]).unwrap();
            let ask = policy.ask().signal("ttft-p90-ms", &[100.0, 109.0, 300.0]).signal("samples", &[50.0; 3]);
            ask.signal("in-flight", &[4.0, 1.0, 0.0]).route()
        };
        assert_eq!(pick("{}"), Ok(Verdict::Pick(1)));
        assert_eq!(pick(r#"{"tolerance":0.05}"#), Ok(Verdict::Pick(0)));
        assert_eq!(pick(r#"{"tolerance":3}"#), Ok(Verdict::Pick(2)));
    }

    #[test]
    fn the_metric_is_the_operators_choice() {
        let policy = testing::load::<Latency>(r#"{"metric":"latency-p50-ms"}"#, &["a", "b"]).unwrap();
        assert_eq!(policy.signals()[0], "latency-p50-ms");
        let ask = policy.ask().signal("latency-p50-ms", &[900.0, 300.0]).signal("samples", &[9.0, 9.0]);
        assert_eq!(ask.route(), Ok(Verdict::Pick(1)));
    }
}
