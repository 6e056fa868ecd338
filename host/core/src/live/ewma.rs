//! Exponentially weighted means over time, readable without a lock.
//!
//! A sample's weight is 1 - e^(-dt/decay) with dt the time since the sample before it, so the mean follows time and
//! not the number of samples. Writers take turns (the caller holds a lock); readers only load.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Millis;

/// A mean; 0 before the first sample.
#[derive(Debug, Default)]
pub(super) struct Ewma {
    value: AtomicU64,
    /// Time of the last sample plus 1; 0 = none yet.
    at: AtomicU64,
}

impl Ewma {
    pub(super) fn record(&self, sample: f64, decay_ms: f64, now: Millis) {
        let value = match self.at.load(Relaxed) {
            0 => sample,
            at => {
                let kept = kept(now.since(Millis(at - 1)), decay_ms);
                self.value() * kept + sample * (1.0 - kept)
            }
        };
        self.value.store(value.to_bits(), Relaxed);
        self.at.store(now.0 + 1, Relaxed);
    }

    pub(super) fn value(&self) -> f64 {
        f64::from_bits(self.value.load(Relaxed))
    }
}

/// A mean that takes a higher sample over at once and fades while nothing ends (Finagle's peak EWMA).
#[derive(Debug, Default)]
pub(super) struct PeakEwma {
    value: AtomicU64,
    at: AtomicU64,
}

impl PeakEwma {
    pub(super) fn record(&self, sample: f64, now: Millis) {
        let at = self.at.load(Relaxed);
        let before = f64::from_bits(self.value.load(Relaxed));
        let value = if at == 0 || sample >= before {
            sample
        } else {
            let kept = kept(now.since(Millis(at - 1)), super::TIME_DECAY_MS);
            before * kept + sample * (1.0 - kept)
        };
        self.value.store(value.to_bits(), Relaxed);
        self.at.store(now.0 + 1, Relaxed);
    }

    /// This value, whatever was before.
    pub(super) fn set(&self, value: f64, now: Millis) {
        self.value.store(value.to_bits(), Relaxed);
        self.at.store(now.0 + 1, Relaxed);
    }

    pub(super) fn value(&self, now: Millis) -> f64 {
        let value = f64::from_bits(self.value.load(Relaxed));
        let idle = now.since(Millis(self.at.load(Relaxed).saturating_sub(1)));
        // Under load the last sample is fresh; spare the exponential.
        if idle < FRESH_MS { value } else { value * (-idle / super::TIME_DECAY_MS).exp() }
    }
}

fn kept(elapsed_ms: f64, decay_ms: f64) -> f64 {
    (-elapsed_ms.max(SHORTEST_GAP_MS) / decay_ms).exp()
}

/// Samples within the same millisecond must still count.
const SHORTEST_GAP_MS: f64 = 0.1;
/// Fades by less than 1 % in this time.
const FRESH_MS: f64 = 100.0;
