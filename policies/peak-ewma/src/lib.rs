//! Of two candidates taken at random, the one that is expected to answer sooner.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Policy, Router, Setup, Signal, Verdict, register};

use rank::Load;

/// Power of two choices over peak-sensitive latency times queue.
#[derive(Debug)]
pub struct PeakEwma {
    compare: Compare,
    ttft: Signal,
    in_flight: Signal,
    weight: Signal,
    warm_up: Signal,
    samples: Signal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    compare: Compare,
}

impl Default for Settings {
    fn default() -> Self {
        Self { compare: Compare::Two }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Compare {
    Two,
    All,
}

impl Policy for PeakEwma {
    const ABOUT: About = About::new(
        "peak-ewma",
        env!("CARGO_PKG_VERSION"),
        "Of two candidates taken at random, the one that is expected to answer sooner.",
    )
    .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { compare } = setup.settings()?;
        Ok(Self {
            compare,
            ttft: setup.signal("ttft-peak-ewma-ms"),
            in_flight: setup.signal("in-flight"),
            weight: setup.signal("weight"),
            warm_up: setup.signal("warm-up"),
            samples: setup.signal("samples"),
        })
    }
}

impl Router for PeakEwma {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let load = Load {
            ttft: ask.signal(self.ttft),
            in_flight: ask.signal(self.in_flight),
            weight: ask.signal(self.weight),
            warm_up: ask.signal(self.warm_up),
            samples: ask.signal(self.samples),
        };
        let mut random = ask.random();
        Ok(ask.pick(match self.compare {
            Compare::Two => rank::better_of_two(&load, &mut random),
            Compare::All => rank::best(&load, &mut random),
        }))
    }
}

register!(PeakEwma: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use witgate_sdk::testing;

    #[test]
    fn the_slow_candidate_of_two_is_never_picked() {
        let policy = testing::load::<PeakEwma>("{}", &["slow", "fast"]).unwrap();
        let ask = policy.ask().signal("ttft-peak-ewma-ms", &[900.0, 300.0]).signal("samples", &[5.0, 5.0]);
        for seed in 0..100 {
            assert_eq!(ask.clone().seed(seed).route(), Ok(Verdict::Pick(1)));
        }
    }

    #[test]
    fn comparing_all_finds_the_one_fast_candidate() {
        let policy = testing::load::<PeakEwma>(r#"{"compare":"all"}"#, &["a", "b", "c", "d"]).unwrap();
        let ask = policy.ask().signal("ttft-peak-ewma-ms", &[900.0, 800.0, 300.0, 700.0]).signal("samples", &[1.0; 4]);
        for seed in 0..100 {
            assert_eq!(ask.clone().seed(seed).route(), Ok(Verdict::Pick(2)));
        }
    }
}
