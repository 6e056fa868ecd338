//! When a deployment that routers keep away from is given another chance, and what still counts against it.
//!
//! Nobody but a request can tell that the trouble is over. So one that answers a probe counts again as it did before, but
//! for one request only: until that has shown that it was right, it counts as bad as it did. Then all of that is
//! forgotten, and what began before says nothing any more. Where it was wrong, the next chance is further away.

use std::time::Duration;

use crate::live::Millis;

#[derive(Debug, Default)]
pub(super) struct Trust {
    chance: Chance,
    /// When the last chance was given.
    given: Millis,
    /// When the attempt began that has shown that all is well.
    well_since: Option<Millis>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Chance {
    /// It needs none.
    #[default]
    None,
    /// The next request is it; what it counts as otherwise.
    Offered { otherwise: f64 },
    /// A request has it, or had it in vain.
    Taken,
}

impl Trust {
    /// Whether it is time for a chance, where they are given at this interval and so long nothing has been heard.
    pub(super) fn is_due(&self, interval: Duration, silent_ms: f64, now: Millis) -> bool {
        let interval = interval.as_secs_f64() * 1000.0;
        match self.chance {
            Chance::None => silent_ms >= interval,
            Chance::Offered { .. } => false,
            // The requests of the last chance may take long and be heard of for long.
            Chance::Taken => now.since(self.given) >= interval * AGAIN,
        }
    }

    /// The next request is a chance for one that counts as so bad. Nothing changes where there is one already.
    pub(super) fn give(&mut self, otherwise: f64, now: Millis) {
        if matches!(self.chance, Chance::Offered { .. }) {
            return;
        }
        self.chance = Chance::Offered { otherwise };
        self.given = now;
    }

    /// An attempt begins. `Some`: what the deployment counts as from now on.
    pub(super) fn begins(&mut self) -> Option<f64> {
        let Chance::Offered { otherwise } = self.chance else { return None };
        self.chance = Chance::Taken;
        Some(otherwise)
    }

    /// Whether the time of an attempt that began then counts.
    pub(super) fn counts(&mut self, millis: f64, begun: Millis) -> bool {
        if self.well_since.is_some_and(|since| begun < since) {
            return false;
        }
        let Chance::Offered { otherwise } = &mut self.chance else { return true };
        *otherwise = otherwise.max(millis);
        false
    }

    /// An attempt ended as well as usual. Says whether that was the chance.
    pub(super) fn proves_well(&mut self, begun: Millis) -> bool {
        let is_chance = self.chance == Chance::Taken && begun >= self.given;
        if is_chance {
            self.restore(begun);
        }
        is_chance
    }

    /// All has been well since then.
    pub(super) fn restore(&mut self, since: Millis) {
        self.chance = Chance::None;
        self.well_since = Some(since);
    }
}

/// Intervals from one chance to the next.
const AGAIN: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(3);

    #[test]
    fn the_first_chance_comes_after_silence_and_the_next_is_further_away() {
        let mut trust = Trust::default();
        let due = |trust: &Trust, silent: f64, now| trust.is_due(INTERVAL, silent, Millis(now));
        assert_eq!([2_999.0, 3_000.0].map(|silent| due(&trust, silent, 50_000)), [false, true]);
        trust.give(5_000.0, Millis(50_000));
        assert!(!due(&trust, 90_000.0, 140_000), "nobody has tried it yet");
        trust.give(100.0, Millis(50_500));
        assert_eq!([trust.begins(), trust.begins()], [Some(5_000.0), None], "one request has the chance");
        // however much is still heard of it
        assert_eq!([55_999, 56_000].map(|now| due(&trust, 0.0, now)), [false, true]);
        assert!(!trust.proves_well(Millis(49_999)) && trust.proves_well(Millis(51_000)));
        assert_eq!([2_999.0, 3_000.0].map(|silent| due(&trust, silent, 60_000)), [false, true]);
    }

    #[test]
    fn what_began_before_it_was_well_again_does_not_count() {
        let mut trust = Trust::default();
        assert!(trust.counts(9.0, Millis(0)));
        trust.give(5_000.0, Millis(50_000));
        // nor does it take the chance away; it only makes matters worse if that fails
        assert!(!trust.counts(7_000.0, Millis(40_000)));
        assert_eq!(trust.begins(), Some(7_000.0));
        assert!(trust.counts(7_000.0, Millis(40_000)), "nothing is proved yet");
        assert!(trust.proves_well(Millis(51_000)));
        assert_eq!([50_999, 51_000].map(|begun| trust.counts(7_000.0, Millis(begun))), [false, true]);
    }
}
