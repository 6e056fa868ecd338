//! Decides where a request goes after a failed attempt, so that none is lost that somebody could have answered.

pub mod rank;

use serde::Deserialize;
use witgate_sdk::{
    About, Ask, Attempt, Fact, FailedAttempt, Fallback, Plan, Policy, Reason, Setup, Signal, Verdict, order, register,
};

use rank::{Answer, Candidates, Failure, Kind, Patience, Standing};

/// The next candidate, key or moment that the failure leaves any hope for.
#[derive(Debug)]
pub struct Resilient {
    longest_wait_ms: f64,
    same_again: u32,
    /// Place in the settings' order, by target.
    places: Vec<u32>,
    /// Number of the provider, by target.
    providers: Vec<u32>,
    /// May get what a content filter refused, by target.
    after_filter: Vec<bool>,
    /// By place in the catalogue's list of failures.
    kinds: Vec<Kind>,
    signals: Signals,
    deadline: Fact,
    retries_left: Fact,
    reasons: Reasons,
}

#[derive(Debug)]
struct Signals {
    cooldown: Signal,
    breaker: Signal,
    window: Signal,
    ready_keys: Signal,
    usual: Signal,
}

#[derive(Debug)]
struct Reasons {
    next: Reason,
    key: Reason,
    larger: Reason,
    waited: Reason,
    again: Reason,
    unfiltered: Reason,
    anyway: Reason,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    order: Vec<String>,
    content_policy: Vec<String>,
    longest_wait_ms: f64,
    same_again: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { order: Vec::new(), content_policy: Vec::new(), longest_wait_ms: 2000.0, same_again: 1 }
    }
}

impl Policy for Resilient {
    const ABOUT: About = About::new(
        "resilient",
        env!("CARGO_PKG_VERSION"),
        "Decides where a request goes after a failed attempt, so that none is lost that somebody could have answered.",
    )
    .with_settings(include_str!("../settings.schema.json"));

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { order, content_policy, longest_wait_ms, same_again } = setup.settings()?;
        let named = order::places("content_policy", &content_policy, setup.deployments())?;
        Ok(Self {
            longest_wait_ms,
            same_again,
            places: order::places("order", &order, setup.deployments())?,
            providers: order::providers(setup.deployments()),
            after_filter: named.into_iter().map(|place| (place as usize) < content_policy.len()).collect(),
            kinds: setup.failures().iter().map(|name| Kind::of(name)).collect(),
            signals: Signals {
                cooldown: setup.signal("cooldown-ms"),
                breaker: setup.signal("breaker-state"),
                window: setup.signal("context-tokens"),
                ready_keys: setup.signal("ready-keys"),
                usual: setup.signal("ttft-p50-ms"),
            },
            deadline: setup.fact("deadline-ms"),
            retries_left: setup.fact("retries-left"),
            reasons: Reasons {
                next: setup.reason("next candidate after a failure"),
                key: setup.reason("another key of the same provider"),
                larger: setup.reason("larger context window"),
                waited: setup.reason("waited as the upstream asked"),
                again: setup.reason("once more after a pause"),
                unfiltered: setup.reason("after a content filter"),
                anyway: setup.reason("resting, but the others broke"),
            },
        })
    }
}

impl Fallback for Resilient {
    fn after_failure(&self, failures: &[FailedAttempt], ask: &Ask) -> Result<Verdict, String> {
        let failures: Vec<Failure> = failures.iter().map(|failed| self.judge(failed)).collect();
        let candidates = Candidates {
            targets: ask.candidates(),
            cooldown: ask.signal(self.signals.cooldown),
            breaker: ask.signal(self.signals.breaker),
            window: ask.signal(self.signals.window),
            ready_keys: ask.signal(self.signals.ready_keys),
            usual_ms: ask.signal(self.signals.usual),
        };
        let standing = Standing {
            places: &self.places,
            providers: &self.providers,
            after_filter: &self.after_filter,
            same_again: self.same_again,
        };
        let patience = Patience {
            longest_ms: self.longest_wait_ms,
            left_ms: ask.fact(self.deadline),
            may_retry: ask.fact(self.retries_left) >= 1.0,
            chance: ask.random().unit(),
        };
        let Reasons { next, key, larger, waited, again, unfiltered, anyway } = self.reasons;
        Ok(match rank::decide(&failures, &candidates, &standing, &patience) {
            Answer::Next(row) => go(ask, row, 0.0, next),
            Answer::OtherKey(row) => go(ask, row, 0.0, key),
            Answer::Larger(row) => go(ask, row, 0.0, larger),
            Answer::Unfiltered(row) => go(ask, row, 0.0, unfiltered),
            Answer::Wait(row, wait_ms) => go(ask, row, wait_ms, waited),
            Answer::Again(row, wait_ms) => go(ask, row, wait_ms, again),
            Answer::Anyway(row) => go(ask, row, 0.0, anyway),
            Answer::GiveUp => Verdict::Abstain,
        })
    }
}

impl Resilient {
    fn judge(&self, failed: &FailedAttempt) -> Failure {
        let kind = self.kinds.get(failed.kind as usize).copied().unwrap_or(Kind::Final);
        Failure {
            target: failed.target,
            // A stream that broke too: whoever is named goes on with it, and only who can is offered.
            kind,
            retry_after_ms: failed.retry_after_ms,
        }
    }
}

fn go(ask: &Ask, row: usize, wait_ms: f64, reason: Reason) -> Verdict {
    let attempt = Attempt::at_once(ask.candidates()[row]).delayed(wait_ms);
    Plan::of(vec![attempt]).because(reason).into()
}

register!(Resilient: fallback);

#[cfg(test)]
mod tests;
