//! Carries a plan out: attempt after attempt, within the request's deadline and attempt limit, until one answers.
//!
//! Until an attempt has given its first event (or its whole answer) nothing has gone to the client, so it may be
//! replaced by the next. What comes after the plan is up to the policies' `fallback` hook; the host only keeps to
//! the bounds: deadline, attempts, retry budget, the trials of a half-open breaker, and nothing twice that may have
//! been carried out where the route does not want that. The same bounds hold for going on with a stream that broke, for
//! which the attempts so far count too.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use witgate_core::breaker::BreakerState;
use witgate_core::decision::{FailedAttempt, StartRule};
use witgate_core::live::InFlight;
use witgate_core::plan::{Attempt, Plan};
use witgate_core::resume::SoFar;
use witgate_core::vocabulary::FailureKind;
use witgate_wasm::{Choice, Chosen, Failure, FailureCause};

use super::bounds::{self, Bound};
use super::context::Context;
use super::decide;
use super::record::{AttemptRecord, Fate, Held};
use super::slot;
use crate::api::error::ApiError;
use crate::clock;
use crate::telemetry::metrics::Repetition;
use crate::upload::Upload;
use crate::upstream::{AttemptFailure, Call, Reply, Times};

/// An attempt that answered.
pub struct Answered {
    /// The answer; of a stream, the first event has come.
    pub reply: Reply,
    /// Its outcome is still open.
    pub record: AttemptRecord,
    /// Id of the deployment.
    pub deployment: Arc<str>,
    /// Which policy chose it, and why.
    pub by: By,
    /// What was tried before.
    pub past: Past,
}

impl Answered {
    /// Attempts made, this one included.
    pub fn attempts(&self) -> usize {
        self.past.attempts() + 1
    }
}

/// What has been tried for a request and is over.
#[derive(Debug, Default)]
pub struct Past {
    /// Oldest first.
    pub failures: Vec<FailedAttempt>,
    /// Attempts that still ran when another answered.
    pub(super) beaten: usize,
}

impl Past {
    /// Attempts made.
    pub fn attempts(&self) -> usize {
        self.failures.len() + self.beaten
    }
}

/// Which policy made a decision.
#[derive(Clone, Debug)]
pub struct By {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Its revision; empty for configured order.
    pub revision: Arc<str>,
    /// In the policy's words.
    pub reason: Option<Arc<str>>,
}

/// Why there is no answer.
pub struct Unanswered {
    /// For the client.
    pub error: ApiError,
    /// Who decided last.
    pub by: By,
    /// Attempts made.
    pub attempts: usize,
    /// The deployment that was tried last.
    pub deployment: Option<u32>,
}

/// Decides, and carries out what was decided.
pub async fn run(context: &Context) -> Result<Answered, Unanswered> {
    context.route().budgets.came(context.estimated_tokens(), clock::monotonic());
    let chosen = decide::first(context).await;
    Execution::new(context, Past::default(), None).until_answered(chosen).await
}

/// Why nobody goes on with a stream that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresumed {
    /// No deployment of the route can.
    NoDeployment,
    /// The policies named none.
    Declined,
    /// The deadline, the limit of attempts, or the retry budget.
    Bounded,
    /// Those that were asked to failed.
    Failed,
}

/// Goes on with a stream that broke: decides who, and waits for the first event. The last one of `past` is its failure.
/// What the client has of the answer is `so_far`; without it, the request is asked again.
///
/// # Errors
/// Why nobody goes on, and the attempts made.
pub async fn resume(context: &Context, past: Past, so_far: Option<SoFar<'_>>) -> Result<Answered, (Unresumed, usize)> {
    let before = past.failures.len();
    let mut execution = Execution::new(context, past, so_far);
    if let Some(chosen) = execution.next_decision().await
        && let Ok(answered) = execution.until_answered(chosen).await
    {
        return Ok(answered);
    }
    let why = if execution.past.failures.len() > before {
        Unresumed::Failed
    } else if !execution.may_go_on() {
        Unresumed::Bounded
    } else if execution.candidates_after().is_empty() {
        Unresumed::NoDeployment
    } else {
        Unresumed::Declined
    };
    Err((why, execution.past.attempts()))
}

