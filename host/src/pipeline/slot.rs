//! A place at a deployment that carries out only so many requests at once (`max_concurrency`).
//!
//! Which deployment to wait for, if any, the policies have said. Without a limit, nothing happens here.

use std::time::{Duration, Instant};

use witgate_core::admission::Bounds;
use witgate_core::decision::StartRule;
use witgate_core::plan::Attempt;

use super::context::Context;
use crate::admission::{Away, Permit, Turned, Visit};
use crate::upstream::AttemptFailure;

/// The place, `None` where there is no limit; or why there is none, and how long was waited.
pub async fn take(context: &Context, attempt: &Attempt) -> Result<Option<Permit>, (AttemptFailure, Duration)> {
    let place = attempt.target as usize;
    let Some(gate) = &context.snapshot.gates[place] else { return Ok(None) };
    let entry = &context.snapshot.fleet.deployments()[place];
    let Some(running) = entry.spec.max_concurrency else { return Ok(None) };
    let queue = context.snapshot.config.server.queue;
    // A hedge is for a deployment that can answer sooner: it never waits.
    let hedge = attempt.start == StartRule::Hedge;
    let waiting = if hedge { 0 } else { queue.length };
    let patience = queue.timeout.min(context.remaining());
    let started = Instant::now();
    let queued = (gate.running() >= running.get()).then(|| entry.live.queue());
    let visit = Visit { priority: context.priority, bounds: Bounds { running, waiting }, patience };
    let entered = gate.enter(visit).await;
    drop(queued);
    let metrics = &context.snapshot.deployment_metrics[place].queue;
    metrics.waited(started.elapsed());
    entered.map(Some).map_err(|Turned { away, retry_after }| {
        metrics.turned(away);
        let message = match away {
            Away::Full => format!("{running} requests run, as many as `max_concurrency` allows, and {waiting} wait"),
            Away::TimedOut => {
                format!(
                    "{running} requests run, as many as `max_concurrency` allows, and none ended within {patience:?}"
                )
            }
            Away::Displaced => "a more urgent request took this one's place in the queue".to_owned(),
        };
        (AttemptFailure::queue_full(retry_after, message), started.elapsed())
    })
}
