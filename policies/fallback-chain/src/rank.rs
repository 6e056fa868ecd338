//! What a failure leaves hope for, and who comes next.

use witgate_sdk::order;

/// What a failure says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The deployment failed: another may do better.
    Elsewhere,
    /// The deployment is busy: another may have room, and so may this one later.
    Busy,
    /// Our key or account was refused: another provider may do better.
    OtherProvider,
    /// The prompt is too long: only a larger window helps.
    LargerWindow,
    /// Trying again changes nothing: the request itself is wrong, or its time is up.
    Final,
}

impl Kind {
    /// By the contract's name. A kind that a newer host adds is taken to be the deployment's fault: the host's limits
    /// on attempts bound what that can cost.
    pub fn of(name: &str) -> Self {
        match name {
            "rate-limited" | "overloaded" => Self::Busy,
            "unauthorised" | "quota-exhausted" => Self::OtherProvider,
            "context-length" => Self::LargerWindow,
            // a laxer filter is not chosen behind the operator's back
            "bad-request" | "content-policy" | "deadline" => Self::Final,
            _ => Self::Elsewhere,
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

/// Who may be tried, by row, and what is known by target.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// Targets, in configured order.
    pub targets: &'a [u32],
    /// Milliseconds until the deployment wants to be asked again.
    pub cooldown: &'a [f64],
    /// Context window; 0 where it is not known.
    pub window: &'a [f64],
    /// Place in the settings' order, by target.
    pub places: &'a [u32],
    /// Number of the provider, by target.
    pub providers: &'a [u32],
}

/// What to do. The numbers are rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Try this one.
    Next(usize),
    /// Try this one, because its window is larger.
    Larger(usize),
    /// Try this one after so many milliseconds.
    Wait(usize, f64),
    /// The request fails.
    GiveUp,
}

/// What to do after these failures, oldest first.
pub fn decide(failures: &[Failure], candidates: &Candidates, longest_wait: f64) -> Answer {
    let Some(last) = failures.last() else { return Answer::GiveUp };
    if last.kind == Kind::Final {
        return Answer::GiveUp;
    }
    let untried = |row: &usize| failures.iter().all(|failure| failure.target != candidates.targets[*row]);
    let next =
        first(candidates, |row| untried(&row) && candidates.cooldown[row] == 0.0 && candidates.hopeful(failures, row));
    match next {
        Some(row) if last.kind == Kind::LargerWindow => Answer::Larger(row),
        Some(row) => Answer::Next(row),
        None => wait(failures, candidates, longest_wait),
    }
}

/// The shortest pause after which somebody may have room, if it is short enough.
fn wait(failures: &[Failure], candidates: &Candidates, longest_wait: f64) -> Answer {
    let pause = |row: usize| {
        let target = candidates.targets[row];
        let mut tries = failures.iter().filter(|failure| failure.target == target);
        let asked = match (tries.next(), tries.next()) {
            (None, _) => 0.0,
            // Without a word from the upstream a retry would only add to its load.
            (Some(once), None) if once.kind == Kind::Busy && once.retry_after_ms > 0.0 => once.retry_after_ms,
            _ => return None,
        };
        let pause = candidates.cooldown[row].max(asked);
        (pause < longest_wait && candidates.hopeful(failures, row)).then_some(pause)
    };
    let rows = (0..candidates.targets.len()).filter_map(|row| pause(row).map(|pause| (row, pause)));
    let shortest = rows
        .min_by(|one, other| one.1.total_cmp(&other.1).then(candidates.place(one.0).cmp(&candidates.place(other.0))));
    shortest.map_or(Answer::GiveUp, |(row, pause)| Answer::Wait(row, pause))
}

fn first(candidates: &Candidates, may: impl Fn(usize) -> bool) -> Option<usize> {
    (0..candidates.targets.len()).filter(|row| may(*row)).min_by_key(|row| candidates.place(*row))
}

impl Candidates<'_> {
    fn place(&self, row: usize) -> u32 {
        order::place_of(self.places, self.targets[row])
    }

