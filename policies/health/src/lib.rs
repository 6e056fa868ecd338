//! Leaves out the candidates that are failing, or have no room.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Filter, Policy, Setup, Signal, register};

use rank::Health;

/// Goes by the host's breakers: leaves out who is open or cools down, and lets one request at a time try who is
/// half-open. Who carries out as many requests as it may is left out while another has room.
#[derive(Debug)]
pub struct HealthFilter {
    panic_share: f64,
    cooldown: Signal,
    breaker: Signal,
    free: Signal,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    panic_share: f64,
}

impl Policy for HealthFilter {
    const ABOUT: About =
        About::new("health", env!("CARGO_PKG_VERSION"), "Leaves out the candidates that are failing, or have no room.")
            .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { panic_share } = setup.settings()?;
        Ok(Self {
            panic_share,
            cooldown: setup.signal("cooldown-ms"),
            breaker: setup.signal("breaker-state"),
            free: setup.signal("free-slots"),
        })
    }
}

impl Filter for HealthFilter {
    fn keep(&self, ask: &Ask) -> Result<Vec<u32>, String> {
        let health = Health {
            cooldown: ask.signal(self.cooldown),
            breaker: ask.signal(self.breaker),
            free: ask.signal(self.free),
        };
        // Nearly always all are well: then nothing is put together.
        let is_well = |row: usize| health.cooldown[row] == 0.0 && health.breaker[row] == 0.0 && health.has_room(row);
        if ask.rows().all(is_well) {
            return Ok(ask.candidates().to_vec());
        }
        let rows = rank::keep(&health, ask.request.attempt, self.panic_share);
        Ok(rows.into_iter().map(|row| ask.candidates()[row]).collect())
    }
}

register!(HealthFilter: filter);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::testing;

    #[test]
    fn candidates_are_kept_by_their_targets() {
        let policy = testing::load::<HealthFilter>("{}", &["a", "b", "c"]).unwrap();
        assert_eq!(policy.ask().keep().unwrap(), [0, 1, 2]);
        let ask = policy.ask().candidates(&[2, 1]).signal("breaker-state", &[2.0, 0.0]);
        assert_eq!(ask.keep().unwrap(), [1]);
        let cooling = policy.ask().signal("cooldown-ms", &[0.0, 1.0, 0.0]);
        assert_eq!(cooling.keep().unwrap(), [0, 2]);
        let full = policy.ask().signal("free-slots", &[0.0, 3.0, 0.0]);
        assert_eq!(full.keep().unwrap(), [1]);
    }

    #[test]
    fn settings_reach_the_rule() {
        let policy = testing::load::<HealthFilter>(r#"{"panic_share":0.5}"#, &["a", "b"]).unwrap();
        assert_eq!(policy.ask().signal("breaker-state", &[0.0, 2.0]).keep().unwrap(), [0, 1]);
    }
}
