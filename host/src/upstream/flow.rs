//! The bytes of an answer as they come, with an end to waiting for them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::Sleep;
use witgate_core::failure::Diagnosis;
use witgate_core::vocabulary::FailureKind;

use super::connect::chain;
use super::connection::Body;
use super::demo::Script;
use super::failure::AttemptFailure;

/// Where an answer's bytes come from.
pub(super) enum Source {
    /// A provider.
    Http(Body),
    /// The built-in one.
    Demo(Script),
}

/// An answer's bytes, one chunk after the other. After an error or the end nothing more comes.
pub(super) struct Flow {
    source: Source,
    idle: Duration,
    deadline: Instant,
    last: Instant,
    status: u16,
    /// Made when a chunk has to be waited for, and then kept: it goes off when it must, and is set anew only then.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Flow {
    /// The head of the answer has just come.
    pub(super) fn new(source: Source, status: u16, idle: Duration, deadline: Instant) -> Self {
        Self { source, idle, deadline, last: Instant::now(), status, timer: None }
    }

    /// The next chunk, never empty.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, AttemptFailure>>> {
        loop {
            let polled = match &mut self.source {
                Source::Http(body) => body.poll_data(cx).map_err(|error| self.cut(&chain(&error))),
                Source::Demo(script) => script.poll_next(cx).map(|chunk| chunk.map(Ok)),
            };
            match polled {
                Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                Poll::Ready(chunk) => {
                    self.last = Instant::now();
                    // A client that takes its time finds a chunk whenever it comes, and would never wait.
                    if self.last >= self.deadline && matches!(chunk, Some(Ok(_))) {
                        return Poll::Ready(Some(Err(self.failure(FailureKind::Deadline, DEADLINE.to_owned()))));
                    }
                    return Poll::Ready(chunk);
                }
                Poll::Pending => return self.poll_timer(cx).map(|failure| Some(Err(failure))),
            }
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Bytes, AttemptFailure>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The answer is complete: what still comes is waited for only so that the connection can be used again.
    pub(super) fn expect_end(&mut self) {
        self.wait_at_most(END_OF_BODY);
    }

    /// From now on, this long for the next bytes.
    pub(super) fn wait_at_most(&mut self, idle: Duration) {
        self.idle = idle;
        self.timer = None;
    }

    /// When the last bytes came.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// Nothing came that was waited for.
    pub(super) fn stalled(&self, what: &str, time: Duration) -> AttemptFailure {
        self.failure(FailureKind::Stalled, format!("the answer stalled: {what} came for {time:?}"))
    }

    /// The answer ended where it must not.
    pub(super) fn cut(&self, why: &str) -> AttemptFailure {
        self.failure(FailureKind::Cut, format!("the answer broke off: {why}"))
    }

    pub(super) fn failure(&self, kind: FailureKind, message: String) -> AttemptFailure {
        AttemptFailure::new(kind, message).with_status(self.status)
    }

    /// The upstream itself says that it failed, inside a success.
    pub(super) fn diagnosed(&self, diagnosis: Diagnosis) -> AttemptFailure {
        let Diagnosis { kind, retry_after, error } = diagnosis;
        AttemptFailure { retry_after, ..self.failure(kind, error.message) }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<AttemptFailure> {
        loop {
            let due = (self.last + self.idle).min(self.deadline);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = tokio::time::Instant::now().into_std();
            if now >= self.deadline {
                return Poll::Ready(self.failure(FailureKind::Deadline, DEADLINE.to_owned()));
            }
            if now >= due {
                return Poll::Ready(self.stalled("nothing", self.idle));
            }
            // Chunks have come since it was set.
            timer.as_mut().reset(due.into());
        }
    }
}

/// What a client is told when the request's time is over.
pub(super) const DEADLINE: &str = "the time for this request is over";

/// After `[DONE]`, the end of the body is one packet away at most.
const END_OF_BODY: Duration = Duration::from_millis(100);
