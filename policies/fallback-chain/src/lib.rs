//! Decides where a request goes after a failed attempt.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{
    About, Ask, Attempt, Fact, FailedAttempt, Fallback, Plan, Policy, Reason, Setup, Signal, Verdict, order, register,
};

use rank::{Answer, Candidates, Failure, Kind};

/// The next untried candidate that the failure leaves any hope for.
#[derive(Debug)]
pub struct FallbackChain {
    longest_wait_ms: f64,
    /// Place in the settings' order, by target.
    places: Vec<u32>,
    /// Number of the provider, by target.
    providers: Vec<u32>,
    /// By place in the catalogue's list of failures.
    kinds: Vec<Kind>,
    cooldown: Signal,
    window: Signal,
    deadline: Fact,
    reasons: Reasons,
}

#[derive(Debug)]
struct Reasons {
    next: Reason,
    larger: Reason,
    waited: Reason,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    order: Vec<String>,
    longest_wait_ms: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { order: Vec::new(), longest_wait_ms: 2000.0 }
    }
}

impl Policy for FallbackChain {
    const ABOUT: About =
        About::new("fallback-chain", env!("CARGO_PKG_VERSION"), "Decides where a request goes after a failed attempt.")
            .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { order, longest_wait_ms } = setup.settings()?;
        Ok(Self {
            longest_wait_ms,
            places: order::places("order", &order, setup.deployments())?,
            providers: order::providers(setup.deployments()),
            kinds: setup.failures().iter().map(|name| Kind::of(name)).collect(),
            cooldown: setup.signal("cooldown-ms"),
            window: setup.signal("context-tokens"),
            deadline: setup.fact("deadline-ms"),
            reasons: Reasons {
                next: setup.reason("next candidate after a failure"),
                larger: setup.reason("larger context window"),
                waited: setup.reason("waited as the upstream asked"),
            },
        })
    }
}

impl Fallback for FallbackChain {
    fn after_failure(&self, failures: &[FailedAttempt], ask: &Ask) -> Result<Verdict, String> {
        let failures: Vec<Failure> = failures.iter().map(|failed| self.judge(failed)).collect();
        let candidates = Candidates {
            targets: ask.candidates(),
            cooldown: ask.signal(self.cooldown),
            window: ask.signal(self.window),
            places: &self.places,
            providers: &self.providers,
        };
        let longest_wait = self.longest_wait_ms.min(ask.fact(self.deadline));
        Ok(match rank::decide(&failures, &candidates, longest_wait) {
            Answer::Next(row) => self.go(ask, row, 0.0, self.reasons.next),
            Answer::Larger(row) => self.go(ask, row, 0.0, self.reasons.larger),
            Answer::Wait(row, wait_ms) => self.go(ask, row, wait_ms, self.reasons.waited),
            Answer::GiveUp => Verdict::Abstain,
        })
    }
}

impl FallbackChain {
    fn judge(&self, failed: &FailedAttempt) -> Failure {
        let kind = self.kinds.get(failed.kind as usize).copied().unwrap_or(Kind::Final);
        Failure {
            target: failed.target,
            // A stream that broke too: whoever is named goes on with it, and only who can is offered.
            kind,
            retry_after_ms: failed.retry_after_ms,
        }
    }

    fn go(&self, ask: &Ask, row: usize, wait_ms: f64, reason: Reason) -> Verdict {
        let attempt = Attempt::at_once(ask.candidates()[row]).delayed(wait_ms);
        Plan::of(vec![attempt]).because(reason).into()
    }
}

register!(FallbackChain: fallback);

#[cfg(test)]
mod tests;