/// A request on its way from attempt to attempt.
pub(super) struct Execution<'a> {
    pub(super) context: &'a Context,
    pub(super) past: Past,
    last: Option<AttemptFailure>,
    /// Why nothing more is sent, if that is the host's doing.
    bound: Option<Bound>,
    /// The policies have been told once that a trial is taken; what they choose again, they get.
    insisting: bool,
    /// What the client has of the answer, where a stream is gone on with.
    so_far: Option<SoFar<'a>>,
}

/// What became of a plan.
enum Carried {
    Answered(Box<(Reply, AttemptRecord)>),
    Failed,
    /// Nothing was sent: other requests were trying all that it names.
    NotAdmitted,
}

impl<'a> Execution<'a> {
    fn new(context: &'a Context, past: Past, so_far: Option<SoFar<'a>>) -> Self {
        Self { context, past, last: None, bound: None, insisting: false, so_far }
    }

    /// Decision after decision, until an attempt has answered or nobody wants another one.
    async fn until_answered(&mut self, mut chosen: Chosen) -> Result<Answered, Unanswered> {
        loop {
            let (plan, by) = self.plan_of(chosen).map_err(|unanswered| *unanswered)?;
            let next = match self.carry_out(&plan).await {
                Carried::Answered(answered) => {
                    let (reply, record) = *answered;
                    let past = std::mem::take(&mut self.past);
                    let deployment = self.context.deployment_id(record.target());
                    return Ok(Answered { reply, record, deployment, by, past });
                }
                Carried::Failed => self.next_decision().await,
                Carried::NotAdmitted if self.past.failures.is_empty() => Some(decide::first(self.context).await),
                Carried::NotAdmitted => self.next_decision().await,
            };
            chosen = match next {
                Some(chosen) => chosen,
                None => return Err(self.give_up(by)),
            };
        }
    }

    fn plan_of(&mut self, chosen: Chosen) -> Result<(Plan, By), Box<Unanswered>> {
        let Chosen { choice, policy, revision, failures, .. } = chosen;
        // That a policy is suspended was told when it began; every request of that time would say it again.
        let is_news = |failure: &&Failure| !matches!(failure.cause, FailureCause::Suspended { .. });
        for failure in failures.iter().filter(is_news) {
            tracing::warn!(
                request_id = self.context.id.as_str(),
                route = &*self.context.route().name,
                policy = &*failure.policy,
                revision = &*failure.revision,
                hook = failure.hook.name(),
                kind = failure.cause.label(),
                reason = %failure.cause,
                "policy failed"
            );
        }
        let by = |reason| By { policy, revision, reason };
        let (error, by) = match choice {
            Choice::Run(plan) => {
                let by = by(plan.reason.clone());
                return Ok((plan, by));
            }
            Choice::Reject(rejection) => {
                let by = by(rejection.reason.clone());
                (ApiError::Rejected(rejection), by)
            }
            Choice::GiveUp => return Err(Box::new(self.give_up(by(None)))),
            Choice::Refused(failure) => (ApiError::PolicyFailed { message: failure.to_string() }, by(None)),
        };
        Err(Box::new(Unanswered { error, by, attempts: self.past.failures.len(), deployment: self.last_target() }))
    }

    /// The answer of the first attempt that gives one.
    async fn carry_out(&mut self, plan: &Plan) -> Carried {
        let mut rest = &plan.attempts[..];
        let mut passed_over = false;
        let mut tried = false;
        while let Some((attempt, after)) = rest.split_first() {
            // A hedge starts by its own clock, so its delay is not waited for here.
            if attempt.start != StartRule::Hedge {
                self.wait(attempt.delay).await;
            }
            if !self.may_go_on() {
                return Carried::Failed;
            }
            let slot = match slot::take(self.context, attempt).await {
                Ok(slot) => slot,
                Err((failure, elapsed)) => {
                    self.note(Failed::new(attempt.target, failure, elapsed));
                    rest = after;
                    continue;
                }
            };
            let Some(in_flight) = self.admit(attempt.target) else {
                passed_over = true;
                rest = after;
                continue;
            };
            if !self.may_send(attempt.target) {
                return Carried::Failed;
            }
            let hedge = after.first().filter(|next| next.start == StartRule::Hedge && self.attempts_left() > 1);
            let fate = if hedge.is_some() { Fate::shared() } else { Fate::default() };
            let number = self.past.failures.len();
            let record =
                AttemptRecord::begin(self.context, attempt.target, plan.tag, number, fate, Held { in_flight, slot });
            tried = true;
            let (result, used) = match hedge {
                // In a box: it is two attempts long, and every request would carry its room around.
                Some(hedge) => Box::pin(self.race(plan, (attempt, record), hedge)).await,
                None => {
                    let result = self.attempt(attempt, record).await;
                    (result.map_err(|failed| self.note(*failed)), 1)
                }
            };
            match result {
                Ok(answered) => return Carried::Answered(Box::new(answered)),
                Err(kind) if ends_plan(kind) => return Carried::Failed,
                Err(_) => rest = &rest[used..],
            }
        }
        if passed_over && !tried {
            self.insisting = true;
            return Carried::NotAdmitted;
        }
        Carried::Failed
    }

