//! What a failure leaves hope for, and who comes next.

use witgate_sdk::order;

/// What a failure says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It broke: another may do better, and so may this one in a moment.
    Broken,
    /// It was too slow: another may be faster, but not many may be asked.
    Late,
    /// It is busy: another may have room, and so may this one later.
    Busy,
    /// The key is over its limit: another key has a limit of its own.
    Limited,
    /// The key or its account is refused: another key, or another provider.
    Refused,
    /// This deployment cannot do it, whatever happens: another may.
    Unfit,
    /// The prompt is too long: only a larger window helps.
    TooLong,
    /// A content filter refused: only whom the operator names.
    Filtered,
    /// Trying again changes nothing: the request itself is wrong, or its time is up.
    Final,
}

impl Kind {
    /// By the contract's name. A kind that a newer host adds is taken to be the deployment's fault: the host's limits
    /// on attempts bound what that can cost.
    pub fn of(name: &str) -> Self {
        match name {
            "first-byte-timeout" | "first-token-timeout" => Self::Late,
            "overloaded" => Self::Busy,
            "rate-limited" => Self::Limited,
            "unauthorised" | "quota-exhausted" => Self::Refused,
            "model-not-found" | "unsupported" => Self::Unfit,
            "context-length" => Self::TooLong,
            "content-policy" => Self::Filtered,
            "bad-request" | "deadline" => Self::Final,
            _ => Self::Broken,
        }
    }
}

/// One failed attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failure {
    /// Where.
    pub target: u32,
    /// What it says.
    pub kind: Kind,
    /// What the upstream asked for; 0 when it did not say.
    pub retry_after_ms: f64,
}

/// Who may be tried, by row.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// Targets, in configured order.
    pub targets: &'a [u32],
    /// Milliseconds until the deployment wants to be asked again.
    pub cooldown: &'a [f64],
    /// 0 closed, 1 half-open, 2 open.
    pub breaker: &'a [f64],
    /// Context window; 0 where it is not known.
    pub window: &'a [f64],
    /// Keys of the provider that do not cool down.
    pub ready_keys: &'a [f64],
    /// Usual time to the first token; 0 where it is not known.
    pub usual_ms: &'a [f64],
}

/// What is known of all deployments, by target, and what the settings say.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Place in the settings' order.
    pub places: &'a [u32],
    /// Number of the provider.
    pub providers: &'a [u32],
    /// May get what a content filter refused.
    pub after_filter: &'a [bool],
    /// How often one that broke is asked again.
    pub same_again: u32,
}

/// What bounds a wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The longest.
    pub longest_ms: f64,
    /// Of the request's time, what is left.
    pub left_ms: f64,
    /// Whether the retry budget has anything left.
    pub may_retry: bool,
    /// Uniform in 0 ≤ x < 1.
    pub chance: f64,
}

/// What to do. The numbers are rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Try this one.
    Next(usize),
    /// Try the same one with another key.
    OtherKey(usize),
    /// Try this one, because its window is larger.
    Larger(usize),
    /// Try this one, because the operator wants that after a content filter.
    Unfiltered(usize),
    /// Try this one after so many milliseconds, as it asked.
    Wait(usize, f64),
    /// Try the same one after so many milliseconds.
    Again(usize, f64),
    /// Try this one although it wants to be left alone: otherwise the request is lost.
    Anyway(usize),
    /// The request fails.
    GiveUp,
}

