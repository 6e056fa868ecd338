//! One outcome for each attempt, written when the value is dropped, so that a client that hangs up needs no special
//! code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use witgate_core::breaker::Transition;
use witgate_core::deployment::Tokens;
use witgate_core::live::InFlight;
use witgate_core::openai::Usage;
use witgate_core::outcome::{Outcome, OutcomeRow};
use witgate_core::vocabulary::Ending;
use witgate_wasm::Chain;

use super::context::Context;
use crate::admission::Permit;
use crate::clock;
use crate::snapshot::Snapshot;
use crate::upstream::AttemptFailure;

/// An attempt whose outcome is open. Dropped without a word, the client went away (or another attempt won).
pub struct AttemptRecord {
    target: u32,
    open: Option<Open>,
}

struct Open {
    snapshot: Arc<Snapshot>,
    observers: Option<(Observers, Arc<Chain>)>,
    in_flight: InFlight,
    outcome: Outcome,
    started: Instant,
    fate: Fate,
    /// The deployment's; free when the outcome is told.
    _slot: Option<Permit>,
}

/// What an attempt holds while it runs.
pub struct Held {
    /// Its place in the deployment's live numbers.
    pub in_flight: InFlight,
    /// Its place at a deployment that carries out only so many requests at once.
    pub slot: Option<Permit>,
}

/// Set when another attempt answered first.
#[derive(Clone, Default)]
pub struct Fate(Option<Arc<AtomicBool>>);

impl Fate {
    /// For an attempt that runs beside another.
    pub fn shared() -> Self {
        Self(Some(Arc::default()))
    }

    /// The other one answered first.
    pub fn lose(&self) {
        if let Some(lost) = &self.0 {
            lost.store(true, Relaxed);
        }
    }

    fn ending(&self) -> Ending {
        match &self.0 {
            Some(lost) if lost.load(Relaxed) => Ending::HedgeLost,
            Some(_) | None => Ending::Cancelled,
        }
    }
}

impl AttemptRecord {
    /// The attempt starts now.
    pub fn begin(context: &Context, target: u32, tag: u32, number: usize, fate: Fate, held: Held) -> Self {
        let Held { in_flight, slot } = held;
        let snapshot = &context.snapshot;
        let route = context.route();
        let observers = route.observed.then(|| (context.gateway.observers.clone(), Arc::clone(&route.chain)));
        let outcome = Outcome {
            decision: context.decision,
            attempt: u32::try_from(number).unwrap_or(u32::MAX >> 1),
            target,
            tag,
            ending: Ending::Cancelled,
            failure: None,
            status: 0,
            retry_after: None,
            ttft: None,
            latency: Duration::ZERO,
            tokens_in: context.peek.prompt_tokens,
            tokens_out: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            reasoning_tokens: 0,
            usd: 0.0,
            asked: context.asked,
        };
        Self {
            target,
            open: Some(Open {
                in_flight,
                snapshot: Arc::clone(snapshot),
                observers,
                outcome,
                started: Instant::now(),
                fate,
                _slot: slot,
            }),
        }
    }

    /// The first token (or the whole answer) has come.
    pub fn first_token(&mut self, status: u16) {
        if let Some(open) = &mut self.open {
            open.outcome.ttft = Some(open.started.elapsed());
            open.outcome.status = status;
            let transition = open.in_flight.answered(clock::monotonic());
            changed(&open.snapshot, self.target, transition);
        }
    }

