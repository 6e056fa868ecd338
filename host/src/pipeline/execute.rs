//! Carries a plan out: attempt after attempt, within the request's deadline and attempt limit, until one answers.
//!
//! Until an attempt has given its first event (or its whole answer) nothing has gone to the client, so it may be
//! replaced by the next. What comes after the plan is up to the policies' `fallback` hook; the host only keeps to
//! the bounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use witgate_core::decision::{FailedAttempt, StartRule};
use witgate_core::plan::{Attempt, Plan};
use witgate_core::vocabulary::FailureKind;
use witgate_wasm::{Choice, Chosen};

use super::context::Context;
use super::decide;
use super::record::{AttemptRecord, Fate};
use super::slot;
use crate::api::error::ApiError;
use crate::clock;
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
    /// Attempts made, this one included.
    pub attempts: usize,
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
    let mut execution = Execution { context, failures: Vec::new(), beaten: 0, last: None };
    let mut chosen = decide::first(context).await;
    loop {
        let (plan, by) = match execution.plan_of(chosen) {
            Ok(planned) => planned,
            Err(unanswered) => return Err(*unanswered),
        };
        if let Some((reply, record)) = execution.carry_out(&plan).await {
            let attempts = execution.failures.len() + execution.beaten + 1;
            let deployment = context.deployment_id(record.target());
            return Ok(Answered { reply, record, deployment, by, attempts });
        }
        chosen = match execution.next_decision().await {
            Some(chosen) => chosen,
            None => return Err(execution.give_up(by)),
        };
    }
}

struct Execution<'a> {
    context: &'a Context,
    failures: Vec<FailedAttempt>,
    /// Attempts that still ran when another answered.
    beaten: usize,
    last: Option<AttemptFailure>,
}

