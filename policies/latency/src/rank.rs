//! Which candidates are about as fast as the fastest.

/// What the ranking reads, by row.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    /// Milliseconds.
    pub time: &'a [f64],
    /// Attempts that have ended; 0 where the time is unknown.
    pub samples: &'a [f64],
}

impl Times<'_> {
    /// The longest time that still counts as fast. Without it requests would all go to the one that happens to be
    /// faster by a hair, until its queue made it slower.
    pub fn limit(&self, tolerance: f64) -> f64 {
        let known = self.time.iter().zip(self.samples).filter(|(_, samples)| **samples > 0.0);
        known.map(|(time, _)| *time).fold(f64::INFINITY, f64::min) * (1.0 + tolerance)
    }

    /// 0 for a candidate that is fast or unknown, so that it is tried; else its time.
    pub fn beyond(&self, row: usize, limit: f64) -> f64 {
        let time = self.time[row];
        if self.samples[row] == 0.0 || time <= limit { 0.0 } else { time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_fastest_known_time_and_the_tolerance() {
        let times = Times { time: &[0.0, 200.0, 100.0], samples: &[0.0, 5.0, 5.0] };
        assert_eq!(times.limit(0.0), 100.0);
        assert_eq!(times.limit(0.5), 150.0);
        assert_eq!(Times { time: &[0.0], samples: &[0.0] }.limit(0.5), f64::INFINITY);
    }

    #[test]
    fn a_time_at_the_limit_is_fast_and_one_above_is_not() {
        let times = Times { time: &[100.0, 100.1, 0.0], samples: &[5.0, 5.0, 0.0] };
        assert_eq!([0, 1, 2].map(|row| times.beyond(row, 100.0)), [0.0, 100.1, 0.0]);
    }
}
