//! The instances of one policy: one warm for each worker thread, and as many places again for other callers, unless
//! the configuration says how many there may be.
//!
//! A thread has a place of its own, so that taking it is one uncontended `try_lock`. The lock is held for the whole
//! call; who finds it taken goes to the next place.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};

use crate::instance::Instance;
use crate::recent::Recent;
use crate::watch::mean;

/// All places.
pub(crate) struct Pool {
    places: Box<[CachePadded<Place>]>,
    /// As many places are kept warm, and are somebody's own.
    warm: usize,
}

/// Room for one instance. The counters are written only under the lock, and only by one thread as a rule.
pub(crate) struct Place {
    instance: Mutex<Option<Box<Instance>>>,
    calls: AtomicU64,
    recent: Recent,
    /// Mean time of a call, nanoseconds.
    mean: AtomicU32,
}

/// A place that is ours for a call.
pub(crate) struct Lease<'a> {
    pub(crate) number: usize,
    pub(crate) place: &'a Place,
    pub(crate) instance: MutexGuard<'a, Option<Box<Instance>>>,
}

impl Pool {
    /// `window` is how far back recent calls are counted, `mean` what a call takes.
    pub(crate) fn new(workers: usize, instances: Option<NonZeroUsize>, window: Duration, mean: Duration) -> Self {
        let mean = u32::try_from(mean.as_nanos()).unwrap_or(u32::MAX);
        let place = || {
            CachePadded::new(Place {
                instance: Mutex::default(),
                calls: AtomicU64::new(0),
                recent: Recent::new(window),
                mean: AtomicU32::new(mean),
            })
        };
        let places = instances.map_or(workers * 2, NonZeroUsize::get);
        Self { places: (0..places).map(|_| place()).collect(), warm: workers.min(places) }
    }

    /// Calls within the window, by milliseconds as they were counted.
    pub(crate) fn recent_calls(&self, now: u64) -> u32 {
        self.places().map(|place| place.recent.sum(now)).fold(0, u32::saturating_add)
    }

    /// Places that are kept warm.
    pub(crate) fn warm(&self) -> usize {
        self.warm
    }

    /// All places.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().map(|place| &**place)
    }

    pub(crate) fn place(&self, number: usize) -> &Place {
        &self.places[number]
    }

    /// A place with an instance, without waiting: this thread's own, or any other.
    pub(crate) fn ready(&self) -> Option<Lease<'_>> {
        self.search(|instance| instance.is_some())
    }

    /// A place without an instance, without waiting.
    pub(crate) fn empty(&self) -> Option<Lease<'_>> {
        self.search(|instance| instance.is_none())
    }

    /// This thread's own place, when its present user is done; it may be empty then.
    pub(crate) fn wait(&self, longest: Duration) -> Option<Lease<'_>> {
        let number = self.home();
        let place = self.place(number);
        let instance = place.instance.try_lock_for(longest)?;
        Some(Lease { number, place, instance })
    }

    fn search(&self, wanted: impl Fn(&Option<Box<Instance>>) -> bool) -> Option<Lease<'_>> {
        let home = self.home();
        (home..self.places.len()).chain(0..home).find_map(|number| {
            let place = self.place(number);
            let instance = place.instance.try_lock()?;
            wanted(&instance).then_some(Lease { number, place, instance })
        })
    }

    fn home(&self) -> usize {
        thread_number() % self.warm
    }
}

impl Place {
    /// The instance, when nobody uses it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Box<Instance>>> {
        self.instance.lock()
    }

    /// The instance, without waiting.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Option<Box<Instance>>>> {
        self.instance.try_lock()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether there is an instance; one that is in use counts.
    pub(crate) fn is_live(&self) -> bool {
        self.instance.try_lock().is_none_or(|instance| instance.is_some())
    }
}

impl Lease<'_> {
    /// Counts a call that began at `now`, in milliseconds; gives the mean time of this place's calls.
    pub(crate) fn count(&self, now: u64, elapsed: Duration) -> Duration {
        // Nobody else writes while we hold the lock.
        self.place.calls.store(self.place.calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.place.recent.add(now);
        let mean = mean(self.place.mean.load(Ordering::Relaxed), elapsed);
        self.place.mean.store(mean, Ordering::Relaxed);
        Duration::from_nanos(u64::from(mean))
    }
}

/// A small number for this thread, given out one after the other.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        mine.get()
    })
}
