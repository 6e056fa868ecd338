//! What a policy asked for in `configure`, looked up and checked once, so that a call only follows indices.

use std::sync::Arc;

use witgate_core::plan::Declared;
use witgate_core::vocabulary::{Fact, OutcomeField, Signal};

use crate::bindings::imports::types;
use crate::logbook::printable;

/// Texts of reasons, and overlays, that a policy may declare each.
const MAX_DECLARED: usize = 64;
/// Bytes of one reason.
const MAX_REASON: usize = 200;
/// Entries of one list of names. A policy may name a signal twice, so it is not their number that bounds the list.
const MAX_COLUMNS: usize = 64;

/// What a policy is fed, and what its verdicts may name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) signals: Vec<Signal>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) outcomes: Vec<OutcomeField>,
    pub(crate) declared: Declared,
}

/// Why a subscription cannot be served.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SubscriptionError {
    /// A name that this host does not have.
    #[error("it subscribes to the {list} `{name}`, which this gateway does not have{}", hint(suggestion))]
    Unknown {
        /// Signal, fact or outcome field.
        list: &'static str,
        /// As the policy wrote it.
        name: String,
        /// The nearest name, if one is near.
        suggestion: Option<&'static str>,
    },
    /// A list that is too long.
    #[error("it lists {got} {list}, at most {allowed} are allowed")]
    TooMany {
        /// What is listed.
        list: &'static str,
        /// How many there are.
        got: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// A reason that is too long.
    #[error("its reason number {index} has {got} bytes, at most {MAX_REASON} are allowed")]
    ReasonTooLong {
        /// Place in the list.
        index: usize,
        /// Bytes.
        got: usize,
    },
    /// An overlay that is not a JSON object.
    #[error("its overlay number {index} is not a JSON object: {problem}")]
    BadOverlay {
        /// Place in the list.
        index: usize,
        /// What is wrong.
        problem: String,
    },
}

