//! What has happened to a policy since it was bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::failure::FailureCause;
use crate::pool::Pool;
use crate::watch::Watch;

/// After a failed attempt to make an instance while a request waits, the next is made this much later.
const DRY_SPELL: Duration = Duration::from_secs(1);

/// What has happened, apart from calls, which are counted where they are made.
pub(crate) struct Counters {
    start: Instant,
    failures: [AtomicU64; FailureCause::LABELS.len()],
    retired: AtomicU64,
    lost: AtomicU64,
    /// Milliseconds since `start` before which no instance is made while a request waits.
    dry_until: AtomicU64,
}

/// What has happened to a policy since it was bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatistics {
    /// Calls of all hooks that reached an instance.
    pub calls: u64,
    /// Failed calls by kind, in the order of [`FailureCause::LABELS`].
    pub failures: [u64; FailureCause::LABELS.len()],
    /// Instances that can be called.
    pub live: usize,
    /// Instances replaced because they had served their time (one call, where each call gets its own) or grown too
    /// large.
    pub retired: u64,
    /// Instances lost to a trap or a missed deadline.
    pub lost: u64,
    /// How long the policy is still suspended for failing too often.
    pub suspended: Option<Duration>,
    /// Whether it is called off the worker threads.
    pub slow: bool,
}

impl PolicyStatistics {
    pub(crate) fn read(counters: &Counters, pool: &Pool, watch: &Watch) -> Self {
        Self {
            calls: pool.places().map(|place| place.calls()).sum(),
            failures: counters.failures.each_ref().map(|count| count.load(Ordering::Relaxed)),
            live: pool.places().filter(|place| place.is_live()).count(),
            retired: counters.retired.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
            suspended: watch.suspension(),
            slow: watch.is_slow(),
        }
    }
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            failures: Default::default(),
            retired: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            dry_until: AtomicU64::new(0),
        }
    }

    pub(crate) fn failed(&self, cause: &FailureCause) {
        self.failures[cause.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retired(&self) {
        self.retired.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether making an instance failed a moment ago, so that a request need not try.
    pub(crate) fn is_dry(&self) -> bool {
        self.start.elapsed().as_millis() < u128::from(self.dry_until.load(Ordering::Relaxed))
    }

    pub(crate) fn went_dry(&self) {
        let until = (self.start.elapsed() + DRY_SPELL).as_millis();
        self.dry_until.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
