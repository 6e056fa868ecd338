//! What happens when a policy fails too often: the revision before takes its place. Until it does, the engine lets no
//! call through to the one that failed.
//!
//! If that one fails too, the one before it does, and so on; when there is none left, or the policy is pinned, the engine
//! suspends it for a growing time.

use std::sync::Arc;

use parking_lot::Mutex;
use witgate_wasm::{Crash, Failure};

use super::Work;
use super::command::{CommandError, Order};
use super::standing::By;

/// Crashes that the reload thread has not seen to yet; at most one for each revision.
#[derive(Clone, Default)]
pub(super) struct CrashQueue(Arc<Mutex<Vec<Crash>>>);

impl CrashQueue {
    pub(super) fn push(&self, crash: &Crash) {
        let mut waiting = self.0.lock();
        let same = |other: &Crash| {
            let (Failure { policy, revision, .. }, last) = (&crash.last, &other.last);
            (policy, revision) == (&last.policy, &last.revision)
        };
        if !waiting.iter().any(same) {
            waiting.push(crash.clone());
        }
    }

    pub(super) fn take(&self) -> Vec<Crash> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Work {
    /// Rolls back every policy that failed too often, where that is possible.
    pub(super) fn see_to(&mut self, crashes: Vec<Crash>) {
        for crash in crashes {
            let Failure { policy, revision, .. } = &crash.last;
            if crash.suspended.is_some() {
                self.parts.metrics.policy_suspended(policy);
            }
            let Ok(shelf) = self.store.shelf(policy) else { continue };
            let serves = shelf.good.as_ref().is_some_and(|good| good.component.revision() == revision);
            if !serves || shelf.is_out() {
                continue;
            }
            if shelf.standing.pinned.is_some() {
                tracing::warn!(%policy, %revision, "the policy is pinned, so it is not rolled back");
                continue;
            }
            let targets = shelf.earlier();
            let why = crash.to_string();
            match self.roll_back(Order { policy, by: By::Crash, why, named: false, targets }) {
                Ok(()) => {}
                Err(CommandError::NothingEarlier { .. }) => {
                    tracing::warn!(%policy, %revision, "there is no earlier revision to roll back to");
                }
                Err(error) => tracing::error!(%policy, %revision, %error, "the policy could not be rolled back"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use witgate_wasm::{FailureCause, Hook};

    use super::*;

    #[test]
    fn a_revision_waits_once() {
        let crash = |policy: &str, revision: &str| Crash {
            last: Failure {
                policy: policy.into(),
                revision: revision.into(),
                hook: Hook::Router,
                cause: FailureCause::Trap(String::new()),
            },
            failures: 3,
            calls: 3,
            window: Duration::from_secs(30),
            suspended: None,
        };
        let queue = CrashQueue::default();
        for (policy, revision) in [("p", "1"), ("p", "1"), ("p", "2"), ("q", "1")] {
            queue.push(&crash(policy, revision));
        }
        assert_eq!((queue.take().len(), queue.take().len()), (3, 0));
    }
}
