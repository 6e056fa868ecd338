//! What the host allows beyond a request's first attempt, whatever its policies say: the route's retry budget, and
//! nothing twice that may have been carried out where the route does not want that.

use std::time::Duration;

use parking_lot::Mutex;
use witgate_core::breaker::BreakerState;
use witgate_core::budget::{Budget, BudgetRules};
use witgate_core::config::Retries;
use witgate_core::decision::FailedAttempt;
use witgate_core::fleet::Fleet;
use witgate_core::live::Millis;
use witgate_core::vocabulary::FailureKind;

/// The budgets of one route, which outlive a reload.
pub struct Budgets(Mutex<Purses>);

struct Purses {
    retries: Budget,
    hedges: Budget,
    hedged_tokens: Budget,
}

/// Why the host sends a request no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The budget is used up.
    Budget,
    /// The budget of hedges is.
    HedgeBudget,
    /// An upstream may have carried the request out, and the route is not idempotent.
    NotIdempotent,
    /// A body that is not held has gone, at least in part, to the first upstream.
    Spent,
}

impl Bound {
    /// All of them, for metrics.
    pub const ALL: [Self; 4] = [Self::Budget, Self::HedgeBudget, Self::NotIdempotent, Self::Spent];

    /// The label of `witgate_retries_refused_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::HedgeBudget => "hedge-budget",
            Self::NotIdempotent => "not-idempotent",
            Self::Spent => "spent",
        }
    }
}

impl Budgets {
    /// Budgets into which nothing has come yet.
    pub fn new(configured: &Retries) -> Self {
        let [retries, hedges, hedged_tokens] = rules(configured).map(Budget::new);
        Self(Mutex::new(Purses { retries, hedges, hedged_tokens }))
    }

    /// Goes by another configuration from now on.
    pub fn configure(&self, configured: &Retries) {
        let mut purses = self.0.lock();
        let Purses { retries, hedges, hedged_tokens } = &mut *purses;
        for (budget, rules) in [retries, hedges, hedged_tokens].into_iter().zip(rules(configured)) {
            budget.set_rules(rules);
        }
    }

    /// A request came.
    pub fn came(&self, tokens: u32, now: Millis) {
        let mut purses = self.0.lock();
        purses.retries.came(1.0, now);
        purses.hedges.came(1.0, now);
        purses.hedged_tokens.came(f64::from(tokens), now);
    }

    /// Attempts beyond the first that are allowed at this moment.
    pub fn left(&self, now: Millis) -> f64 {
        self.0.lock().retries.left(now).floor()
    }

    /// Pays for one more attempt, if that is allowed.
    pub fn take_retry(&self, now: Millis) -> bool {
        self.0.lock().retries.take(1.0, now)
    }

    /// Pays for a hedge of so many tokens, if that is allowed.
    pub fn take_hedge(&self, tokens: u32, now: Millis) -> bool {
        let mut purses = self.0.lock();
        let tokens = f64::from(tokens);
        let allowed = purses.hedges.left(now) >= 1.0 && purses.hedged_tokens.left(now) >= tokens;
        allowed
            && purses.retries.take(1.0, now)
            && purses.hedges.take(1.0, now)
            && purses.hedged_tokens.take(tokens, now)
    }
}

/// Whether one more attempt may go to `target` after these failures.
pub fn may_repeat(
    failures: &[FailedAttempt],
    target: u32,
    idempotent: bool,
    fleet: &Fleet,
    budgets: &Budgets,
    now: Millis,
) -> Result<(), Bound> {
    // What was turned away at a queue was never sent.
    let mut sent = failures.iter().filter(|failed| failed.kind != FailureKind::QueueFull);
    let Some(last) = sent.next_back() else { return Ok(()) };
    if !idempotent && failures.iter().any(|failed| failed.kind.may_have_run()) {
        return Err(Bound::NotIdempotent);
    }
    let is = |number: u32, state| {
        let entry = fleet.deployments().get(number as usize);
        entry.is_some_and(|entry| entry.live.breaker_state(now) == state)
    };
    // What is well gets no request more than if what is down had not been asked.
    let is_first_where_it_belongs = is(last.target, BreakerState::Open)
        && is(target, BreakerState::Closed)
        && failures.iter().all(|failed| !is(failed.target, BreakerState::Closed));
    if is_first_where_it_belongs || budgets.take_retry(now) { Ok(()) } else { Err(Bound::Budget) }
}

/// Of retries, hedges, and tokens of hedges.
fn rules(configured: &Retries) -> [BudgetRules; 3] {
    let Retries { share, per_second, window, hedge_share } = *configured;
    let hedges = |least| BudgetRules {
        share: hedge_share,
        per_second: 0.0,
        window: HEDGE_WINDOW,
        least: if hedge_share > 0.0 { least } else { 0.0 },
    };
    [BudgetRules { share, per_second, window, least: 0.0 }, hedges(1.0), hedges(LEAST_TOKENS)]
}