impl Execution<'_> {
    fn plan_of(&mut self, chosen: Chosen) -> Result<(Plan, By), Box<Unanswered>> {
        let Chosen { choice, policy, revision, failures, .. } = chosen;
        for failure in &failures {
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
        Err(Box::new(Unanswered { error, by, attempts: self.failures.len(), deployment: self.last_target() }))
    }

    /// The answer of the first attempt that gives one; `None` when the plan is used up.
    async fn carry_out(&mut self, plan: &Plan) -> Option<(Reply, AttemptRecord)> {
        let mut rest = &plan.attempts[..];
        while let Some((attempt, after)) = rest.split_first() {
            if !self.may_go_on() {
                return None;
            }
            let hedge = after.first().filter(|next| next.start == StartRule::Hedge);
            let (result, used) = match hedge {
                // A hedge starts by its own clock, so its delay is not waited for here.
                Some(hedge) if self.attempts_left() > 1 => self.race(plan, attempt, hedge).await,
                _ => (self.single(plan, attempt).await, 1),
            };
            match result {
                Ok(answered) => return Some(answered),
                Err(kind) if ends_plan(kind) => return None,
                Err(_) => rest = &rest[used..],
            }
        }
        None
    }

    async fn single(&mut self, plan: &Plan, attempt: &Attempt) -> Result<(Reply, AttemptRecord), FailureKind> {
        if attempt.start != StartRule::Hedge {
            self.wait(attempt.delay).await;
        }
        let number = self.failures.len();
        let result = self.attempt(plan, attempt, number, Fate::default()).await;
        result.map_err(|failed| self.note(*failed))
    }

    /// Two attempts, the second one starting when the first has been silent for the hedge's delay. Gives also how
    /// many attempts of the plan that used up.
    async fn race(
        &mut self,
        plan: &Plan,
        first: &Attempt,
        hedge: &Attempt,
    ) -> (Result<(Reply, AttemptRecord), FailureKind>, usize) {
        self.wait(first.delay).await;
        let number = self.failures.len();
        let (first_fate, hedge_fate) = (Fate::shared(), Fate::shared());
        let mut failed = Vec::with_capacity(2);
        let mut used = 1;
        let answered = {
            let mut leading = std::pin::pin!(self.attempt(plan, first, number, first_fate.clone()));
            let early = tokio::select! {
                result = &mut leading => Some(result),
                () = tokio::time::sleep(hedge.delay.min(self.context.remaining())) => None,
            };
            match early {
                Some(Ok(answered)) => Some(answered),
                Some(Err(failure)) => {
                    failed.push(failure);
                    None
                }
                None => {
                    used = 2;
                    let mut hedging = std::pin::pin!(self.attempt(plan, hedge, number + 1, hedge_fate.clone()));
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
            self.beaten += used - 1 - failed.len();
        }
        let mut kind = FailureKind::Connect;
        for failure in failed {
            kind = self.note(*failure);
        }
        (answered.ok_or(kind), used)
    }

    async fn attempt(
        &self,
        plan: &Plan,
        attempt: &Attempt,
        number: usize,
        fate: Fate,
    ) -> Result<(Reply, AttemptRecord), Box<Failed>> {
        let context = self.context;
        let slot = match slot::take(context, attempt).await {
            Ok(slot) => slot,
            Err((failure, elapsed)) => return Err(Box::new(Failed::new(attempt.target, failure, elapsed))),
        };
        let record = AttemptRecord::begin(context, attempt.target, number, plan.tag, fate, slot);
        let route = context.route();
        let call = Call {
            deployment: attempt.target as usize,
            body: &context.body,
            peek: &context.peek,
            requested_model: &context.requested_model,
            overlay: attempt.overlay.as_deref(),
            client_headers: &context.headers,
            instead: match attempt.timeout {
                Some(time) => Times { first_byte: Some(time), first_token: Some(time), idle: route.times.idle },
                None => route.times,
            },
            at_most: context.patience.times,
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

    fn note(&mut self, failed: Failed) -> FailureKind {
        let Failed { told, failure } = &failed;
        let kind = failure.kind;
        tracing::warn!(
            request_id = self.context.id.as_str(),
            deployment = &*self.context.deployment_id(told.target),
            attempt = self.failures.len() + 1,
            failure = kind.name(),
            status = failure.status,
            elapsed_ms = told.elapsed_ms,
            reason = failure.message,
            "attempt failed"
        );
        self.failures.push(failed.told);
        self.last = Some(failed.failure);
        kind
    }

    async fn next_decision(&self) -> Option<Chosen> {
        if !self.may_go_on() {
            return None;
        }
        decide::after(self.context, &self.failures).await
    }

    fn give_up(&mut self, by: By) -> Unanswered {
        let attempts = self.failures.len();
        let deployment = self.last_target();
        let error = match self.last.take() {
            Some(mut failure) => {
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
            None => ApiError::Deadline,
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
        self.failures.iter().filter_map(wait).min()
    }

    fn last_target(&self) -> Option<u32> {
        self.failures.last().map(|failed| failed.target)
    }

    fn may_go_on(&self) -> bool {
        self.attempts_left() > 0 && Instant::now() < self.context.begin_by
    }

    fn attempts_left(&self) -> usize {
        let most = self.context.snapshot.config.server.max_attempts.get() as usize;
        most.saturating_sub(self.failures.len())
    }

    async fn wait(&self, delay: Duration) {
        if !delay.is_zero() {
            tokio::time::sleep(delay.min(self.context.remaining())).await;
        }
    }
}

struct Failed {
    told: FailedAttempt,
    failure: AttemptFailure,
}

impl Failed {
    fn new(target: u32, failure: AttemptFailure, elapsed: Duration) -> Self {
        let told = FailedAttempt {
            target,
            kind: failure.kind,
            status: failure.status,
            retry_after_ms: failure.retry_after.map_or(0.0, |wait| wait.as_secs_f64() * 1000.0),
            elapsed_ms: elapsed.as_secs_f64() * 1000.0,
            tokens_sent: 0,
        };
        Self { told, failure }
    }
}

/// A request that is wrong in itself is wrong for the plan's next deployment too; whether it is worth another kind
/// of deployment, a policy says.
fn ends_plan(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::BadRequest | FailureKind::ContextLength | FailureKind::Deadline)
}
