//! Which candidates have the best score, or one about as good.

/// The lowest score that counts as the best.
pub fn limit(scores: &[f64], tolerance: f64) -> f64 {
    scores.iter().copied().fold(0.0, f64::max) - tolerance - ROUNDING
}

/// Weighted means that are equal on paper differ by less than this.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_tolerance_below_the_best() {
        let within = |scores: [f64; 3], tolerance| scores.map(|score| score >= limit(&scores, tolerance));
        assert_eq!(within([0.5, 0.75, 0.25], 0.0), [false, true, false]);
        assert_eq!(within([0.5, 0.75, 0.25], 0.25), [true, true, false]);
        assert_eq!(within([0.5, 0.75, 0.25], 0.24), [false, true, false]);
        assert_eq!(within([0.0, 1.0, 0.25], 1.0), [true; 3]);
        assert_eq!(within([0.0; 3], 0.0), [true; 3]);
    }

    #[test]
    fn rounding_makes_no_difference() {
        let scores = [0.1 + 0.2, 0.3, 0.4];
        assert_ne!(scores[0], scores[1]);
        assert!(scores[1] >= limit(&scores[..2], 0.0));
        assert!(scores[1] >= limit(&scores, 0.1));
    }
}
