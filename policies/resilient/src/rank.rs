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
mod tests;
