//! Who is left of the candidates.

/// What the judgement reads, by row.
#[derive(Clone, Copy, Debug)]
pub struct Health<'a> {
    /// Milliseconds until the deployment wants to be asked again.
    pub cooldown: &'a [f64],
    /// 0 closed, 1 half-open with room for a trial, 2 open.
    pub breaker: &'a [f64],
    /// Requests that it could begin at once.
    pub free: &'a [f64],
}

/// How a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be used.
    Well,
    /// Failing a moment ago: a request may try.
    OnTrial,
    /// To be left alone.
    Out,
}

impl Health<'_> {
    /// The state of a row.
    pub fn state(&self, row: usize) -> State {
        match (self.cooldown[row] > 0.0, self.breaker[row]) {
            (true, _) => State::Out,
            (false, 0.0) => State::Well,
            (false, 1.0) => State::OnTrial,
            _ => State::Out,
        }
    }

    /// Whether a request would not have to wait there.
    pub fn has_room(&self, row: usize) -> bool {
        self.free[row] >= 1.0
    }
}

/// The rows to keep, never none, after so many failures of the request. A decision about a new request that finds a
/// candidate on trial is the trial: nobody but the router would otherwise know whether it is ever chosen. A request that
/// has failed already is not sent to one while others are well; where it has failed as often as there are any, they may
/// all have had their turn, and whoever is left may have his, after them. Of those that come into question, the full ones
/// are left out while another has room; when all are full, whom to wait for is the router's business.
pub fn keep(health: &Health, failures: u32, panic_share: f64) -> Vec<usize> {
    let mut rows = by_health(health, failures, panic_share);
    if rows.iter().any(|row| health.has_room(*row)) {
        rows.retain(|row| health.has_room(*row));
    }
    rows
}

fn by_health(health: &Health, failures: u32, panic_share: f64) -> Vec<usize> {
    let rows = || 0..health.breaker.len();
    let are = |wanted| rows().filter(|row| health.state(*row) == wanted).collect::<Vec<_>>();
    let on_trial = are(State::OnTrial);
    if failures == 0
        && let Some(row) = on_trial.iter().find(|row| health.has_room(**row))
    {
        return vec![*row];
    }
    let well = are(State::Well);
    let panic = well.len() as f64 <= panic_share * rows().len() as f64;
    if failures == 0 {
        return if panic { rows().collect() } else { well };
    }
    let had_their_turn = |kept: &[usize]| kept.len() <= failures as usize;
    if !panic && !had_their_turn(&well) {
        return well;
    }
    if well.is_empty() && !had_their_turn(&on_trial) {
        return on_trial;
    }
    [well, on_trial, are(State::Out)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(cooldown: &[f64], breaker: &[f64], failures: u32) -> Vec<usize> {
        keep(&Health { cooldown, breaker, free: &[9.0; 4] }, failures, 0.0)
    }

    #[test]
    fn the_cooling_and_the_open_are_left_out() {
        assert_eq!(kept(&[0.0, 1.0, 0.0, 0.0], &[0.0, 0.0, 2.0, 0.0], 0), [0, 3]);
        assert_eq!(kept(&[0.0; 3], &[2.0, 2.0, 0.0], 0), [2], "the last one that is well stays");
    }

    #[test]
    fn a_new_request_is_the_trial_and_one_that_failed_is_not() {
        assert_eq!(kept(&[0.0; 3], &[0.0, 1.0, 1.0], 0), [1]);
        assert_eq!(kept(&[0.0; 4], &[0.0, 1.0, 1.0, 0.0], 1), [0, 3]);
        assert_eq!(kept(&[0.0; 3], &[2.0, 1.0, 2.0], 0), [1], "unless nobody is well");
        assert_eq!(kept(&[0.0, 9.0], &[0.0, 1.0], 0), [0], "one that cools down is not tried");
    }

    #[test]
    fn a_request_that_the_well_have_failed_may_go_to_the_others() {
        let of = |failures| kept(&[0.0, 9.0, 0.0, 0.0], &[0.0, 0.0, 2.0, 0.0], failures);
        assert_eq!((of(1), of(2)), (vec![0, 3], vec![0, 3, 1, 2]));
        // the only one that is well may be the one that failed
        assert_eq!(kept(&[9.0, 0.0, 9.0], &[0.0; 3], 1), [1, 0, 2]);
        let on_trial = |failures| kept(&[0.0; 4], &[2.0, 1.0, 2.0, 1.0], failures);
        assert_eq!((on_trial(1), on_trial(2)), (vec![1, 3], vec![1, 3, 0, 2]));
    }

    #[test]
    fn when_all_are_out_all_are_kept() {
        assert_eq!(kept(&[5.0, 0.0, 0.0], &[0.0, 2.0, 2.0], 0), [0, 1, 2]);
    }

    #[test]
    fn nobody_is_sent_to_the_full_while_another_has_room() {
        let kept = |breaker: &[f64], free: &[f64]| keep(&Health { cooldown: &[0.0; 3], breaker, free }, 0, 0.0);
        assert_eq!(kept(&[0.0; 3], &[0.0, 1.0, 5.0]), [1, 2]);
        assert_eq!(kept(&[0.0; 3], &[0.0, 1.0, 0.0]), [1]);
        assert_eq!(kept(&[0.0; 3], &[0.0; 3]), [0, 1, 2], "when all are full, the router says whom to wait for");
        assert_eq!(kept(&[0.0, 2.0, 0.0], &[0.0, 5.0, 0.0]), [0, 2], "room at one that is down is none");
        assert_eq!(kept(&[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0]), [2], "no trial at one that is full");
        assert_eq!(kept(&[0.0, 1.0, 0.0], &[0.0, 1.0, 1.0]), [1]);
    }

    #[test]
    fn panic_begins_at_its_share() {
        let breaker = [0.0, 2.0, 2.0, 2.0];
        let health = Health { cooldown: &[0.0; 4], breaker: &breaker, free: &[9.0; 4] };
        assert_eq!(keep(&health, 0, 0.24), [0]);
        assert_eq!(keep(&health, 0, 0.25), [0, 1, 2, 3]);
    }
}
