//! Tries the candidates in configured order.

mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Plan, Policy, Reason, Router, Setup, Verdict, register};

/// The first candidate, then the others in configured order for as long as attempts fail.
#[derive(Debug)]
pub struct InOrder {
    attempts: usize,
    reason: Reason,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    attempts: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempts: 4 }
    }
}

impl Policy for InOrder {
    const ABOUT: About = About::new("in-order", env!("CARGO_PKG_VERSION"), "Tries the candidates in configured order.")
        .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { attempts } = setup.settings()?;
        Ok(Self { attempts, reason: setup.reason("configured order") })
    }
}

impl Router for InOrder {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let attempts = rank::in_order(ask.candidates(), self.attempts);
        Ok(Plan::of(attempts).because(self.reason).into())
    }
}

register!(InOrder: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use witgate_sdk::{Attempt, testing};

    #[test]
    fn four_candidates_are_planned_unless_the_settings_say_otherwise() {
        let plan = |settings| {
            let policy = testing::load::<InOrder>(settings, &["a", "b", "c", "d", "e"]).unwrap();
            let verdict = policy.ask().route().unwrap();
            (verdict, policy.reasons().to_vec())
        };
        let attempts =
            vec![Attempt::at_once(0), Attempt::on_failure(1), Attempt::on_failure(2), Attempt::on_failure(3)];
        assert_eq!(plan("{}"), (Plan::of(attempts.clone()).into(), vec!["configured order".to_owned()]));
        assert_eq!(plan(r#"{"attempts":2}"#).0, Plan::of(attempts[..2].to_vec()).into());
    }
}
