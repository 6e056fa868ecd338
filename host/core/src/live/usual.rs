//! What a deployment is like when nothing is wrong with it.
//!
//! A mean of the last seconds follows trouble within seconds, and then says nothing of what will be after it. This one
//! follows the first samples at once and later ones over hours, and one sample counts as at most e times as slow or as
//! quick: an hour of trouble hardly moves it, a deployment that has become another one does within a day.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Millis;

/// A geometric mean; 0 before the first sample.
#[derive(Debug, Default)]
pub(super) struct Usual {
    value: AtomicU64,
    at: AtomicU64,
    samples: AtomicU32,
}

impl Usual {
    /// Writers take turns (the caller holds a lock).
    pub(super) fn record(&self, sample: f64, now: Millis) {
        let sample = sample.max(SHORTEST_MS);
        let samples = self.samples.load(Relaxed).saturating_add(1);
        let value = if samples == 1 {
            sample
        } else {
            let elapsed = now.since(Millis(self.at.load(Relaxed)));
            let weight = (1.0 / f64::from(samples)).max(1.0 - (-elapsed / DECAY_MS).exp());
            let step = (sample / self.value()).ln().clamp(-1.0, 1.0);
            self.value() * (weight * step).exp()
        };
        self.value.store(value.to_bits(), Relaxed);
        self.at.store(now.0, Relaxed);
        self.samples.store(samples, Relaxed);
    }

    pub(super) fn value(&self) -> f64 {
        f64::from_bits(self.value.load(Relaxed))
    }
}

/// Six hours.
const DECAY_MS: f64 = 6.0 * 3_600_000.0;
/// A logarithm needs something.
const SHORTEST_MS: f64 = 0.001;

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many samples at this distance.
    fn record(usual: &Usual, sample: f64, samples: u64, distance: u64) {
        let begin = usual.at.load(Relaxed);
        (1..=samples).for_each(|number| usual.record(sample, Millis(begin + number * distance)));
    }

    #[test]
    fn the_first_samples_count_at_once() {
        let usual = Usual::default();
        assert_eq!(usual.value(), 0.0);
        // a server that loads its model first
        usual.record(30_000.0, Millis(0));
        record(&usual, 200.0, 200, 1_000);
        assert!((200.0..400.0).contains(&usual.value()), "{}", usual.value());
    }

    #[test]
    fn an_hour_of_trouble_hardly_moves_it_and_a_day_does() {
        let usual = Usual::default();
        record(&usual, 200.0, 3_600, 1_000);
        record(&usual, 20_000.0, 600, 6_000);
        assert!((200.0..300.0).contains(&usual.value()), "{}", usual.value());
        record(&usual, 20_000.0, 14_400, 6_000);
        assert!(usual.value() > 4_000.0, "{}", usual.value());
    }
}
