//! The candidate with the most room left under its rate limits.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{About, Ask, Fact, Policy, Router, Setup, Signal, Verdict, register};

use rank::Usage;

/// Most headroom; without room for this request a candidate comes last.
#[derive(Debug)]
pub struct UsageBased {
    output_tokens: f64,
    rpm_used: Signal,
    tpm_used: Signal,
    rpm_headroom: Signal,
    tpm_headroom: Signal,
    cooldown: Signal,
    in_flight: Signal,
    prompt: Fact,
    max_output: Fact,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    output_tokens: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { output_tokens: 256.0 }
    }
}

impl Policy for UsageBased {
    const ABOUT: About = About::new(
        "usage-based",
        env!("CARGO_PKG_VERSION"),
        "The candidate with the most room left under its rate limits.",
    )
    .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { output_tokens } = setup.settings()?;
        Ok(Self {
            output_tokens,
            rpm_used: setup.signal("rpm-used"),
            tpm_used: setup.signal("tpm-used"),
            rpm_headroom: setup.signal("rpm-headroom"),
            tpm_headroom: setup.signal("tpm-headroom"),
            cooldown: setup.signal("cooldown-ms"),
            in_flight: setup.signal("in-flight"),
            prompt: setup.fact("prompt-tokens"),
            max_output: setup.fact("max-output-tokens"),
        })
    }
}

impl Router for UsageBased {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let usage = Usage {
            rpm_used: ask.signal(self.rpm_used),
            tpm_used: ask.signal(self.tpm_used),
            rpm_headroom: ask.signal(self.rpm_headroom),
            tpm_headroom: ask.signal(self.tpm_headroom),
            cooldown: ask.signal(self.cooldown),
        };
        let max_output = ask.fact(self.max_output);
        let output = if max_output > 0.0 { max_output } else { self.output_tokens };
        let tokens = ask.fact(self.prompt) + output;
        let in_flight = ask.signal(self.in_flight);
        Ok(ask.pick_any_lowest(|row| (!usage.has_room(row, tokens), -usage.headroom(row), in_flight[row])))
    }
}

register!(UsageBased: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use witgate_sdk::testing;

    #[test]
    fn the_candidate_with_the_scarcer_limit_less_used_is_picked() {
        let policy = testing::load::<UsageBased>("{}", &["few-tokens-left", "few-requests-left"]).unwrap();
        let ask = policy.ask().signal("rpm-headroom", &[0.9, 0.3]).signal("tpm-headroom", &[0.2, 0.9]);
        assert_eq!(ask.route(), Ok(Verdict::Pick(1)));
    }

    #[test]
    fn without_room_for_the_prompt_a_candidate_is_last() {
        let policy = testing::load::<UsageBased>("{}", &["small", "large"]).unwrap();
        // 500 of 1,000 tokens are left, and 300,000 of 1,000,000
        let ask = policy.ask().signal("tpm-used", &[500.0, 700_000.0]).signal("tpm-headroom", &[0.5, 0.3]);
        assert_eq!(ask.clone().fact("prompt-tokens", 200.0).route(), Ok(Verdict::Pick(0)));
        assert_eq!(ask.clone().fact("prompt-tokens", 400.0).route(), Ok(Verdict::Pick(1)));
        // what the client allows as output is taken into account, instead of the usual 256
        let short = ask.fact("prompt-tokens", 400.0).fact("max-output-tokens", 100.0);
        assert_eq!(short.route(), Ok(Verdict::Pick(0)));
    }

    #[test]
    fn without_limits_the_less_busy_candidate_is_picked() {
        let policy = testing::load::<UsageBased>("{}", &["a", "b"]).unwrap();
        assert_eq!(policy.ask().signal("in-flight", &[2.0, 1.0]).route(), Ok(Verdict::Pick(1)));
    }
}