/// Longer than that of retries: two in a hundred of ten seconds' requests are often none.
const HEDGE_WINDOW: Duration = Duration::from_secs(60);
/// A request of ordinary size may be hedged however little traffic there is.
const LEAST_TOKENS: f64 = 4096.0;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use witgate_core::deployment::Deployment;
    use witgate_core::live::Live;
    use witgate_core::outcome::{Asked, Outcome};
    use witgate_core::vocabulary::{Ending, FailureKind};

    use super::*;

    const NOW: Millis = Millis(1_000);

    fn fleet() -> Fleet {
        let deployment =
            |id: &str| Arc::new(Deployment { id: id.into(), provider: id.into(), ..Deployment::default() });
        Fleet::new(["a", "b", "c"].map(deployment).into(), vec![], None)
    }

    fn open(live: &Arc<Live>) {
        let outcome = Outcome {
            decision: 0,
            attempt: 0,
            target: 0,
            tag: 0,
            ending: Ending::Failed,
            failure: Some(FailureKind::Connect),
            status: 0,
            retry_after: None,
            ttft: None,
            latency: Duration::ZERO,
            tokens_in: 0,
            tokens_out: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            reasoning_tokens: 0,
            usd: 0.0,
            asked: Asked::default(),
        };
        for _ in 0..5 {
            live.begin(0, NOW).finish(&outcome, NOW);
        }
    }

    fn budgets(share: f64, per_second: f64, hedge_share: f64) -> Budgets {
        Budgets::new(&Retries { share, per_second, window: Duration::from_secs(10), hedge_share })
    }

    fn failed(target: u32, kind: FailureKind) -> FailedAttempt {
        FailedAttempt { target, kind, status: 0, retry_after_ms: 0.0, elapsed_ms: 1.0, tokens_sent: 0 }
    }

    #[test]
    fn a_repetition_is_paid_for_until_the_budget_is_used_up() {
        let (fleet, budgets) = (fleet(), budgets(0.0, 0.1, 0.0));
        let repeat = |failures: &[FailedAttempt]| may_repeat(failures, 1, true, &fleet, &budgets, NOW);
        assert_eq!([repeat(&[]), repeat(&[])], [Ok(()); 2], "the first attempt is not one");
        let failures = [failed(0, FailureKind::Connect)];
        assert_eq!([repeat(&failures), repeat(&failures)], [Ok(()), Err(Bound::Budget)]);
    }

    #[test]
    fn leaving_what_is_down_for_what_is_well_costs_nothing_once() {
        let (fleet, budgets) = (fleet(), budgets(0.0, 0.0, 0.0));
        let repeat = |failures: &[FailedAttempt], target| may_repeat(failures, target, true, &fleet, &budgets, NOW);
        let first = failed(0, FailureKind::Connect);
        assert_eq!(repeat(&[first], 1), Err(Bound::Budget));
        open(&fleet.deployments()[0].live);
        assert_eq!(repeat(&[first], 1), Ok(()));
        assert_eq!(repeat(&[first], 0), Err(Bound::Budget));
        // what was well has had its attempt; the next one is a repetition like any other
        assert_eq!(repeat(&[first, failed(1, FailureKind::Connect)], 2), Err(Bound::Budget));
        open(&fleet.deployments()[1].live);
        assert_eq!(repeat(&[first], 1), Err(Bound::Budget));
    }

    #[test]
    fn what_may_have_run_is_not_sent_again_where_the_route_is_not_idempotent() {
        let (fleet, budgets) = (fleet(), budgets(1.0, 10.0, 0.0));
        let repeat = |kind, idempotent| may_repeat(&[failed(0, kind)], 1, idempotent, &fleet, &budgets, NOW);
        assert_eq!(repeat(FailureKind::Reset, true), Ok(()));
        assert_eq!(repeat(FailureKind::Reset, false), Err(Bound::NotIdempotent));
        assert_eq!(repeat(FailureKind::Connect, false), Ok(()));
    }

    #[test]
    fn hedges_are_two_in_a_hundred_requests_and_of_their_tokens() {
        let budgets = budgets(0.2, 10.0, 0.02);
        assert!(budgets.take_hedge(500, NOW) && !budgets.take_hedge(500, NOW), "one is always there");
        (0..400).for_each(|_| budgets.came(500, NOW));
        // 8 of 400, of which one is taken; 4,096 tokens, the least, of which 500 are taken
        assert_eq!((0..20).filter(|_| budgets.take_hedge(500, NOW)).count(), 7);
        (0..400).for_each(|_| budgets.came(500, NOW));
        // 8,000 of 400,000 tokens, of which 4,000 are taken: 4,000 are left, though 8 hedges are
        assert!(!budgets.take_hedge(4_001, NOW) && budgets.take_hedge(4_000, NOW) && !budgets.take_hedge(1, NOW));
    }

    #[test]
    fn no_hedges_are_none() {
        let budgets = budgets(0.2, 10.0, 0.0);
        budgets.came(500, NOW);
        assert!(!budgets.take_hedge(1, NOW));
    }
}
