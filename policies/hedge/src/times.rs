//! Times to the first token by kind of request, as histograms in cells.
//!
//! A bucket is 15 % wide. When a kind has many samples, all of its counts are halved, so that old times fade. Instances
//! may count at once; a count that is lost between them matters to nobody.

/// Where numbers are kept: `Table` in the gateway, a list in tests.
pub trait Cells {
    /// The value of a cell.
    fn load(&self, index: usize) -> f64;
    /// Sets a cell.
    fn store(&self, index: usize, value: f64);
}

/// Buckets of a kind.
pub const BUCKETS: usize = 64;
/// Cells of a kind: the buckets, the samples, the published quantile.
pub const WIDTH: usize = BUCKETS + 2;
/// Sizes of prompts that are told apart.
pub const SIZES: usize = 4;

/// Routes with times of their own; when there are more, some share.
pub fn routes(routes: usize) -> usize {
    routes.clamp(1, MOST_CELLS / (SIZES * WIDTH))
}

/// The first cell of a kind of request.
pub fn kind(route: usize, routes: usize, prompt_tokens: f64) -> usize {
    let size = LARGEST.iter().position(|largest| prompt_tokens <= *largest).unwrap_or(LARGEST.len());
    (route % routes * SIZES + size) * WIDTH
}

/// Adds a time.
pub fn add(cells: &impl Cells, kind: usize, millis: f64, quantile: f64) {
    let bucket = kind + bucket(millis);
    cells.store(bucket, cells.load(bucket) + 1.0);
    let samples = cells.load(kind + SAMPLES) + 1.0;
    cells.store(kind + SAMPLES, samples);
    if samples >= MOST_SAMPLES {
        (kind..kind + BUCKETS).for_each(|cell| cells.store(cell, (cells.load(cell) / 2.0).floor()));
        let left = (kind..kind + BUCKETS).map(|cell| cells.load(cell)).sum();
        cells.store(kind + SAMPLES, left);
    }
    if samples % PUBLISH_EVERY == 0.0 || samples < PUBLISH_EVERY {
        cells.store(kind + PUBLISHED, quantile_of(cells, kind, quantile));
    }
}

/// The quantile of a kind, and how many samples it rests on.
pub fn published(cells: &impl Cells, kind: usize) -> (f64, f64) {
    (cells.load(kind + PUBLISHED), cells.load(kind + SAMPLES))
}

fn quantile_of(cells: &impl Cells, kind: usize, quantile: f64) -> f64 {
    let samples: f64 = (kind..kind + BUCKETS).map(|cell| cells.load(cell)).sum();
    let mut seen = 0.0;
    for place in 0..BUCKETS {
        seen += cells.load(kind + place);
        if seen >= quantile * samples {
            // The upper end: a hedge that starts too early costs more than one that starts a little late.
            return LOWEST_MS * STEP.powi(place as i32 + 1);
        }
    }
    LOWEST_MS * STEP.powi(BUCKETS as i32)
}

fn bucket(millis: f64) -> usize {
    // `as` saturates: below the first bucket is 0.
    (((millis.max(LOWEST_MS) / LOWEST_MS).ln() / STEP.ln()) as usize).min(BUCKETS - 1)
}

const SAMPLES: usize = BUCKETS;
const PUBLISHED: usize = BUCKETS + 1;
const LARGEST: [f64; SIZES - 1] = [512.0, 2048.0, 8192.0];
const LOWEST_MS: f64 = 10.0;
/// Up to 10 ms × 1.15^64 ≈ 77 s.
const STEP: f64 = 1.15;
const MOST_SAMPLES: f64 = 4096.0;
const PUBLISH_EVERY: f64 = 16.0;
/// The contract's bound for one policy.
const MOST_CELLS: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct List(RefCell<Vec<f64>>);

    impl Cells for List {
        fn load(&self, index: usize) -> f64 {
            self.0.borrow()[index]
        }

        fn store(&self, index: usize, value: f64) {
            self.0.borrow_mut()[index] = value;
        }
    }

    fn cells() -> List {
        List(RefCell::new(vec![0.0; SIZES * WIDTH]))
    }

    #[test]
    fn a_quantile_is_a_bucket_s_upper_end() {
        let cells = cells();
        (0..980).for_each(|_| add(&cells, 0, 100.0, 0.98));
        (0..20).for_each(|_| add(&cells, 0, 5_000.0, 0.98));
        let (p98, samples) = published(&cells, 0);
        assert!((100.0..116.0).contains(&p98) && samples == 1_000.0, "{p98}");
        (0..24).for_each(|_| add(&cells, 0, 5_000.0, 0.98));
        let (p98, _) = published(&cells, 0);
        assert!((5_000.0..5_800.0).contains(&p98), "{p98}");
    }

    #[test]
    fn old_times_fade() {
        let cells = cells();
        (0..4_000).for_each(|_| add(&cells, 0, 5_000.0, 0.98));
        for _ in 0..40_000 {
            add(&cells, 0, 100.0, 0.98);
            assert!(published(&cells, 0).1 < MOST_SAMPLES);
        }
        assert!(published(&cells, 0).0 < 116.0);
    }

    #[test]
    fn kinds_are_told_apart_by_route_and_size_and_fit_the_bound() {
        let kinds = [kind(0, 2, 512.0), kind(0, 2, 513.0), kind(0, 2, 9e9), kind(1, 2, 0.0), kind(2, 2, 0.0)];
        assert_eq!(kinds, [0, WIDTH, 3 * WIDTH, 4 * WIDTH, 0]);
        assert_eq!((routes(0), routes(10)), (1, 10));
        assert!(routes(100_000) * SIZES * WIDTH <= MOST_CELLS);
    }

    #[test]
    fn every_time_has_a_bucket() {
        assert_eq!((bucket(0.0), bucket(10.0), bucket(1e9), bucket(f64::MAX)), (0, 0, BUCKETS - 1, BUCKETS - 1));
    }
}
