//! When a candidate counts as failing.

/// What the judgement reads, by row.
#[derive(Clone, Copy, Debug)]
pub struct Health<'a> {
    /// Milliseconds until the deployment wants to be asked again.
    pub cooldown: &'a [f64],
    /// Failures in a row.
    pub consecutive_failures: &'a [f64],
    /// Share of failed attempts, a mean that forgets.
    pub error_rate: &'a [f64],
    /// Attempts that have ended.
    pub samples: &'a [f64],
}

/// Where failing begins.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many failures in a row.
    pub consecutive_failures: f64,
    /// A share of failures above this.
    pub error_rate: f64,
    /// The share counts from so many samples on; before it is noise.
    pub min_samples: f64,
}

/// How a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be used.
    Well,
    /// It asked not to be used for a while.
    CoolingDown,
    /// To be tried now and then.
    Failing,
}

impl Health<'_> {
    /// The state of a row.
    pub fn state(&self, row: usize, limits: &Limits) -> State {
        if self.cooldown[row] > 0.0 {
            return State::CoolingDown;
        }
        let in_a_row = self.consecutive_failures[row] >= limits.consecutive_failures;
        let often = self.samples[row] >= limits.min_samples && self.error_rate[row] > limits.error_rate;
        if in_a_row || often { State::Failing } else { State::Well }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { consecutive_failures: 5.0, error_rate: 0.5, min_samples: 20.0 };

    fn state(cooldown: f64, consecutive_failures: f64, error_rate: f64, samples: f64) -> State {
        let health = Health {
            cooldown: &[cooldown],
            consecutive_failures: &[consecutive_failures],
            error_rate: &[error_rate],
            samples: &[samples],
        };
        health.state(0, &LIMITS)
    }

    #[test]
    fn each_limit_has_two_sides() {
        assert_eq!(state(0.0, 4.0, 0.5, 20.0), State::Well);
        assert_eq!(state(0.0, 5.0, 0.0, 5.0), State::Failing);
        assert_eq!(state(0.0, 0.0, 0.51, 20.0), State::Failing);
        assert_eq!(state(0.0, 0.0, 0.51, 19.0), State::Well);
    }

    #[test]
    fn a_cooldown_comes_first() {
        assert_eq!(state(1.0, 5.0, 1.0, 100.0), State::CoolingDown);
    }
}