    /// Whether the failures leave any hope for this row.
    fn hopeful(&self, failures: &[Failure], row: usize) -> bool {
        failures.iter().all(|failure| match failure.kind {
            Kind::Elsewhere | Kind::Busy | Kind::Final => true,
            Kind::OtherProvider => !order::same_provider(self.providers, failure.target, self.targets[row]),
            Kind::LargerWindow => order::has_larger_window(self.window, self.targets, row, failure.target),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: Candidates<'_> = Candidates {
        targets: &[0, 1, 2, 3],
        cooldown: &[0.0; 4],
        window: &[0.0; 4],
        places: &[0; 4],
        providers: &[0, 0, 1, 2],
    };

    fn failed(target: u32, kind: Kind) -> Failure {
        Failure { target, kind, retry_after_ms: 0.0 }
    }

    fn busy(target: u32, retry_after_ms: f64) -> Failure {
        Failure { target, kind: Kind::Busy, retry_after_ms }
    }

    #[test]
    fn kinds_follow_the_table() {
        let kinds = ["connect", "server-error", "model-not-found", "a-kind-of-tomorrow"].map(Kind::of);
        assert_eq!(kinds, [Kind::Elsewhere; 4]);
        assert_eq!(["rate-limited", "overloaded"].map(Kind::of), [Kind::Busy; 2]);
        assert_eq!(["bad-request", "content-policy", "deadline"].map(Kind::of), [Kind::Final; 3]);
        assert_eq!(["unauthorised", "quota-exhausted"].map(Kind::of), [Kind::OtherProvider; 2]);
        assert_eq!(Kind::of("context-length"), Kind::LargerWindow);
    }

    #[test]
    fn the_next_untried_candidate_comes_in_the_settings_order() {
        let after = |failures: &[Failure], places| decide(failures, &Candidates { places, ..FOUR }, 2000.0);
        assert_eq!(after(&[failed(0, Kind::Elsewhere)], &[0; 4]), Answer::Next(1));
        assert_eq!(after(&[failed(1, Kind::Elsewhere), failed(0, Kind::Busy)], &[0; 4]), Answer::Next(2));
        assert_eq!(after(&[failed(0, Kind::Elsewhere)], &[2, 2, 1, 0]), Answer::Next(3));
        assert_eq!(after(&[], &[0; 4]), Answer::GiveUp);
    }

    #[test]
    fn what_is_final_is_given_up() {
        assert_eq!(decide(&[failed(0, Kind::Final)], &FOUR, 2000.0), Answer::GiveUp);
        let all = [0, 1, 2, 3].map(|target| failed(target, Kind::Elsewhere));
        assert_eq!(decide(&all, &FOUR, 2000.0), Answer::GiveUp);
    }

    #[test]
    fn a_refused_key_rules_its_provider_out_for_the_rest_of_the_request() {
        assert_eq!(decide(&[failed(0, Kind::OtherProvider)], &FOUR, 2000.0), Answer::Next(2));
        let failures = [failed(0, Kind::OtherProvider), failed(2, Kind::Elsewhere)];
        assert_eq!(decide(&failures, &FOUR, 2000.0), Answer::Next(3));
    }

    #[test]
    fn a_prompt_that_is_too_long_goes_only_to_a_larger_window() {
        let after =
            |target, window| decide(&[failed(target, Kind::LargerWindow)], &Candidates { window, ..FOUR }, 2000.0);
        assert_eq!(after(0, &[8e3, 8e3, 0.0, 32e3]), Answer::Larger(3));
        assert_eq!(after(3, &[8e3, 8e3, 0.0, 32e3]), Answer::GiveUp);
        // where the window that was too small is not known, one that is known is tried
        assert_eq!(after(2, &[8e3, 8e3, 0.0, 32e3]), Answer::Larger(0));
        assert_eq!(after(0, &[0.0; 4]), Answer::GiveUp);
    }

    #[test]
    fn who_is_cooling_down_waits_until_nobody_else_is_left() {
        let candidates = Candidates { cooldown: &[0.0, 500.0, 0.0, 300.0], ..FOUR };
        let mut failures = vec![failed(0, Kind::Elsewhere)];
        assert_eq!(decide(&failures, &candidates, 2000.0), Answer::Next(2));
        failures.push(failed(2, Kind::Elsewhere));
        assert_eq!(decide(&failures, &candidates, 2000.0), Answer::Wait(3, 300.0));
        assert_eq!(decide(&failures, &candidates, 301.0), Answer::Wait(3, 300.0));
        assert_eq!(decide(&failures, &candidates, 300.0), Answer::GiveUp);
    }

    #[test]
    fn one_that_asked_for_a_short_pause_is_tried_once_more() {
        let one = Candidates { targets: &[0], cooldown: &[0.0], window: &[0.0], ..FOUR };
        assert_eq!(decide(&[busy(0, 800.0)], &one, 2000.0), Answer::Wait(0, 800.0));
        assert_eq!(decide(&[busy(0, 2000.0)], &one, 2000.0), Answer::GiveUp);
        assert_eq!(decide(&[busy(0, 0.0)], &one, 2000.0), Answer::GiveUp);
        assert_eq!(decide(&[busy(0, 800.0), busy(0, 800.0)], &one, 2000.0), Answer::GiveUp);
        // the live cooldown is the later word
        let cooling = Candidates { cooldown: &[900.0], ..one };
        assert_eq!(decide(&[busy(0, 800.0)], &cooling, 2000.0), Answer::Wait(0, 900.0));
    }
}
