//! Work in flight per weight.

use serde::Deserialize;

/// What is counted. The other one settles ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Estimated prompt and output tokens: a long prompt counts for more than a short one.
    Tokens,
    /// Requests.
    Requests,
}

/// What the ranking reads, by row.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Requests in flight.
    pub requests: &'a [f64],
    /// Tokens in flight.
    pub tokens: &'a [f64],
    /// Configured weight, above 0.
    pub weight: &'a [f64],
}

impl Load<'_> {
    /// The load of a row, with what settles a tie behind it.
    pub fn of(&self, row: usize, measure: Measure) -> (f64, f64) {
        let requests = self.requests[row] / self.weight[row];
        let tokens = self.tokens[row] / self.weight[row];
        match measure {
            Measure::Tokens => (tokens, requests),
            Measure::Requests => (requests, tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load<'_> = Load { requests: &[4.0, 3.0], tokens: &[800.0, 900.0], weight: &[2.0, 1.0] };

    #[test]
    fn a_candidate_of_twice_the_weight_carries_twice_the_load() {
        assert_eq!(LOAD.of(0, Measure::Requests), (2.0, 400.0));
        assert_eq!(LOAD.of(1, Measure::Requests), (3.0, 900.0));
    }

    #[test]
    fn the_measure_leads_and_the_other_one_settles_ties() {
        assert_eq!(LOAD.of(0, Measure::Tokens), (400.0, 2.0));
        let tied = Load { requests: &[2.0, 1.0], tokens: &[0.0, 0.0], weight: &[1.0, 1.0] };
        assert!(tied.of(1, Measure::Tokens) < tied.of(0, Measure::Tokens));
    }
}
