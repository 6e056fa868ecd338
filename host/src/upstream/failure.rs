//! Why an attempt gave no answer, or only part of one.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use witgate_core::decision::FailedAttempt;
use witgate_core::vocabulary::FailureKind;

use crate::upload::Fault;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AttemptFailure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// HTTP status of the upstream, 0 when there was none.
    pub status: u16,
    /// How long the upstream wants to be left alone.
    pub retry_after: Option<Duration>,
    /// For people: in the upstream's words where it said something.
    pub message: String,
    /// What the client is to be told where the request itself is wrong: the upstream's own bytes if they are an error
    /// in OpenAI's shape, else such an error in the upstream's words.
    pub body: Option<Bytes>,
    /// The upstream's headers that the client may see: its rate limits, for example.
    pub headers: Option<Box<HeaderMap>>,
}

impl AttemptFailure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, status: 0, retry_after: None, message: message.into(), body: None, headers: None }
    }

    /// The upstream reported the failure itself, in a stream that had begun.
    pub(crate) fn in_stream() -> Self {
        Self::new(FailureKind::ErrorInStream, "the upstream reported an error in the stream").with_status(200)
    }

    /// What policies are told of it.
    pub(crate) fn told(&self, target: u32, elapsed: Duration, tokens_sent: u32) -> FailedAttempt {
        FailedAttempt {
            target,
            kind: self.kind,
            status: self.status,
            retry_after_ms: self.retry_after.map_or(0.0, |wait| wait.as_secs_f64() * 1000.0),
            elapsed_ms: elapsed.as_secs_f64() * 1000.0,
            tokens_sent,
        }
    }

    /// The deployment carries out as many requests as it may.
    pub(crate) fn queue_full(retry_after: Duration, message: String) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(FailureKind::QueueFull, message) }
    }

    /// What the client sends is wrong, or does not come.
    pub(super) fn of_upload(fault: &Fault) -> Self {
        let failure = Self::new(FailureKind::BadRequest, fault.to_string()).with_status(fault.status().as_u16());
        Self { body: Some(fault.body().to_json()), ..failure }
    }

    /// Not a failure of the attempt, but the end of an answer that cannot be told in-band.
    pub(crate) fn shutting_down() -> Self {
        Self::new(FailureKind::Cut, "the gateway is shutting down").with_status(200)
    }

    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}
