//! Medians of rounds, and quantiles of times.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The middle value, and how far the rounds went apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` when there is no value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len().is_multiple_of(2) { values[middle - 1].midpoint(values[middle]) } else { values[middle] };
        Some(Self { low, median, high })
    }
}

/// The middle value.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// Times in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    #[expect(clippy::expect_used, reason = "bounds and digits are constants that the histogram allows")]
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("constants that are allowed"))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.record_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// In nanoseconds; `None` when nothing was recorded.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64)
    }
}

/// A quarter of an hour; what takes longer counts as this.
const LONGEST: u64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_what_is_no_number_is_left_out() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([3.0, 1.0, 2.0, 4.0]), Some(2.5));
        assert_eq!(Spread::of([f64::NAN, 5.0, 1.0]), Some(Spread { low: 1.0, median: 3.0, high: 5.0 }));
    }

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut times = Times::new();
        assert_eq!(times.quantile(0.5), None);
        for micros in 1..=100 {
            times.record(Duration::from_micros(micros));
        }
        times.record(Duration::from_secs(100_000));
        let near = |quantile, expected: f64| {
            let got = times.quantile(quantile).unwrap_or_default();
            (got / expected - 1.0).abs() < 0.001
        };
        assert!(near(0.5, 51_000.0) && near(0.99, 100_000.0) && near(1.0, 1e12));
    }
}
