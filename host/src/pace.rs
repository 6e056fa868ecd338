//! When something that is asked again and again is to be asked next: one question at a time, none too soon.

use std::time::{Duration, Instant};

/// Of one that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    due: Instant,
    running: bool,
}

impl Pace {
    /// Asked for the first time then.
    pub const fn from(first: Instant) -> Self {
        Self { due: first, running: false }
    }

    /// Whether it is to be asked now; then that counts as begun, and the next time is `distance` away. A distance that
    /// has become shorter counts at once.
    pub fn is_due(&mut self, distance: Duration, now: Instant) -> bool {
        self.due = self.due.min(now + distance);
        if self.running || self.due > now {
            return false;
        }
        *self = Self { due: now + distance, running: true };
        true
    }

    /// It has answered, or has not.
    pub const fn ended(&mut self) {
        self.running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_twice_at_once_or_too_soon_and_a_shorter_distance_counts_at_once() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let mut pace = Pace::from(now + seconds(5));
        assert!(!pace.is_due(seconds(30), now + seconds(4)));
        assert!(pace.is_due(seconds(30), now + seconds(5)));
        assert!(!pace.is_due(seconds(30), now + seconds(60)), "it has not ended");
        pace.ended();
        assert!(pace.is_due(seconds(30), now + seconds(60)));
        pace.ended();
        assert!(!pace.is_due(seconds(2), now + seconds(61)));
        assert!(pace.is_due(seconds(2), now + seconds(63)));
    }
}