    /// Whether the host's bounds allow one more attempt.
    fn may_send(&mut self, target: u32) -> bool {
        let route = self.context.route();
        let (fleet, now) = (&self.context.snapshot.fleet, clock::monotonic());
        let may_repeat = match self.context.is_spent() {
            true => Err(Bound::Spent),
            false => bounds::may_repeat(&self.past.failures, target, route.idempotent, fleet, &route.budgets, now),
        };
        match may_repeat {
            Ok(()) => {
                if !self.past.failures.is_empty() {
                    route.metrics.repeated(self.repetition(target));
                }
                true
            }
            Err(bound) => {
                route.metrics.bounded(bound);
                self.bound = Some(bound);
                false
            }
        }
    }

    fn repetition(&self, target: u32) -> Repetition {
        let again = self.past.failures.iter().any(|failed| failed.target == target);
        if again { Repetition::Retry } else { Repetition::Failover }
    }

    /// Starts counting an attempt. `None`: the deployment is half-open, others are trying it, and some other candidate
    /// is well.
    pub(super) fn admit(&self, target: u32) -> Option<InFlight> {
        let (context, now) = (self.context, clock::monotonic());
        let deployments = context.snapshot.fleet.deployments();
        let live = &deployments[target as usize].live;
        let tokens = context.estimated_tokens();
        live.begin_if_admitted(tokens, now).or_else(|| {
            let is_well = |number: &u32| deployments[*number as usize].live.breaker_state(now) == BreakerState::Closed;
            let elsewhere = context.candidates.iter().any(|number| *number != target && is_well(number));
            (self.insisting || !elsewhere).then(|| live.begin(tokens, now))
        })
    }

    pub(super) async fn attempt(
        &self,
        attempt: &Attempt,
        record: AttemptRecord,
    ) -> Result<(Reply, AttemptRecord), Box<Failed>> {
        let context = self.context;
        let route = context.route();
        let call = Call {
            deployment: attempt.target as usize,
            key: record.key(),
            body: &context.body,
            form: context.form.as_ref(),
            peek: &context.peek,
            requested_model: &context.requested_model,
            answer_model: route.rewrite_model.then_some(&*context.peek.model),
            again: !self.past.failures.is_empty(),
            overlay: attempt.overlay.as_deref(),
            so_far: self.so_far,
            hold_errors: route.resume,
            client_headers: &context.headers,
            instead: match attempt.timeout {
                Some(time) => Times { first_byte: Some(time), first_token: Some(time), idle: route.times.idle },
                None => route.times,
            },
            at_most: context.patience.times,
            twice: route.idempotent,
            begin_by: context.begin_by,
            deadline: context.deadline,
        };
        match context.snapshot.upstreams.call(call).await {
            Ok(reply) => Ok((reply, record)),
            Err(failure) => {
                let elapsed = record.fail(&failure);
                Err(Box::new(Failed::new(attempt.target, failure, elapsed)))
            }
        }
    }

    pub(super) fn note(&mut self, failed: Failed) -> FailureKind {
        let Failed { told, failure } = &failed;
        let kind = failure.kind;
        tracing::warn!(
            request_id = self.context.id.as_str(),
            deployment = &*self.context.deployment_id(told.target),
            attempt = self.past.failures.len() + 1,
            failure = kind.name(),
            status = failure.status,
            elapsed_ms = told.elapsed_ms,
            reason = failure.message,
            "attempt failed"
        );
        self.past.failures.push(failed.told);
        self.last = Some(failed.failure);
        kind
    }

