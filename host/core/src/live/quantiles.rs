//! Quantiles of about the last minute, from a histogram with logarithmic buckets.
//!
//! A bucket is 10 % wide, so a quantile is right to within 5 %. Two generations of 30 s each are kept, so old
//! samples leave after 30 to 60 s.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Millis;

/// The published quantiles 0.5, 0.9 and 0.99.
#[derive(Debug, Default)]
pub(super) struct Quantiles([AtomicU64; 3]);

impl Quantiles {
    pub(super) fn publish(&self, values: [f64; 3]) {
        for (cell, value) in self.0.iter().zip(values) {
            cell.store(value.to_bits(), Relaxed);
        }
    }

    pub(super) fn values(&self) -> [f64; 3] {
        [0, 1, 2].map(|place: usize| f64::from_bits(self.0[place].load(Relaxed)))
    }
}

/// Samples of the last 30 to 60 s.
#[derive(Debug)]
pub(super) struct RecentHistogram {
    current: [u32; BUCKETS],
    previous: [u32; BUCKETS],
    current_total: u32,
    previous_total: u32,
    generation: u64,
    published: Option<Millis>,
}

impl Default for RecentHistogram {
    fn default() -> Self {
        Self {
            current: [0; BUCKETS],
            previous: [0; BUCKETS],
            current_total: 0,
            previous_total: 0,
            generation: 0,
            published: None,
        }
    }
}

impl RecentHistogram {
    /// Adds a sample; gives the quantiles when they are worth publishing: always while there are few samples, at
    /// most every 20 ms afterwards.
    pub(super) fn record(&mut self, millis: f64, now: Millis) -> Option<[f64; 3]> {
        self.rotate(now.0 / GENERATION_MS);
        self.current[bucket(millis)] += 1;
        self.current_total += 1;
        let due = self.published.is_none_or(|at| now.since(at) >= PUBLISH_EVERY_MS);
        if !due && self.current_total > FEW {
            return None;
        }
        self.published = Some(now);
        Some(self.quantiles())
    }

    fn rotate(&mut self, generation: u64) {
        match generation.saturating_sub(self.generation) {
            0 => return,
            1 => (self.previous, self.previous_total) = (self.current, self.current_total),
            _ => (self.previous, self.previous_total) = ([0; BUCKETS], 0),
        }
        (self.current, self.current_total) = ([0; BUCKETS], 0);
        self.generation = generation;
    }

    fn quantiles(&self) -> [f64; 3] {
        let total = f64::from(self.current_total) + f64::from(self.previous_total);
        let ranks = QUANTILES.map(|quantile| quantile * total);
        let mut values = [0.0; 3];
        let (mut seen, mut next) = (0.0, 0);
        for (place, (current, previous)) in self.current.iter().zip(&self.previous).enumerate() {
            seen += f64::from(current + previous);
            while next < ranks.len() && seen >= ranks[next] {
                values[next] = middle(place);
                next += 1;
            }
            if next == ranks.len() {
                break;
            }
        }
        values
    }
}

fn bucket(millis: f64) -> usize {
    // `as` saturates: below the first bucket is 0.
    (((millis.max(LOWEST_MS) / LOWEST_MS).ln() / WIDTH.ln()) as usize).min(BUCKETS - 1)
}

fn middle(place: usize) -> f64 {
    LOWEST_MS * WIDTH.powf(place as f64 + 0.5)
}

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
const LOWEST_MS: f64 = 0.1;
const WIDTH: f64 = 1.1;
/// Up to 0.1 ms × 1.1^170 ≈ 18 min.
const BUCKETS: usize = 170;
const GENERATION_MS: u64 = 30_000;
const PUBLISH_EVERY_MS: f64 = 20.0;
const FEW: u32 = 64;
