//! Successes and failures of the last seconds.

use std::time::Duration;

use crate::live::Millis;

/// Counts by the second.
#[derive(Debug)]
pub(super) struct Window {
    seconds: [Second; SECONDS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    good: u32,
    bad: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { seconds: [Second::default(); SECONDS] }
    }
}

impl Window {
    pub(super) fn add(&mut self, good: bool, now: Millis) {
        let number = now.0 / 1000;
        let second = &mut self.seconds[(number % SECONDS as u64) as usize];
        if second.number != number {
            *second = Second { number, good: 0, bad: 0 };
        }
        if good { second.good += 1 } else { second.bad += 1 }
    }

    /// How many were good and bad in the last `window`, the second that is running included.
    pub(super) fn counts(&self, window: Duration, now: Millis) -> (u32, u32) {
        let number = now.0 / 1000;
        let wanted = window.as_secs().clamp(1, SECONDS as u64);
        let recent = self.seconds.iter().filter(|second| second.number <= number && second.number + wanted > number);
        recent.fold((0, 0), |(good, bad), second| (good + second.good, bad + second.bad))
    }
}

/// The longest window.
pub(super) const SECONDS: usize = 60;
