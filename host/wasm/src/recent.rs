//! Counts what happened within the last while, in eight slots, so that old events fall out an eighth at a time.
//!
//! Counting is a comparison and an increment, without a lock: it is done on every call of a policy.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const SLOTS: u64 = 8;

/// Events of one kind. One writer at a time; any thread may read.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Milliseconds of one slot.
    length: u64,
    /// The slot that is being counted in: the time divided by `length`.
    slot: AtomicU64,
    /// When it ends, milliseconds.
    ends: AtomicU64,
    counts: [AtomicU32; SLOTS as usize],
}

impl Recent {
    /// Over this long a time; to be told milliseconds since some start that is always the same.
    pub(crate) fn new(window: Duration) -> Self {
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let length = (millis / SLOTS).max(1);
        Self { length, slot: AtomicU64::new(0), ends: AtomicU64::new(length), counts: Default::default() }
    }

    /// One more event.
    pub(crate) fn add(&self, now: u64) {
        if now >= self.ends.load(Relaxed) {
            self.turn(now);
        }
        let count = &self.counts[(self.slot.load(Relaxed) % SLOTS) as usize];
        count.store(count.load(Relaxed).saturating_add(1), Relaxed);
    }

    /// Events of the last while.
    pub(crate) fn sum(&self, now: u64) -> u32 {
        let newest = self.slot.load(Relaxed);
        let oldest = (now / self.length).saturating_sub(SLOTS - 1).max(newest.saturating_sub(SLOTS - 1));
        let counts = (oldest..=newest).map(|slot| self.counts[(slot % SLOTS) as usize].load(Relaxed));
        counts.fold(0, u32::saturating_add)
    }

    /// Nothing has happened.
    pub(crate) fn clear(&self) {
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
    }

    #[cold]
    fn turn(&self, now: u64) {
        let (before, slot) = (self.slot.load(Relaxed), now / self.length);
        let first = (before + 1).max(slot.saturating_sub(SLOTS - 1));
        for slot in first..=slot {
            self.counts[(slot % SLOTS) as usize].store(0, Relaxed);
        }
        self.slot.store(slot, Relaxed);
        self.ends.store((slot + 1) * self.length, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_events_fall_out_an_eighth_at_a_time() {
        let recent = Recent::new(Duration::from_millis(800));
        for now in [0, 99, 100, 799] {
            recent.add(now);
        }
        assert_eq!([799, 800, 899].map(|now| recent.sum(now)), [4, 2, 2]);
        assert_eq!([900, 1499, 1500].map(|now| recent.sum(now)), [1, 1, 0]);
    }

    #[test]
    fn what_was_counted_before_a_long_silence_does_not_come_back() {
        let recent = Recent::new(Duration::from_millis(800));
        (0..800).step_by(50).for_each(|now| recent.add(now));
        recent.add(1_000_050);
        assert_eq!((recent.sum(1_000_050), recent.sum(1_000_700), recent.sum(1_000_800)), (1, 1, 0));
        recent.add(1_000_100);
        recent.clear();
        assert_eq!(recent.sum(1_000_100), 0);
        recent.add(1_000_100);
        assert_eq!(recent.sum(1_000_100), 1);
    }
}