    /// Which of the provider's keys it uses.
    pub fn key(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.in_flight.key())
    }

    /// Tells it that another attempt answered first.
    pub fn fate(&self) -> Fate {
        self.open.as_ref().map(|open| open.fate.clone()).unwrap_or_default()
    }

    /// Where it goes.
    pub fn target(&self) -> u32 {
        self.target
    }

    /// What is known of the tokens so far; the last word counts.
    pub fn tokens(&mut self, usage: Usage) {
        let Some(open) = &mut self.open else { return };
        open.outcome.tokens_in = usage.prompt_tokens.unwrap_or(open.outcome.tokens_in);
        open.outcome.tokens_out = usage.completion_tokens.unwrap_or(open.outcome.tokens_out);
        open.outcome.cached_tokens = usage.cached_tokens.unwrap_or(open.outcome.cached_tokens);
        open.outcome.cache_write_tokens = usage.cache_write_tokens.unwrap_or(open.outcome.cache_write_tokens);
        open.outcome.reasoning_tokens = usage.reasoning_tokens.unwrap_or(open.outcome.reasoning_tokens);
    }

    /// What it has cost so far in USD; `None` when the price is not known.
    pub fn usd(&self) -> Option<f64> {
        let open = self.open.as_ref()?;
        usd(&open.snapshot, &open.outcome)
    }

    /// The client has, or is about to get, the whole answer.
    pub fn served(mut self) {
        self.close(Ending::Served, None);
    }

    /// It failed; gives how long it took.
    pub fn fail(mut self, failure: &AttemptFailure) -> Duration {
        self.close(Ending::Failed, Some(failure))
    }

    fn close(&mut self, ending: Ending, failure: Option<&AttemptFailure>) -> Duration {
        let Some(open) = self.open.take() else { return Duration::ZERO };
        let Open { snapshot, observers, in_flight, mut outcome, started, .. } = open;
        outcome.ending = ending;
        outcome.latency = started.elapsed();
        if let Some(failure) = failure {
            outcome.failure = Some(failure.kind);
            outcome.status = failure.status;
            outcome.retry_after = failure.retry_after;
        }
        if outcome.failure.is_none() {
            outcome.usd = usd(&snapshot, &outcome).unwrap_or(0.0);
        }
        let transition = in_flight.finish(&outcome, clock::monotonic());
        changed(&snapshot, outcome.target, transition);
        snapshot.deployment_metrics[outcome.target as usize].record(&outcome);
        if outcome.was_answered() {
            snapshot.routes[outcome.asked.route as usize].metrics.cost(outcome.usd);
        }
        if let Some((observers, chain)) = observers {
            observers.tell(chain, outcome.row());
        }
        outcome.latency
    }
}

impl Drop for AttemptRecord {
    fn drop(&mut self) {
        if let Some(ending) = self.open.as_ref().map(|open| open.fate.ending()) {
            self.close(ending, None);
        }
    }
}

fn usd(snapshot: &Snapshot, outcome: &Outcome) -> Option<f64> {
    let price = snapshot.fleet.deployments()[outcome.target as usize].spec.price?;
    Some(price.cost(Tokens {
        input: outcome.tokens_in,
        cached: outcome.cached_tokens,
        cache_write: outcome.cache_write_tokens,
        output: outcome.tokens_out,
        reasoning: outcome.reasoning_tokens,
    }))
}

/// A breaker that opens or closes is told to the operator.
fn changed(snapshot: &Snapshot, target: u32, transition: Option<Transition>) {
    if let Some(transition) = transition {
        snapshot.breaker_changed(target as usize, transition);
    }
}

/// Where outcomes go for policies that learn: one queue and one task for the gateway, off the request path.
#[derive(Clone)]
pub struct Observers {
    queue: mpsc::Sender<Told>,
    stop: CancellationToken,
    task: Arc<parking_lot::Mutex<Option<JoinHandle<()>>>>,
    dropped: prometheus::IntCounter,
}

type Told = (Arc<Chain>, OutcomeRow);

impl Observers {
    /// Starts the task. When the queue is full, outcomes are dropped and counted: a slow observer must not hold
    /// requests up.
    pub fn start(dropped: prometheus::IntCounter) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let task = tokio::spawn(observe(inbox, stop.clone()));
        Self { queue, stop, task: Arc::new(parking_lot::Mutex::new(Some(task))), dropped }
    }

    fn tell(&self, chain: Arc<Chain>, row: OutcomeRow) {
        if self.queue.try_send((chain, row)).is_err() {
            self.dropped.inc();
        }
    }

    /// Ends the task after what is queued has been told.
    pub async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the observers' task panicked");
        }
    }
}

async fn observe(mut inbox: mpsc::Receiver<Told>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            received = inbox.recv_many(&mut batch, BATCH) => {
                if received == 0 {
                    return;
                }
            }
            // What is queued is still told; then `recv_many` gives 0.
            () = stop.cancelled(), if !inbox.is_closed() => {
                inbox.close();
                continue;
            }
        }
        let told = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
        if let Err(error) = tokio::task::spawn_blocking(move || tell_all(told)).await {
            tracing::error!(%error, "an observer panicked");
        }
    }
}

fn tell_all(mut told: Vec<Told>) {
    while let Some((chain, _)) = told.first() {
        let chain = Arc::clone(chain);
        let (rows, others): (Vec<Told>, Vec<Told>) =
            told.into_iter().partition(|(other, _)| Arc::ptr_eq(other, &chain));
        let rows: Vec<OutcomeRow> = rows.into_iter().map(|(_, row)| row).collect();
        chain.observe(&rows);
        told = others;
    }
}

const QUEUE: usize = 8192;
const BATCH: usize = 64;