/// What to do after these failures, oldest first.
pub fn decide(failures: &[Failure], candidates: &Candidates, standing: &Standing, patience: &Patience) -> Answer {
    let Some(last) = failures.last() else { return Answer::GiveUp };
    let late = failures.iter().filter(|failure| failure.kind == Kind::Late).count();
    if last.kind == Kind::Final || late > MOST_LATE {
        return Answer::GiveUp;
    }
    // Once may be the deployment's fault. Twice is the request's, unless there is one that is known to be quick enough.
    let only_known = late == MOST_LATE;
    let seen = Seen { failures, candidates, standing };
    if matches!(last.kind, Kind::Limited | Kind::Refused)
        && let Some(row) = seen.row_of(last.target)
        && seen.has_other_key(row)
    {
        return Answer::OtherKey(row);
    }
    let usable = |row: &usize| {
        let may = seen.is_in_time(*row, patience, only_known) && seen.is_hopeful(*row);
        seen.tries(*row) == 0 && candidates.cooldown[*row] == 0.0 && may
    };
    let order = |row: &usize| (candidates.breaker[*row] as u32, seen.place(*row));
    let Some(row) = seen.rows().filter(usable).min_by_key(order) else {
        return match (only_known, patience.may_retry) {
            (_, false) => Answer::GiveUp,
            (true, true) => seen.anyway(last, patience, true).map_or(Answer::GiveUp, Answer::Anyway),
            (false, true) => seen.wait(last, patience),
        };
    };
    // One may break by chance, and who is well is a better bet than who has been failing.
    if candidates.breaker[row] >= OPEN
        && let Some(again) = seen.again(last, patience).filter(|_| seen.is_well(last))
    {
        return again;
    }
    match last.kind {
        Kind::TooLong => Answer::Larger(row),
        Kind::Filtered => Answer::Unfiltered(row),
        _ => Answer::Next(row),
    }
}

struct Seen<'a> {
    failures: &'a [Failure],
    candidates: &'a Candidates<'a>,
    standing: &'a Standing<'a>,
}

impl Seen<'_> {
    fn rows(&self) -> std::ops::Range<usize> {
        0..self.candidates.targets.len()
    }

    fn row_of(&self, target: u32) -> Option<usize> {
        self.candidates.targets.iter().position(|known| *known == target)
    }

    fn place(&self, row: usize) -> u32 {
        order::place_of(self.standing.places, self.candidates.targets[row])
    }

    fn of(&self, row: usize) -> impl Iterator<Item = &Failure> {
        let target = self.candidates.targets[row];
        self.failures.iter().filter(move |failure| failure.target == target)
    }

    fn tries(&self, row: usize) -> usize {
        self.of(row).count()
    }

    /// A key that cools down no longer counts as ready, so what is ready has not been tried, or may be tried again.
    fn has_other_key(&self, row: usize) -> bool {
        self.candidates.ready_keys[row] >= 1.0 && self.candidates.cooldown[row] == 0.0 && self.tries(row) < MOST_KEYS
    }

    /// Whether it usually answers in the time that is left.
    fn is_in_time(&self, row: usize, patience: &Patience, only_known: bool) -> bool {
        let Candidates { usual_ms, breaker, .. } = self.candidates;
        let known = usual_ms[row] > 0.0 && breaker[row] == 0.0;
        usual_ms[row] < patience.left_ms && (known || !only_known)
    }

    /// Whether the failures leave any hope for this row.
    fn is_hopeful(&self, row: usize) -> bool {
        let target = self.candidates.targets[row];
        let Candidates { targets, window, .. } = self.candidates;
        self.failures.iter().all(|failure| match failure.kind {
            Kind::Broken | Kind::Late | Kind::Busy | Kind::Limited | Kind::Final => true,
            Kind::Unfit => failure.target != target,
            Kind::Refused => !order::same_provider(self.standing.providers, failure.target, target),
            Kind::TooLong => order::has_larger_window(window, targets, row, failure.target),
            Kind::Filtered => self.standing.after_filter.get(target as usize) == Some(&true),
        })
    }

    /// The shortest pause after which somebody may do better, if it is short enough.
    fn wait(&self, last: &Failure, patience: &Patience) -> Answer {
        let longest = patience.longest_ms.min(patience.left_ms);
        let asked = self.rows().filter_map(|row| Some((row, self.asked(row).filter(|pause| *pause < longest)?)));
        let shortest =
            asked.min_by(|one, other| one.1.total_cmp(&other.1).then(self.place(one.0).cmp(&self.place(other.0))));
        if let Some((row, pause)) = shortest {
            return Answer::Wait(row, pause);
        }
        // One may break by chance. After two, who only rests is the better bet than the same again.
        let anyway = self.anyway(last, patience, false);
        if let Some(row) = anyway
            && self.failures.len() > 1
        {
            return Answer::Anyway(row);
        }
        self.again(last, patience).or(anyway.map(Answer::Anyway)).unwrap_or(Answer::GiveUp)
    }

    /// The same once more after a random pause, if it broke.
    fn again(&self, last: &Failure, patience: &Patience) -> Option<Answer> {
        let row = self.row_of(last.target)?;
        let may = last.kind == Kind::Broken && self.tries(row) <= self.standing.same_again as usize;
        let tries = self.tries(row).min(6) as i32;
        let most = (FIRST_BACKOFF_MS * 2.0_f64.powi(tries - 1)).min(LONGEST_BACKOFF_MS).min(patience.left_ms);
        (may && patience.may_retry).then_some(Answer::Again(row, most * patience.chance))
    }

    fn is_well(&self, last: &Failure) -> bool {
        self.row_of(last.target).is_some_and(|row| self.candidates.breaker[row] == 0.0)
    }

    /// Everybody else broke, was too slow, refuses our keys, or turned the request away without saying for how long, and
    /// this one only rests. Where the last one is over its limit, or says when it has room again, the client is told that
    /// instead.
    fn anyway(&self, last: &Failure, patience: &Patience, only_known: bool) -> Option<usize> {
        let is_mute = last.kind == Kind::Busy && last.retry_after_ms == 0.0;
        if !is_mute && !matches!(last.kind, Kind::Broken | Kind::Late | Kind::Refused) {
            return None;
        }
        let candidates = self.candidates;
        let rests = |row: &usize| {
            let fits = self.is_in_time(*row, patience, only_known);
            candidates.cooldown[*row] > 0.0 && self.tries(*row) == 0 && fits && self.is_hopeful(*row)
        };
        let soonest = |one: &usize, other: &usize| candidates.cooldown[*one].total_cmp(&candidates.cooldown[*other]);
        self.rows().filter(rests).min_by(soonest)
    }

    /// The pause that somebody asked for. `None`: nobody did, or there is no hope after it either.
    fn asked(&self, row: usize) -> Option<f64> {
        let mut tries = self.of(row);
        let said = match (tries.next(), tries.next()) {
            (None, _) => 0.0,
            (Some(once), None) if matches!(once.kind, Kind::Busy | Kind::Limited) && once.retry_after_ms > 0.0 => {
                once.retry_after_ms
            }
            // Without a word from the upstream a retry would only add to its load.
            _ => return None,
        };
        let pause = self.candidates.cooldown[row].max(said);
        (pause > 0.0 && self.is_hopeful(row)).then_some(pause)
    }
}