fn hint(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

impl Subscription {
    /// Looks up every name.
    ///
    /// # Errors
    /// The first entry that this host cannot serve.
    pub(crate) fn resolve(asked: &types::Subscription) -> Result<Self, SubscriptionError> {
        Ok(Self {
            signals: look_up("signal", "signals", &asked.signals, Signal::ALL, |entry| entry.name())?,
            facts: look_up("fact", "facts", &asked.facts, Fact::ALL, |entry| entry.name())?,
            outcomes: look_up("outcome field", "outcome fields", &asked.outcomes, OutcomeField::ALL, |entry| {
                entry.name()
            })?,
            declared: Declared { reasons: reasons(&asked.reasons)?, overlays: overlays(&asked.overlays)? },
        })
    }
}

fn look_up<T: Copy>(
    one: &'static str,
    many: &'static str,
    asked: &[String],
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, SubscriptionError> {
    bounded(many, asked.len(), MAX_COLUMNS)?;
    asked
        .iter()
        .map(|name| {
            all.iter().copied().find(|entry| name_of(*entry) == name).ok_or_else(|| SubscriptionError::Unknown {
                list: one,
                name: printable(name),
                suggestion: all
                    .iter()
                    .map(|entry| name_of(*entry))
                    .map(|known| (strsim::jaro_winkler(known, name), known))
                    .filter(|(likeness, _)| *likeness > 0.8)
                    .max_by(|(a, _), (b, _)| a.total_cmp(b))
                    .map(|(_, known)| known),
            })
        })
        .collect()
}

fn reasons(asked: &[String]) -> Result<Vec<Arc<str>>, SubscriptionError> {
    bounded("reasons", asked.len(), MAX_DECLARED)?;
    asked
        .iter()
        .enumerate()
        .map(|(index, reason)| match reason.len() {
            ..=MAX_REASON => Ok(Arc::from(printable(reason))),
            got => Err(SubscriptionError::ReasonTooLong { index, got }),
        })
        .collect()
}

fn overlays(asked: &[String]) -> Result<Vec<Arc<serde_json::Value>>, SubscriptionError> {
    bounded("overlays", asked.len(), MAX_DECLARED)?;
    asked
        .iter()
        .enumerate()
        .map(|(index, text)| match serde_json::from_str(text) {
            Ok(patch @ serde_json::Value::Object(_)) => Ok(Arc::new(patch)),
            Ok(_) => Err(SubscriptionError::BadOverlay { index, problem: "it is another JSON value".to_owned() }),
            Err(error) => Err(SubscriptionError::BadOverlay { index, problem: error.to_string() }),
        })
        .collect()
}

fn bounded(list: &'static str, got: usize, allowed: usize) -> Result<(), SubscriptionError> {
    if got > allowed { Err(SubscriptionError::TooMany { list, got, allowed }) } else { Ok(()) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn empty() -> types::Subscription {
        types::Subscription { signals: vec![], facts: vec![], outcomes: vec![], reasons: vec![], overlays: vec![] }
    }

    fn message(asked: &types::Subscription) -> String {
        Subscription::resolve(asked).unwrap_err().to_string()
    }

    #[test]
    fn names_are_looked_up_in_the_order_asked() {
        let asked = types::Subscription {
            signals: vec!["error-rate".into(), "in-flight".into()],
            facts: vec!["tools".into()],
            outcomes: vec!["usd".into()],
            ..empty()
        };
        let found = Subscription::resolve(&asked).unwrap();
        assert_eq!(found.signals, [Signal::ErrorRate, Signal::InFlight]);
        assert_eq!((&found.facts[..], &found.outcomes[..]), (&[Fact::Tools][..], &[OutcomeField::Usd][..]));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        assert_eq!(
            message(&types::Subscription { signals: vec!["inflight".into()], ..empty() }),
            "it subscribes to the signal `inflight`, which this gateway does not have; did you mean `in-flight`?"
        );
        assert_eq!(
            message(&types::Subscription { facts: vec!["zzz".into()], ..empty() }),
            "it subscribes to the fact `zzz`, which this gateway does not have"
        );
        assert_eq!(
            message(&types::Subscription { outcomes: vec!["latency".into()], ..empty() }),
            "it subscribes to the outcome field `latency`, which this gateway does not have; did you mean `latency-ms`?"
        );
    }

    #[test]
    fn lists_are_bounded_on_both_sides() {
        let reasons = |count| types::Subscription { reasons: vec!["why".into(); count], ..empty() };
        assert!(Subscription::resolve(&reasons(64)).is_ok());
        assert_eq!(message(&reasons(65)), "it lists 65 reasons, at most 64 are allowed");
        let overlays = |count| types::Subscription { overlays: vec!["{}".into(); count], ..empty() };
        assert!(Subscription::resolve(&overlays(64)).is_ok());
        assert_eq!(message(&overlays(65)), "it lists 65 overlays, at most 64 are allowed");
        let signals = |count| types::Subscription { signals: vec!["weight".into(); count], ..empty() };
        assert!(Subscription::resolve(&signals(64)).is_ok());
        assert_eq!(message(&signals(65)), "it lists 65 signals, at most 64 are allowed");
        let long = |bytes| types::Subscription { reasons: vec!["x".repeat(bytes)], ..empty() };
        assert!(Subscription::resolve(&long(200)).is_ok());
        assert_eq!(message(&long(201)), "its reason number 0 has 201 bytes, at most 200 are allowed");
    }

    #[test]
    fn an_overlay_is_a_json_object() {
        let overlay = |text: &str| types::Subscription { overlays: vec![text.into()], ..empty() };
        assert!(Subscription::resolve(&overlay("{\"temperature\":0}")).is_ok());
        assert_eq!(message(&overlay("[]")), "its overlay number 0 is not a JSON object: it is another JSON value");
        assert_eq!(
            message(&overlay("{")),
            "its overlay number 0 is not a JSON object: EOF while parsing an object at line 1 column 1"
        );
    }
}
