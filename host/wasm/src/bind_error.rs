//! Why a policy is not put into service with the configuration that it was given.

use std::sync::Arc;

use crate::failure::FailureCause;
use crate::hooks::Hook;
use crate::settings::SettingsProblem;
use crate::subscription::SubscriptionError;

/// A policy that is not put into service.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("policy `{policy}` (revision {revision}): {problem}")]
pub struct BindError {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Which build of it.
    pub revision: Arc<str>,
    /// What is wrong.
    pub problem: BindProblem,
}

/// What is wrong between a policy and its configuration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BindProblem {
    /// It asks for capabilities that it was not granted.
    #[error(
        "it imports {interfaces}, so it reads {texts}, which the configuration does not grant; to allow it, add \
         {interfaces} to `policies.rules.{policy}.grants`",
        interfaces = together(missing, |(interface, _)| format!("`{interface}`")),
        texts = together(missing, |(_, texts)| (*texts).to_owned())
    )]
    NotGranted {
        /// Each interface, and what it gives to read.
        missing: Vec<(&'static str, &'static str)>,
        /// The policy's name in the configuration.
        policy: Arc<str>,
    },
    /// The settings do not fit the policy's schema.
    #[error("its settings are not what it accepts: {}", listed(.0))]
    Settings(Vec<SettingsProblem>),
    /// `configure` returned `err`.
    #[error("it refuses its configuration: {0}")]
    Refused(String),
    /// It could not be instantiated or configured.
    #[error("it could not be configured: {0}")]
    Configure(FailureCause),
    /// It subscribed to something that cannot be served.
    #[error("it cannot be served: {0}")]
    Subscription(#[source] SubscriptionError),
    /// A trial call failed.
    #[error("it failed a trial call of `{hook}` with {fed}: {cause}")]
    Trial {
        /// What was called.
        hook: Hook,
        /// With what.
        fed: String,
        /// What went wrong.
        cause: FailureCause,
    },
}

fn together<T>(items: &[T], word: impl Fn(&T) -> String) -> String {
    items.iter().map(word).collect::<Vec<_>>().join(" and ")
}

fn listed(problems: &[SettingsProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
