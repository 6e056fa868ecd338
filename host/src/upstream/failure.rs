//! Why an attempt gave no answer, or only part of one.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use witgate_core::vocabulary::FailureKind;

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
    /// The upstream's error body, for relaying it as it is; `None` where it would mislead (an error inside a 200) or
    /// is too large.
    pub body: Option<UpstreamBody>,
}

/// An upstream's error as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamBody {
    /// As the upstream said.
    pub content_type: Option<HeaderValue>,
    /// The whole body.
    pub bytes: Bytes,
}

impl AttemptFailure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, status: 0, retry_after: None, message: message.into(), body: None }
    }

    /// The upstream reported the failure itself, in a stream that had begun.
    pub(crate) fn in_stream() -> Self {
        Self::new(FailureKind::ErrorInStream, "the upstream reported an error in the stream").with_status(200)
    }

    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}