    async fn next_decision(&self) -> Option<Chosen> {
        if !self.may_go_on() {
            return None;
        }
        let candidates = self.candidates_after();
        if candidates.is_empty() {
            return None;
        }
        decide::after(self.context, &self.past.failures, &candidates).await
    }

    /// Who may be chosen after a failure: everybody, or who can go on with what there is.
    fn candidates_after(&self) -> Cow<'_, [u32]> {
        let candidates = decide::candidates_after(self.context);
        if self.so_far.is_none() {
            return candidates;
        }
        let (upstreams, asked) = (&self.context.snapshot.upstreams, self.context.peek.endpoint);
        candidates.iter().copied().filter(|number| upstreams.goes_on(*number, asked)).collect()
    }

    fn give_up(&mut self, by: By) -> Unanswered {
        let attempts = self.past.failures.len();
        let deployment = self.last_target();
        let wrong_body = self.context.rest().and_then(Upload::fault);
        let error = match (self.last.take(), wrong_body) {
            // Whatever the upstream made of it, the client sent it so.
            (Some(_), Some(fault)) => ApiError::Upload(fault),
            (Some(mut failure), None) => {
                if matches!(failure.kind, FailureKind::RateLimited | FailureKind::Overloaded) {
                    failure.retry_after = self.come_back();
                }
                ApiError::Upstream {
                    attempts,
                    deployment: deployment.map_or_else(|| Arc::from(""), |target| self.context.deployment_id(target)),
                    failure: Box::new(failure),
                }
            }
            // Only an executor that made no attempt gets here: the deadline had passed before the first.
            (None, _) => ApiError::Deadline,
        };
        Unanswered { error, by, attempts, deployment }
    }

    /// When the first of the deployments that want to be left alone may be asked again: what they said, or how long
    /// the gateway itself leaves a rate-limited one alone.
    fn come_back(&self) -> Option<Duration> {
        let (deployments, now) = (self.context.snapshot.fleet.deployments(), clock::monotonic());
        let wait = |failed: &FailedAttempt| {
            let limited = failed.kind == FailureKind::RateLimited;
            let cooldown = if limited { deployments[failed.target as usize].live.cooldown_ms(now) } else { 0.0 };
            let millis = failed.retry_after_ms.max(cooldown);
            (millis > 0.0).then(|| Duration::from_secs_f64(millis / 1000.0))
        };
        self.past.failures.iter().filter_map(wait).min()
    }

    fn last_target(&self) -> Option<u32> {
        self.past.failures.last().map(|failed| failed.target)
    }

    fn may_go_on(&self) -> bool {
        self.bound.is_none() && self.attempts_left() > 0 && Instant::now() < self.context.begin_by
    }

    fn attempts_left(&self) -> usize {
        self.context.attempts_left(self.past.failures.len())
    }

    async fn wait(&self, delay: Duration) {
        if !delay.is_zero() {
            tokio::time::sleep(delay.min(self.context.remaining())).await;
        }
    }
}

pub(super) struct Failed {
    told: FailedAttempt,
    failure: AttemptFailure,
}

impl Failed {
    fn new(target: u32, failure: AttemptFailure, elapsed: Duration) -> Self {
        let told = failure.told(target, elapsed, 0);
        Self { told, failure }
    }
}

/// A request that is wrong in itself is wrong for the plan's next deployment too; whether it is worth another kind
/// of deployment, a policy says. What this deployment cannot do, the next one perhaps can.
fn ends_plan(kind: FailureKind) -> bool {
    match kind {
        FailureKind::BadRequest | FailureKind::ContextLength | FailureKind::ContentPolicy | FailureKind::Deadline => {
            true
        }
        FailureKind::Connect
        | FailureKind::ConnectTimeout
        | FailureKind::Reset
        | FailureKind::FirstByteTimeout
        | FailureKind::FirstTokenTimeout
        | FailureKind::Stalled
        | FailureKind::Cut
        | FailureKind::RateLimited
        | FailureKind::Overloaded
        | FailureKind::ServerError
        | FailureKind::Unauthorised
        | FailureKind::QuotaExhausted
        | FailureKind::ModelNotFound
        | FailureKind::Unsupported
        | FailureKind::QueueFull
        | FailureKind::Malformed
        | FailureKind::ErrorInStream => false,
    }
}
