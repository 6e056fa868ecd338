//! A hedge: two attempts side by side, of which the first to answer is used.
//!
//! The loser's future is dropped, which closes its connection and so tells the upstream to stop.

use witgate_core::plan::{Attempt, Plan};
use witgate_core::vocabulary::FailureKind;

use super::bounds::Bound;
use super::execute::Execution;
use super::record::{AttemptRecord, Fate, Held};
use super::slot;
use crate::clock;
use crate::telemetry::metrics::Repetition;
use crate::upstream::Reply;

impl Execution<'_> {
    /// Two attempts, the second one starting when the first has been silent for the hedge's delay, if the budget allows
    /// it. Gives also how many attempts of the plan that used up.
    pub(super) async fn race(
        &mut self,
        plan: &Plan,
        (first, record): (&Attempt, AttemptRecord),
        hedge: &Attempt,
    ) -> (Result<(Reply, AttemptRecord), FailureKind>, usize) {
        let (first_fate, hedge_fate) = (record.fate(), Fate::shared());
        let mut failed = Vec::with_capacity(2);
        let mut used = 1;
        let answered = {
            let mut leading = std::pin::pin!(self.attempt(first, record));
            let early = tokio::select! {
                result = &mut leading => Some(result),
                () = tokio::time::sleep(hedge.delay.min(self.context.remaining())) => None,
            };
            let hedging = if early.is_none() { self.begin_hedge(plan, hedge, hedge_fate.clone()).await } else { None };
            match (early, hedging) {
                (Some(Ok(answered)), _) => Some(answered),
                (Some(Err(failure)), _) => {
                    failed.push(failure);
                    None
                }
                (None, None) => match leading.as_mut().await {
                    Ok(answered) => Some(answered),
                    Err(failure) => {
                        failed.push(failure);
                        None
                    }
                },
                (None, Some(record)) => {
                    used = 2;
                    let mut hedging = std::pin::pin!(self.attempt(hedge, record));
                    let (mut leading_runs, mut hedging_runs) = (true, true);
                    loop {
                        let result = tokio::select! {
                            result = &mut leading, if leading_runs => { leading_runs = false; result }
                            result = &mut hedging, if hedging_runs => { hedging_runs = false; result }
                        };
                        match result {
                            Ok(answered) => {
                                // At most one of them still runs, and the end of this block drops it.
                                if leading_runs {
                                    first_fate.lose();
                                }
                                if hedging_runs {
                                    hedge_fate.lose();
                                }
                                break Some(answered);
                            }
                            Err(failure) => failed.push(failure),
                        }
                        if !leading_runs && !hedging_runs {
                            break None;
                        }
                    }
                }
            }
        };
        if answered.is_some() {
            self.past.beaten += used - 1 - failed.len();
        }
        let mut kind = FailureKind::Connect;
        for failure in failed {
            kind = self.note(*failure);
        }
        (answered.ok_or(kind), used)
    }

    /// A hedge sends a request twice on purpose, so the route must allow that, and both budgets pay.
    async fn begin_hedge(&self, plan: &Plan, hedge: &Attempt, fate: Fate) -> Option<AttemptRecord> {
        let route = self.context.route();
        if !route.idempotent {
            route.metrics.bounded(Bound::NotIdempotent);
            return None;
        }
        if self.context.rest().is_some() {
            route.metrics.bounded(Bound::Spent);
            return None;
        }
        // Never waits: where no place is free, a second request helps nobody.
        let slot = slot::take(self.context, hedge).await.ok()?;
        let in_flight = self.admit(hedge.target)?;
        if !route.budgets.take_hedge(self.context.estimated_tokens(), clock::monotonic()) {
            route.metrics.bounded(Bound::HedgeBudget);
            return None;
        }
        route.metrics.repeated(Repetition::Hedge);
        let number = self.past.failures.len() + 1;
        Some(AttemptRecord::begin(self.context, hedge.target, plan.tag, number, fate, Held { in_flight, slot }))
    }
}