/// Of the signal `breaker-state`.
const OPEN: f64 = 2.0;
const FIRST_BACKOFF_MS: f64 = 250.0;
const LONGEST_BACKOFF_MS: f64 = 8000.0;
/// Attempts of one request that were too slow; after a third nothing more is spent on it.
const MOST_LATE: usize = 2;
/// Tries of one deployment with different keys in one request: then it is not the keys.
const MOST_KEYS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: Candidates<'_> = Candidates {
        targets: &[0, 1, 2, 3],
        cooldown: &[0.0; 4],
        breaker: &[0.0; 4],
        window: &[0.0; 4],
        ready_keys: &[0.0; 4],
        usual_ms: &[0.0; 4],
    };
    const STANDING: Standing<'_> =
        Standing { places: &[0; 4], providers: &[0, 0, 1, 2], after_filter: &[false; 4], same_again: 1 };
    const PATIENCE: Patience = Patience { longest_ms: 2000.0, left_ms: 60_000.0, may_retry: true, chance: 0.5 };

    fn failed(target: u32, kind: Kind) -> Failure {
        Failure { target, kind, retry_after_ms: 0.0 }
    }

    fn asked(target: u32, kind: Kind, retry_after_ms: f64) -> Failure {
        Failure { target, kind, retry_after_ms }
    }

    fn after(failures: &[Failure], candidates: &Candidates) -> Answer {
        decide(failures, candidates, &STANDING, &PATIENCE)
    }

    const ALONE: Candidates<'_> = Candidates {
        targets: &[0],
        cooldown: &[0.0],
        breaker: &[0.0],
        window: &[0.0],
        ready_keys: &[0.0],
        usual_ms: &[0.0],
    };

    #[test]
    fn kinds_follow_the_table() {
        for (names, kind) in [
            (&["connect", "reset", "server-error", "malformed", "cut", "a-kind-of-tomorrow"][..], Kind::Broken),
            (&["first-byte-timeout", "first-token-timeout"], Kind::Late),
            (&["overloaded"], Kind::Busy),
            (&["rate-limited"], Kind::Limited),
            (&["unauthorised", "quota-exhausted"], Kind::Refused),
            (&["model-not-found", "unsupported"], Kind::Unfit),
            (&["context-length"], Kind::TooLong),
            (&["content-policy"], Kind::Filtered),
            (&["bad-request", "deadline"], Kind::Final),
        ] {
            for name in names {
                assert_eq!(Kind::of(name), kind, "{name}");
            }
        }
    }

    #[test]
    fn another_candidate_is_tried_the_well_before_the_failing() {
        assert_eq!(after(&[failed(0, Kind::Broken)], &FOUR), Answer::Next(1));
        let breaker = Candidates { breaker: &[2.0, 2.0, 1.0, 0.0], ..FOUR };
        assert_eq!(after(&[failed(0, Kind::Broken)], &breaker), Answer::Next(3));
        assert_eq!(after(&[failed(0, Kind::Broken), failed(3, Kind::Busy)], &breaker), Answer::Next(2));
        let ordered = Standing { places: &[3, 2, 1, 0], ..STANDING };
        assert_eq!(decide(&[failed(0, Kind::Broken)], &FOUR, &ordered, &PATIENCE), Answer::Next(3));
        assert_eq!(after(&[], &FOUR), Answer::GiveUp);
        assert_eq!(after(&[failed(0, Kind::Final)], &FOUR), Answer::GiveUp);
    }

    #[test]
    fn who_is_well_is_asked_again_before_who_has_been_failing() {
        let others_down = Candidates { breaker: &[0.0, 2.0, 2.0, 2.0], ..FOUR };
        let broke = |times: usize| vec![failed(0, Kind::Broken); times];
        assert_eq!(after(&broke(1), &others_down), Answer::Again(0, 125.0));
        assert_eq!(after(&broke(2), &others_down), Answer::Next(1));
        assert_eq!(after(&[failed(0, Kind::Late)], &others_down), Answer::Next(1));
        let all_down = Candidates { breaker: &[2.0; 4], ..FOUR };
        assert_eq!(after(&broke(1), &all_down), Answer::Next(1));
        let no_budget = Patience { may_retry: false, ..PATIENCE };
        assert_eq!(decide(&broke(1), &others_down, &STANDING, &no_budget), Answer::Next(1));
    }

    #[test]
    fn what_is_too_slow_is_tried_elsewhere_once() {
        assert_eq!(after(&[failed(0, Kind::Late)], &FOUR), Answer::Next(1));
        assert_eq!(after(&[failed(0, Kind::Late), failed(1, Kind::Late)], &FOUR), Answer::GiveUp);
        assert_eq!(after(&[failed(0, Kind::Late)], &ALONE), Answer::GiveUp);
    }

    #[test]
    fn and_once_more_where_one_is_known_to_be_quick() {
        let late = |targets: &[u32]| targets.iter().map(|target| failed(*target, Kind::Late)).collect::<Vec<_>>();
        let known = Candidates { usual_ms: &[200.0, 200.0, 0.0, 200.0], ..FOUR };
        assert_eq!(after(&late(&[0, 1]), &known), Answer::Next(3));
        assert_eq!(after(&late(&[0, 1, 3]), &known), Answer::GiveUp);
        let failing = Candidates { breaker: &[0.0, 0.0, 0.0, 1.0], ..known };
        assert_eq!(after(&late(&[0, 1]), &failing), Answer::GiveUp);
        // what failed besides is not asked again after a pause
        assert_eq!(after(&[&late(&[0, 1])[..], &[failed(3, Kind::Broken)]].concat(), &known), Answer::GiveUp);
    }

    #[test]
    fn who_usually_needs_longer_than_is_left_is_passed_over() {
        let slow = Candidates { usual_ms: &[0.0, 900.0, 899.0, 0.0], ..FOUR };
        let patience = Patience { left_ms: 900.0, ..PATIENCE };
        assert_eq!(decide(&[failed(0, Kind::Broken)], &slow, &STANDING, &patience), Answer::Next(2));
    }

    #[test]
    fn another_key_is_tried_before_another_deployment() {
        let keys = Candidates { ready_keys: &[1.0, 1.0, 1.0, 1.0], ..FOUR };
        assert_eq!(after(&[failed(0, Kind::Limited)], &keys), Answer::OtherKey(0));
        assert_eq!(after(&[failed(0, Kind::Refused)], &keys), Answer::OtherKey(0));
        assert_eq!(after(&[failed(0, Kind::Busy)], &keys), Answer::Next(1));
        assert_eq!(after(&[failed(0, Kind::Limited); 3], &keys), Answer::Next(1), "not for ever");
        // without another key a limit is the deployment's own, a refused key the provider's
        assert_eq!(after(&[failed(0, Kind::Limited)], &FOUR), Answer::Next(1));
        assert_eq!(after(&[failed(0, Kind::Refused)], &FOUR), Answer::Next(2));
    }

    #[test]
    fn what_a_deployment_cannot_do_is_not_asked_of_it_again() {
        assert_eq!(after(&[failed(0, Kind::Unfit)], &FOUR), Answer::Next(1));
        assert_eq!(after(&[failed(0, Kind::Unfit)], &ALONE), Answer::GiveUp);
    }

    #[test]
    fn a_prompt_that_is_too_long_goes_only_to_a_larger_window() {
        let windows = |window| after(&[failed(0, Kind::TooLong)], &Candidates { window, ..FOUR });
        assert_eq!(windows(&[8e3, 8e3, 0.0, 32e3]), Answer::Larger(3));
        assert_eq!(windows(&[8e3, 8e3, 0.0, 8e3]), Answer::GiveUp);
        // where the window that was too small is not known, one that is known is tried
        assert_eq!(windows(&[0.0, 0.0, 4e3, 0.0]), Answer::Larger(2));
    }

    #[test]
    fn what_a_filter_refused_goes_only_to_whom_the_operator_names() {
        assert_eq!(after(&[failed(0, Kind::Filtered)], &FOUR), Answer::GiveUp);
        let named = Standing { after_filter: &[false, false, true, false], ..STANDING };
        assert_eq!(decide(&[failed(0, Kind::Filtered)], &FOUR, &named, &PATIENCE), Answer::Unfiltered(2));
        let failures = [failed(0, Kind::Filtered), failed(2, Kind::Broken)];
        let answer = decide(&failures, &FOUR, &named, &PATIENCE);
        assert!(matches!(answer, Answer::Again(2, _)), "{answer:?}");
    }

    #[test]
    fn where_our_keys_are_refused_who_only_rests_is_asked() {
        let cooling = Candidates { cooldown: &[0.0, 9e4, 9e4, 8e4], ..FOUR };
        assert_eq!(after(&[failed(0, Kind::Refused)], &cooling), Answer::Anyway(3));
        // with the same keys it would be the same
        let same = Standing { providers: &[0; 4], ..STANDING };
        assert_eq!(decide(&[failed(0, Kind::Refused)], &cooling, &same, &PATIENCE), Answer::GiveUp);
        // who is over a limit may be asked too soon by nobody
        assert_eq!(after(&[failed(0, Kind::Limited)], &cooling), Answer::GiveUp);
    }

    #[test]
    fn the_shortest_pause_is_waited_out_if_it_is_short() {
        let cooling = Candidates { cooldown: &[0.0, 500.0, 300.0, 9e5], ..FOUR };
        let failures = [failed(0, Kind::Unfit)];
        assert_eq!(after(&failures, &cooling), Answer::Wait(2, 300.0));
        let with = |patience| decide(&failures, &cooling, &STANDING, &patience);
        assert_eq!(with(Patience { longest_ms: 300.0, ..PATIENCE }), Answer::GiveUp);
        assert_eq!(with(Patience { left_ms: 300.0, ..PATIENCE }), Answer::GiveUp);
        assert_eq!(with(Patience { may_retry: false, ..PATIENCE }), Answer::GiveUp);
        // one that said when it may be asked again is asked again then, once
        assert_eq!(after(&[asked(0, Kind::Busy, 800.0)], &ALONE), Answer::Wait(0, 800.0));
        assert_eq!(after(&[asked(0, Kind::Busy, 800.0); 2], &ALONE), Answer::GiveUp);
        assert_eq!(after(&[failed(0, Kind::Busy)], &ALONE), Answer::GiveUp);
    }

    #[test]
    fn one_that_rests_is_asked_when_the_well_ones_are_too_slow() {
        let late = |times: usize| vec![failed(0, Kind::Late); times];
        // the only one that does not rest was too slow
        let cooling = Candidates { cooldown: &[0.0, 9e4, 9e4, 8e4], ..FOUR };
        assert_eq!(after(&late(1), &cooling), Answer::Anyway(3));
        let broke = [failed(3, Kind::Broken), failed(0, Kind::Late)];
        assert_eq!(after(&broke, &cooling), Answer::Anyway(1), "whatever happened before");
        // it is the second that was too slow: no third, unless it is known to be quick
        let twice = [failed(0, Kind::Late), failed(3, Kind::Late)];
        assert_eq!(after(&twice, &cooling), Answer::GiveUp);
        let known = Candidates { usual_ms: &[0.0, 0.0, 200.0, 0.0], ..cooling };
        assert_eq!(after(&twice, &known), Answer::Anyway(2));
        let slow = Candidates { usual_ms: &[0.0, 900.0, 900.0, 900.0], ..cooling };
        assert_eq!(decide(&late(1), &slow, &STANDING, &Patience { left_ms: 900.0, ..PATIENCE }), Answer::GiveUp);
        let no_budget = Patience { may_retry: false, ..PATIENCE };
        assert_eq!(decide(&late(1), &cooling, &STANDING, &no_budget), Answer::GiveUp);
    }

    #[test]
    fn one_that_rests_is_asked_when_all_others_broke() {
        let cooling = Candidates { cooldown: &[0.0, 9e4, 9e4, 8e4], ..FOUR };
        let broke = |times: usize| vec![failed(0, Kind::Broken); times];
        assert_eq!(after(&broke(1), &cooling), Answer::Again(0, 125.0), "one may break by chance");
        assert_eq!(after(&broke(2), &cooling), Answer::Anyway(3));
        assert_eq!(after(&[&broke(1)[..], &[failed(3, Kind::Broken)]].concat(), &cooling), Answer::Anyway(1));
        let never = Standing { same_again: 0, ..STANDING };
        assert_eq!(decide(&broke(1), &cooling, &never, &PATIENCE), Answer::Anyway(3));
        // a 503 without a word is a broken server as often as a busy one
        assert_eq!(after(&[failed(0, Kind::Busy)], &cooling), Answer::Anyway(3));
        for told in [asked(0, Kind::Busy, 9e4), asked(0, Kind::Limited, 9e4), failed(0, Kind::Limited)] {
            let failures = [failed(0, Kind::Broken), told];
            assert_eq!(after(&failures, &cooling), Answer::GiveUp, "those that are left are spared");
        }
        for patience in [Patience { left_ms: 0.0, ..PATIENCE }, Patience { may_retry: false, ..PATIENCE }] {
            assert_eq!(decide(&broke(2), &cooling, &STANDING, &patience), Answer::GiveUp);
        }
    }

    #[test]
    fn one_that_broke_is_asked_again_after_a_random_pause_when_nobody_else_is_left() {
        assert_eq!(after(&[failed(0, Kind::Broken)], &ALONE), Answer::Again(0, 125.0));
        assert_eq!(after(&[failed(0, Kind::Broken); 2], &ALONE), Answer::GiveUp);
        let often = Standing { same_again: 3, ..STANDING };
        let again = |times: usize| decide(&vec![failed(0, Kind::Broken); times], &ALONE, &often, &PATIENCE);
        assert_eq!([again(2), again(3), again(4)], [Answer::Again(0, 250.0), Answer::Again(0, 500.0), Answer::GiveUp]);
    }
}
