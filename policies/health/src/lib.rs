//! Leaves out the candidates that are failing.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::cells::Table;
use witgate_sdk::{About, Ask, Filter, Policy, Setup, Signal, register};

use rank::{Health, Limits, State};

/// A circuit breaker: out while cooling down or failing, with one decision at a time to try again.
#[derive(Debug)]
pub struct HealthFilter {
    limits: Limits,
    probe_every_ms: f64,
    /// When a failing deployment may be tried again, by target; on the host's clock.
    next_probe: Table,
    cooldown: Signal,
    failures: Signal,
    error_rate: Signal,
    samples: Signal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    consecutive_failures: f64,
    error_rate: f64,
    min_samples: f64,
    probe_every_ms: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { consecutive_failures: 5.0, error_rate: 0.5, min_samples: 20.0, probe_every_ms: 5000.0 }
    }
}

impl Policy for HealthFilter {
    const ABOUT: About = About::new("health", env!("CARGO_PKG_VERSION"), "Leaves out the candidates that are failing.")
        .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let settings: Settings = setup.settings()?;
        Ok(Self {
            limits: Limits {
                consecutive_failures: settings.consecutive_failures,
                error_rate: settings.error_rate,
                min_samples: settings.min_samples,
            },
            probe_every_ms: settings.probe_every_ms,
            next_probe: Table::open("next-probe", setup.deployments().len())?,
            cooldown: setup.signal("cooldown-ms"),
            failures: setup.signal("consecutive-failures"),
            error_rate: setup.signal("error-rate"),
            samples: setup.signal("samples"),
        })
    }
}

impl Filter for HealthFilter {
    fn keep(&self, ask: &Ask) -> Result<Vec<u32>, String> {
        let health = Health {
            cooldown: ask.signal(self.cooldown),
            consecutive_failures: ask.signal(self.failures),
            error_rate: ask.signal(self.error_rate),
            samples: ask.signal(self.samples),
        };
        let now = ask.request.now_ms;
        let rows = ask.candidates().iter().enumerate();
        let kept = rows.filter(|(row, target)| match health.state(*row, &self.limits) {
            State::Well => true,
            State::CoolingDown => false,
            State::Failing => self.may_probe(**target as usize, now),
        });
        let kept: Vec<u32> = kept.map(|(_, target)| *target).collect();
        // All are failing: any of them is better than none.
        Ok(if kept.is_empty() { ask.candidates().to_vec() } else { kept })
    }
}

impl HealthFilter {
    /// Says yes to one decision in each period, whichever instance makes it.
    fn may_probe(&self, target: usize, now: f64) -> bool {
        let next = self.next_probe.load(target);
        now >= next && self.next_probe.swap_if(target, next, now + self.probe_every_ms)
    }
}

register!(HealthFilter: filter);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::testing;

    fn policy() -> testing::Loaded<HealthFilter> {
        testing::reset();
        testing::load::<HealthFilter>(r#"{"probe_every_ms":1000}"#, &["a", "b", "c"]).unwrap()
    }

    #[test]
    fn the_cooling_and_the_failing_are_left_out() {
        let policy = policy();
        let ask = policy.ask().signal("cooldown-ms", &[0.0, 1.0, 0.0]);
        assert_eq!(ask.keep().unwrap(), [0, 2]);
        let failing = policy.ask().signal("consecutive-failures", &[4.0, 0.0, 5.0]);
        // the first decision after the breaker opened is a probe
        assert_eq!(failing.keep().unwrap(), [0, 1, 2]);
        assert_eq!(failing.keep().unwrap(), [0, 1]);
    }

    #[test]
    fn one_decision_in_each_period_may_try_again() {
        let policy = policy();
        let at = |now| policy.ask().signal("consecutive-failures", &[9.0, 0.0, 0.0]).at(now).keep().unwrap();
        assert_eq!(at(10_000.0), [0, 1, 2]);
        assert_eq!(at(10_000.0), [1, 2]);
        assert_eq!(at(10_999.0), [1, 2]);
        assert_eq!(at(11_000.0), [0, 1, 2]);
        assert_eq!(at(11_000.0), [1, 2]);
    }

    #[test]
    fn instances_share_the_probe() {
        let first = policy();
        let second = testing::load::<HealthFilter>(r#"{"probe_every_ms":1000}"#, &["a", "b", "c"]).unwrap();
        let keep = |policy: &testing::Loaded<HealthFilter>| {
            policy.ask().signal("consecutive-failures", &[9.0, 0.0, 0.0]).keep().unwrap()
        };
        assert_eq!((keep(&first), keep(&second)), (vec![0, 1, 2], vec![1, 2]));
    }

    #[test]
    fn when_all_are_bad_all_are_kept() {
        let policy = policy();
        assert_eq!(policy.ask().signal("cooldown-ms", &[1.0, 2.0, 3.0]).keep().unwrap(), [0, 1, 2]);
    }
}
