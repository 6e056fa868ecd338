//! Room left under the limits of requests and tokens a minute.

/// What the ranking reads, by row.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'a> {
    /// Requests in the last minute.
    pub rpm_used: &'a [f64],
    /// Tokens in the last minute.
    pub tpm_used: &'a [f64],
    /// Unused share of the requests; 1 where there is no limit.
    pub rpm_headroom: &'a [f64],
    /// Unused share of the tokens; 1 where there is no limit.
    pub tpm_headroom: &'a [f64],
    /// Milliseconds until the deployment wants to be asked again.
    pub cooldown: &'a [f64],
}

impl Usage<'_> {
    /// The unused share of the scarcer of both.
    pub fn headroom(&self, row: usize) -> f64 {
        self.rpm_headroom[row].min(self.tpm_headroom[row])
    }

    /// Whether one more request of so many tokens stays within the limits.
    pub fn has_room(&self, row: usize, tokens: f64) -> bool {
        self.cooldown[row] == 0.0
            && left(self.rpm_used[row], self.rpm_headroom[row]) >= 1.0
            && left(self.tpm_used[row], self.tpm_headroom[row]) >= tokens
    }
}

/// What is left, from what is used and the unused share. Nothing used tells nothing about the limit: then there is
/// room for anything.
fn left(used: f64, headroom: f64) -> f64 {
    if headroom >= 1.0 { f64::INFINITY } else { used * headroom / (1.0 - headroom) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Usage<'_> =
        Usage { rpm_used: &[0.0], tpm_used: &[0.0], rpm_headroom: &[1.0], tpm_headroom: &[1.0], cooldown: &[0.0] };

    #[test]
    fn the_scarcer_limit_counts() {
        assert_eq!(Usage { rpm_headroom: &[0.4], tpm_headroom: &[0.7], ..NONE }.headroom(0), 0.4);
        assert_eq!(Usage { rpm_headroom: &[0.8], tpm_headroom: &[0.7], ..NONE }.headroom(0), 0.7);
    }

    #[test]
    fn room_for_tokens_ends_where_they_end() {
        let usage = Usage { tpm_used: &[600.0], tpm_headroom: &[0.4], ..NONE };
        let left = left(600.0, 0.4);
        assert!((399.9..400.1).contains(&left), "{left}");
        assert!(usage.has_room(0, left));
        assert!(!usage.has_room(0, left + 1.0));
    }

    #[test]
    fn room_for_requests_ends_with_the_last_one() {
        let usage = |used, headroom: &'static [f64; 1]| Usage { rpm_used: used, rpm_headroom: headroom, ..NONE };
        assert!(usage(&[1.0], &[0.5]).has_room(0, 1.0));
        assert!(!usage(&[2.0], &[0.0]).has_room(0, 1.0));
        assert!(!usage(&[1.0], &[0.25]).has_room(0, 1.0));
    }

    #[test]
    fn without_a_limit_there_is_room_unless_it_asked_for_a_pause() {
        assert!(NONE.has_room(0, 1e9));
        assert!(!Usage { cooldown: &[1.0], ..NONE }.has_room(0, 1.0));
    }
}
