//! The thread that drops lost instances and makes new ones, so that no request pays for either.

use std::sync::Weak;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::instance::Instance;
use crate::policy::Policy;

/// Replacements that may wait. When more do (policies that trap on every call), the caller drops the instance itself
/// and the next one to find the place empty fills it.
const QUEUE: usize = 64;

/// A place that needs a new instance.
pub(crate) struct Replacement {
    pub(crate) policy: Weak<Policy>,
    pub(crate) place: usize,
    /// What is left of the one before, if it was lost. Unmapping its memory takes longer than a call.
    pub(crate) lost: Option<Box<Instance>>,
}

pub(crate) fn queue() -> (SyncSender<Replacement>, Receiver<Replacement>) {
    sync_channel(QUEUE)
}

/// Runs until the engine and every policy are gone.
pub(crate) fn run(queue: &Receiver<Replacement>) {
    while let Ok(Replacement { policy, place, lost }) = queue.recv() {
        drop(lost);
        if let Some(policy) = policy.upgrade() {
            policy.renew(place);
        }
    }
}
