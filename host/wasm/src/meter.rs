//! Where calls of policies are counted. The host implements these for its metrics; this crate knows no metrics library.

use std::sync::Arc;
use std::time::Duration;

use crate::failure::FailureCause;
use crate::hooks::Hook;

/// Gives each policy its counters.
pub trait Meter: Send + Sync {
    /// The counters of the policy of this name; asked once when it is bound, so that a call looks up no labels.
    fn policy(&self, name: &str) -> Arc<dyn PolicyMeter>;
}

/// The counters of one policy.
pub trait PolicyMeter: Send + Sync {
    /// A hook was called: how long it took with everything that the host does around it, and how it failed if it did.
    /// A call that was refused (suspended, no instance) took no time.
    fn called(&self, hook: Hook, elapsed: Duration, failure: Option<&FailureCause>);
}
