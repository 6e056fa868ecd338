//! Goes on with a stream that broke after the client had begun to read it, where the route wants that.
//!
//! The policies' `fallback` hook is asked as after any other failure, with the tokens that the client has; on offer is
//! who can go on with an answer that another one began. Budget, attempts, breakers, slots and deadline hold as before the
//! first byte. The client reads one stream. If nobody goes on, it is told of the failure as it would have been.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use witgate_core::openai::Usage;
use witgate_core::resume::{Obstacle, SoFar, Thread, joins, obstacle};

use super::context::Context;
use super::execute::{self, Answered, Past, Unresumed};
use crate::upstream::AttemptFailure;

/// What it takes to go on with a stream.
pub struct Resume {
    context: Box<Context>,
    thread: Thread,
    demand: Option<Obstacle>,
    past: Past,
}

/// Somebody is asked to go on.
pub type Resuming = Pin<Box<dyn Future<Output = Resumed> + Send>>;

/// What came of that.
pub struct Resumed {
    /// For the next time.
    pub resume: Box<Resume>,
    /// The stream that goes on, or why there is none.
    pub result: Result<Box<Answered>, NotResumed>,
}

/// Why a stream that broke ends with that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotResumed {
    /// It cannot be gone on with.
    Obstacle(Obstacle),
    /// Nobody does; with the attempts made.
    Nobody(Unresumed, usize),
}

impl NotResumed {
    /// In the stream, the log and the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Obstacle(obstacle) => obstacle.label(),
            Self::Nobody(Unresumed::NoDeployment, _) => "no-deployment",
            Self::Nobody(Unresumed::Declined, _) => "declined",
            Self::Nobody(Unresumed::Bounded, _) => "bounded",
            Self::Nobody(Unresumed::Failed, _) => "failed",
        }
    }
}

impl Resume {
    /// For the stream that answers this request; `None` where the route does not want it, or it is no stream.
    pub fn prepare(mut context: Context, past: &mut Past) -> Option<Box<Self>> {
        if !context.route().resume || !context.peek.stream || !joins(context.peek.endpoint) {
            return None;
        }
        // The answer has begun; from now on the whole request's deadline counts.
        context.begin_by = context.deadline;
        let demand = obstacle(&context.body, &context.peek);
        let thread = Thread::new(context.peek.endpoint, demand);
        let past = std::mem::take(past);
        Some(Box::new(Self { context: Box::new(context), thread, demand, past }))
    }

    /// Tells the client beforehand.
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        let value = match self.demand {
            None => HeaderValue::from_static("yes"),
            Some(demand) => {
                HeaderValue::try_from(format!("no; {}", demand.label())).unwrap_or(HeaderValue::from_static("no"))
            }
        };
        (RESUME, value)
    }

    /// What the client is to get of these events.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        self.thread.pass(piece)
    }

    /// The error that the stream ends with, if it ends now.
    pub fn last_word(&self, told: Bytes) -> Bytes {
        self.thread.last_word(told)
    }

    /// What the attempts that broke have used.
    pub fn earlier(&self) -> Usage {
        self.thread.earlier()
    }

    /// Attempts made, the one that runs included.
    pub fn attempts(&self) -> usize {
        self.past.attempts() + 1
    }

    /// The stream that `target` sent broke.
    ///
    /// # Errors
    /// When it cannot be gone on with.
    pub fn go_on(
        mut self: Box<Self>,
        target: u32,
        failure: &AttemptFailure,
        elapsed: Duration,
        used: Usage,
    ) -> Result<Resuming, NotResumed> {
        let obstacle = self.thread.obstacle();
        if obstacle.is_some() || !self.thread.text().is_empty() {
            let prompt = used.prompt_tokens.or(Some(self.context.peek.prompt_tokens));
            self.thread.breaks(Usage { prompt_tokens: prompt, ..used });
        } else {
            // As if it had failed before its first event: the client has nothing of it.
            self.thread.breaks(Usage::default());
        }
        let tokens_sent = self.thread.earlier().completion_tokens.unwrap_or(0);
        tracing::warn!(
            request_id = self.context.id.as_str(),
            deployment = &*self.context.deployment_id(target),
            attempt = self.attempts(),
            failure = failure.kind.name(),
            status = failure.status,
            elapsed_ms = elapsed.as_secs_f64() * 1000.0,
            tokens_sent,
            reason = failure.message,
            "stream broke"
        );
        if let Some(obstacle) = obstacle {
            return Err(NotResumed::Obstacle(obstacle));
        }
        self.past.failures.push(failure.told(target, elapsed, tokens_sent));
        Ok(Box::pin(self.ask(tokens_sent)))
    }

    async fn ask(mut self: Box<Self>, tokens: u32) -> Resumed {
        let past = std::mem::take(&mut self.past);
        let text = self.thread.text();
        let so_far = (!text.is_empty()).then_some(SoFar { text, tokens });
        let result = match execute::resume(&self.context, past, so_far).await {
            Ok(mut answered) => {
                self.past = std::mem::take(&mut answered.past);
                let target = answered.record.target();
                self.thread.resumes(self.context.snapshot.upstreams.trims(target, self.context.peek.endpoint));
                Ok(Box::new(answered))
            }
            Err((why, attempts)) => Err(NotResumed::Nobody(why, attempts)),
        };
        Resumed { resume: self, result }
    }
}

const RESUME: HeaderName = HeaderName::from_static("x-witgate-resume");
