//! A sum over the last minute in constant time and space.
//!
//! Counts by whole minutes; the minute before counts by the share of it that still lies within the last 60 s (the
//! sliding-window counter known from Cloudflare's rate limiting). Exact for an even flow.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Millis;

#[derive(Debug, Default)]
pub(super) struct SlidingMinute {
    minute: AtomicU64,
    current: AtomicU64,
    previous: AtomicU64,
}

impl SlidingMinute {
    /// Writers take turns (the caller holds a lock).
    pub(super) fn add(&self, amount: f64, now: Millis) {
        let minute = now.0 / MINUTE_MS;
        let before = self.minute.load(Relaxed);
        if minute != before {
            let carried = if minute == before + 1 { load(&self.current) } else { 0.0 };
            store(&self.previous, carried);
            store(&self.current, 0.0);
            self.minute.store(minute, Relaxed);
        }
        // A correction after the fact may be negative, a sum may not.
        store(&self.current, load(&self.current) + amount);
    }

    pub(super) fn sum(&self, now: Millis) -> f64 {
        let minute = now.0 / MINUTE_MS;
        let share_of_previous = 1.0 - (now.0 % MINUTE_MS) as f64 / MINUTE_MS as f64;
        let sum = match minute.saturating_sub(self.minute.load(Relaxed)) {
            0 => load(&self.current) + load(&self.previous) * share_of_previous,
            1 => load(&self.current) * share_of_previous,
            _ => 0.0,
        };
        sum.max(0.0)
    }
}

fn load(cell: &AtomicU64) -> f64 {
    f64::from_bits(cell.load(Relaxed))
}

fn store(cell: &AtomicU64, value: f64) {
    cell.store(value.to_bits(), Relaxed);
}

const MINUTE_MS: u64 = 60_000;
