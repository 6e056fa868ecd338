//! What a policy is asked and what it may answer, before anyone has checked the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::live::Millis;
use crate::vocabulary::{Fact, Signal};

/// The part of a question that makes it replayable: which decision, which attempt, the clock and the randomness.
///
/// All integers are below 2^31, because QuickJS reads a `u32` as signed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    /// Number of the decision; the same for all attempts of one request.
    pub decision: u32,
    /// Attempts made so far.
    pub attempt: u32,
    /// Uniform random, new for each call.
    pub seed: u32,
    /// Wall clock, milliseconds since 1970-01-01 UTC.
    pub now_ms: f64,
}

/// The largest integer that may cross into a policy, plus one.
pub const INTEGER_LIMIT: u32 = 1 << 31;

/// One value for each [`Fact`], neutral where nothing was set. Never NaN or infinite.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts([f64; Fact::COUNT]);

impl Default for Facts {
    fn default() -> Self {
        let mut values = [0.0; Fact::COUNT];
        for fact in Fact::ALL {
            values[*fact as usize] = fact.neutral();
        }
        Self(values)
    }
}

impl Facts {
    /// Sets a fact; a value that is not finite is left out.
    pub fn set(&mut self, fact: Fact, value: f64) {
        if value.is_finite() {
            self.0[fact as usize] = value;
        }
    }

    /// The value of a fact.
    pub fn value(&self, fact: Fact) -> f64 {
        self.0[fact as usize]
    }
}

/// Texts of the request that a policy sees only where the configuration grants it, read only when it asks.
pub trait Content: Send + Sync {
    /// First value of a header, by its name in any case; never a credential.
    fn header(&self, name: &str) -> Option<&str>;
    /// The prompt as one text: the text parts of all messages, joined by newlines.
    fn prompt(&self) -> &str;
}

/// Texts behind interned ids.
pub trait Names: Send + Sync {
    /// The tenant's name; empty when the id is unknown.
    fn tenant(&self, id: u32) -> Arc<str>;
    /// A label of the tenant's key.
    fn tenant_label(&self, id: u32, key: &str) -> Option<Arc<str>>;
    /// The route's name; empty when the id is unknown.
    fn route(&self, id: u32) -> Arc<str>;
    /// The model name that clients sent; empty when the id is unknown.
    fn model(&self, id: u32) -> Arc<str>;
}

/// One question to a chain of policies.
pub struct Offer {
    /// Clock and randomness.
    pub stamp: Stamp,
    /// The same moment on the monotonic clock, for reading signals.
    pub now: Millis,
    /// Numbers of the deployments that the request may use, in configured order; at least one, none twice.
    pub candidates: Vec<u32>,
    /// Numbers about the request.
    pub facts: Facts,
    /// Headers and prompt, for policies that were granted them.
    pub content: Option<Arc<dyn Content>>,
    /// Signals that do not come from the fleet; `None` in a gateway that serves.
    pub readings: Option<Arc<Readings>>,
}

/// Signals that were stated or recorded. They are laid over what the fleet measures, so that a decision can be asked
/// for in a situation that does not exist: in a policy's tests, or when recorded traffic is replayed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings(BTreeMap<(u32, Signal), f64>);

impl Readings {
    /// States a signal of a deployment; a value that is not finite is left out.
    pub fn set(&mut self, target: u32, signal: Signal, value: f64) {
        if value.is_finite() {
            self.0.insert((target, signal), value);
        }
    }

    /// What was stated.
    pub fn value(&self, target: u32, signal: Signal) -> Option<f64> {
        self.0.get(&(target, signal)).copied()
    }

    /// Everything that was stated, by deployment.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Signal, f64)> {
        self.0.iter().map(|((target, signal), value)| (*target, *signal, *value))
    }

    /// Replaces in a column, which has a value for each candidate, those that were stated.
    pub fn lay_over(&self, signal: Signal, candidates: &[u32], column: &mut [f64]) {
        for (target, value) in candidates.iter().zip(column) {
            if let Some(stated) = self.value(*target, signal) {
                *value = stated;
            }
        }
    }
}

/// A policy's answer as it came: nothing in it can be trusted yet.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// One deployment.
    Pick(u32),
    /// An ordered plan.
    Follow(Draft),
    /// Refuse the request.
    Reject(Refusal),
    /// No opinion.
    Abstain,
}

/// An unchecked plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// In order.
    pub attempts: Vec<DraftAttempt>,
    /// Index of a declared reason.
    pub reason: u32,
    /// The policy's own number.
    pub tag: u32,
}

/// An unchecked attempt. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DraftAttempt {
    /// Deployment number.
    pub target: u32,
    /// When it starts.
    pub start: StartRule,
    /// See [`StartRule`].
    pub delay_ms: f64,
    /// To the first byte; 0 = the deployment's own.
    pub timeout_ms: f64,
    /// Index of a declared overlay.
    pub overlay: Option<u32>,
}

/// An unchecked rejection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u32,
    /// 0 = do not say.
    pub retry_after_ms: f64,
    /// Index of a declared reason.
    pub reason: u32,
}

/// How an attempt of a plan starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartRule {
    /// When the plan starts, after the delay.
    AtOnce,
    /// When the attempt before it has failed, after the delay.
    OnFailure,
    /// When the attempt before it has had no first byte for the delay, or has failed.
    Hedge,
}

/// What a policy is told about an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailedAttempt {
    /// Deployment number.
    pub target: u32,
    /// Why.
    pub kind: crate::vocabulary::FailureKind,
    /// HTTP status of the upstream, 0 when there was none.
    pub status: u16,
    /// What the upstream asked for, 0 when it did not say.
    pub retry_after_ms: f64,
    /// From start to failure.
    pub elapsed_ms: f64,
    /// Output tokens that the client already has.
    pub tokens_sent: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_start_neutral_and_refuse_what_is_not_a_number() {
        let mut facts = Facts::default();
        assert_eq!(facts.value(Fact::Choices), 1.0);
        facts.set(Fact::Choices, f64::NAN);
        facts.set(Fact::PromptTokens, f64::INFINITY);
        facts.set(Fact::Tools, 3.0);
        assert_eq!(
            (facts.value(Fact::Choices), facts.value(Fact::PromptTokens), facts.value(Fact::Tools)),
            (1.0, 0.0, 3.0)
        );
    }

    #[test]
    fn readings_replace_what_was_stated_and_nothing_else() {
        let mut readings = Readings::default();
        readings.set(7, Signal::InFlight, 3.0);
        readings.set(9, Signal::InFlight, f64::NAN);
        readings.set(9, Signal::Weight, 2.0);
        let mut column = [1.0, 1.0];
        readings.lay_over(Signal::InFlight, &[9, 7], &mut column);
        assert_eq!(column, [1.0, 3.0]);
    }
}
