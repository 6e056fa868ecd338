//! How a call of a policy can fail. The kinds are kept apart everywhere, because each needs another remedy: a declared
//! error is the author's word, a trap a bug, a missed deadline a slow policy, an impossible verdict a misunderstanding.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use witgate_core::plan::PlanError;

use crate::hooks::Hook;
use crate::tier::Tier;

/// A failed call, by the policy that it is counted under.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Which build of it.
    pub revision: Arc<str>,
    /// What was called.
    pub hook: Hook,
    /// What went wrong.
    pub cause: FailureCause,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, revision, hook, cause } = self;
        write!(f, "policy `{policy}` (revision {revision}) failed in `{hook}`: {cause}")
    }
}

impl std::error::Error for Failure {}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FailureCause {
    /// The hook returned `err`.
    #[error("it declared an error: {0}")]
    Declared(String),
    /// The instance is lost.
    #[error("it trapped: {0}")]
    Trap(String),
    /// The instance is lost.
    #[error("it missed its deadline of {} ms{}", limit.as_millis(), tier.slack())]
    Deadline {
        /// What its rules give it.
        limit: Duration,
        /// How its code was compiled: [`Tier::Quick`] has five times as long.
        tier: Tier,
    },
    /// It answered, but the answer cannot be carried out.
    #[error("its verdict is impossible: {0}")]
    Impossible(PlanError),
    /// It failed too often and is left alone for a while.
    #[error("it is suspended for another {} ms because it failed too often", remaining.as_millis())]
    Suspended {
        /// Until it is tried again.
        remaining: Duration,
    },
    /// There is no instance to call.
    #[error("no instance is available: {0}")]
    Unavailable(String),
}

impl FailureCause {
    /// One label for each kind, in the order of [`Self::index`]; a closed set, for metrics.
    pub const LABELS: [&'static str; 6] = ["declared", "trap", "deadline", "impossible", "suspended", "unavailable"];

    /// The kind's label.
    pub fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// The kind's place in [`Self::LABELS`].
    pub const fn index(&self) -> usize {
        match self {
            Self::Declared(_) => 0,
            Self::Trap(_) => 1,
            Self::Deadline { .. } => 2,
            Self::Impossible(_) => 3,
            Self::Suspended { .. } => 4,
            Self::Unavailable(_) => 5,
        }
    }

    /// Whether the instance must be thrown away: after a trap every later call in the same store fails.
    pub(crate) const fn loses_instance(&self) -> bool {
        matches!(self, Self::Trap(_) | Self::Deadline { .. })
    }

    /// Whether it shows that the policy does not work. To declare an error is its right; a suspension follows from such
    /// failures, and a place that is busy or empty is no fault of its own.
    pub(crate) const fn counts_against(&self) -> bool {
        matches!(self, Self::Trap(_) | Self::Deadline { .. } | Self::Impossible(_))
    }

    /// Reads an error of the engine: the epoch's interruption is the deadline, everything else a trap.
    pub(crate) fn from_engine(error: &wasmtime::Error, limit: Duration, tier: Tier) -> Self {
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::Interrupt) => Self::Deadline { limit, tier },
            _ => Self::Trap(error.root_cause().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_policy_its_revision_and_the_hook() {
        let failure = Failure {
            policy: "cheap".into(),
            revision: "0123456789ab".into(),
            hook: Hook::Router,
            cause: FailureCause::Deadline { limit: Duration::from_millis(5), tier: Tier::Optimised },
        };
        assert_eq!(
            failure.to_string(),
            "policy `cheap` (revision 0123456789ab) failed in `router`: it missed its deadline of 5 ms"
        );
        let cause = FailureCause::Deadline { limit: Duration::from_millis(5), tier: Tier::Quick };
        assert_eq!(
            cause.to_string(),
            "it missed its deadline of 5 ms, and five times that, which it has until its code is optimised"
        );
        assert_eq!(failure.cause.label(), "deadline");
    }
}
