//! The one table from what went wrong to what the client is told: status, OpenAI's error object, retry headers.
//!
//! OpenAI's SDKs retry 408, 409, 429 and 5xx by themselves unless `x-should-retry` says otherwise. The gateway has
//! used up its fallbacks when it answers with an error, so it says `false`, except where it names a time to come
//! back at and the SDKs would wait for it.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use witgate_core::dialect::Speech;
use witgate_core::dialect::anthropic::downstream;
use witgate_core::dialect::ollama::downstream as ollama;
use witgate_core::needs::Refusal;
use witgate_core::openai::{Endpoint, RequestError, UpstreamError};
use witgate_core::plan::Rejection;
use witgate_core::vocabulary::FailureKind;

use crate::admission::{Away, Turned};
use crate::api::auth::AuthError;
use crate::api::encoding;
use crate::upload::Fault;
use crate::upstream::AttemptFailure;

mod words;

/// Everything that a client can be told instead of an answer.
#[derive(Debug)]
pub enum ApiError {
    /// 401.
    Auth(AuthError),
    /// No such path.
    UnknownPath {
        /// As asked.
        method: Method,
        /// As asked.
        path: String,
    },
    /// The path exists, the method does not.
    WrongMethod {
        /// As asked.
        method: Method,
        /// As asked.
        path: String,
        /// What it takes: the value of `Allow`, the method for people first.
        allowed: &'static str,
    },
    /// The body is not announced as JSON.
    ContentType {
        /// As sent; `None` when nothing was.
        sent: Option<String>,
    },
    /// The body is not announced as a form.
    NotAForm {
        /// As sent; `None` when nothing was.
        sent: Option<String>,
    },
    /// The body is announced as packed in a way that is not read.
    ContentEncoding {
        /// As sent.
        sent: String,
    },
    /// The body is not packed as it is announced.
    NotEncodedSo {
        /// As announced.
        encoding: &'static str,
        /// In the words of the decoder.
        problem: String,
    },
    /// The body is above the limit.
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The body did not come within the read timeout.
    SlowBody,
    /// The connection broke while the body was read; nobody will see the answer.
    BrokenBody,
    /// The body is wrong.
    Request(RequestError),
    /// A body that is passed on as it comes is wrong, or does not come.
    Upload(Fault),
    /// No route takes this name.
    UnknownModel {
        /// As sent.
        model: String,
    },
    /// It is not known where this response lies.
    UnknownResponse {
        /// As asked for.
        id: Box<str>,
    },
    /// A response is to go on from one that lies at a provider that this model is not served by.
    KeptElsewhere {
        /// Of the one that it is to go on from.
        id: Box<str>,
    },
    /// None of the deployments that the name leads to can carry the request out.
    Unable(Box<Refusal>),
    /// The policy refused.
    Rejected(Rejection),
    /// The policy chain failed, and the route says to refuse then.
    PolicyFailed {
        /// What failed, with the policy's name.
        message: String,
    },
    /// Every attempt failed.
    Upstream {
        /// How often it was tried.
        attempts: usize,
        /// Where last.
        deployment: std::sync::Arc<str>,
        /// How the last one failed.
        failure: Box<AttemptFailure>,
    },
    /// A provider that a path is passed through to gave no answer.
    Passthrough {
        /// Which.
        provider: std::sync::Arc<str>,
        /// Why not.
        failure: Box<AttemptFailure>,
    },
    /// What the operator asked for cannot be done, or not by this caller.
    Admin {
        /// Why in short.
        status: StatusCode,
        /// Why in one word.
        code: &'static str,
        /// Why.
        message: String,
    },
    /// The request's time was over before anything could be tried.
    Deadline,
    /// As many requests run as may, and this one is too many.
    Busy(Busy),
    /// `x-witgate-priority` or a timeout's header says something that it cannot.
    Header {
        /// Its name.
        name: &'static str,
        /// As sent.
        sent: String,
        /// What it takes.
        takes: &'static str,
    },
    /// The gateway ends, and the time for requests in flight is over.
    ShuttingDown,
    /// Something that should not happen did; the log has the details.
    Internal,
}

/// Why the gateway itself takes no more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// `server.max_in_flight` is reached, and there was no place in the queue, or not in time.
    Queue(Turned),
    /// `server.body_memory` is used up.
    Memory,
}

impl ApiError {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Auth(_) => StatusCode::UNAUTHORIZED,
            Self::UnknownPath { .. } | Self::UnknownModel { .. } | Self::UnknownResponse { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType { .. } | Self::NotAForm { .. } | Self::ContentEncoding { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Upload(fault) => fault.status(),
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::NotEncodedSo { .. }
            | Self::BrokenBody
            | Self::Header { .. }
            | Self::Request(_)
            | Self::KeptElsewhere { .. } => StatusCode::BAD_REQUEST,
            Self::Unable(refusal) => StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Rejected(rejection) => StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::FORBIDDEN),
            Self::PolicyFailed { .. } | Self::ShuttingDown | Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream { failure, .. } | Self::Passthrough { failure, .. } => upstream_status(failure),
            Self::Admin { status, .. } => *status,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// For logs and metrics: a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Auth(_) => "auth",
            Self::UnknownPath { .. } => "unknown-path",
            Self::WrongMethod { .. } => "wrong-method",
            Self::ContentType { .. } | Self::NotAForm { .. } => "content-type",
            Self::Upload(fault) => fault.label(),
            Self::ContentEncoding { .. } | Self::NotEncodedSo { .. } => "content-encoding",
            Self::TooLarge { .. } => "too-large",
            Self::SlowBody => "slow-body",
            Self::BrokenBody => "broken-body",
            Self::Request(_) | Self::KeptElsewhere { .. } => "bad-request",
            Self::UnknownModel { .. } => "unknown-model",
            Self::UnknownResponse { .. } => "unknown-response",
            Self::Unable(refusal) => refusal.kind.name(),
            Self::Rejected(_) => "rejected",
            Self::PolicyFailed { .. } => "policy",
            Self::Upstream { failure, .. } | Self::Passthrough { failure, .. } => failure.kind.name(),
            Self::Admin { .. } => "admin",
            Self::Deadline => "deadline",
            Self::ShuttingDown => "shutting-down",
            Self::Busy(Busy::Memory) => "body-memory",
            Self::Busy(Busy::Queue(turned)) => match turned.away {
                Away::Full => "queue-full",
                Away::TimedOut => "queue-timeout",
                Away::Displaced => "displaced",
            },
            Self::Header { .. } => "bad-request",
            Self::Internal => "internal",
        }
    }

    /// The whole answer, in OpenAI's shape.
    pub fn into_response(self) -> Response<Body> {
        let body = self.relayed().unwrap_or_else(|| self.body().to_json());
        self.answer(self.status(), body)
    }

    /// The whole answer to a client that asked for `endpoint`, in the shape of its dialect.
    pub fn respond_to(self, endpoint: Endpoint) -> Response<Body> {
        match endpoint.speech() {
            Speech::OpenAi => self.into_response(),
            Speech::Anthropic => self.respond_to_anthropic(),
            Speech::Ollama => self.respond_to_ollama(),
        }
    }

    /// The whole answer, in Ollama's shape.
    pub fn respond_to_ollama(self) -> Response<Body> {
        let body = match self.relayed() {
            Some(bytes) if ollama::is_error(&bytes) => bytes,
            Some(bytes) => ollama::error(&UpstreamError::parse(&bytes)).into(),
            None => ollama::error(&self.body().into()).into(),
        };
        self.answer(self.status(), body)
    }

    fn respond_to_anthropic(self) -> Response<Body> {
        let status = match &self {
            // Anthropic's own number, which its clients know.
            Self::Upstream { failure, .. } if failure.kind == FailureKind::Overloaded => {
                StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => self.status(),
        };
        let body = match self.relayed() {
            Some(bytes) if downstream::is_error(&bytes) => bytes,
            Some(bytes) => downstream::error(&UpstreamError::parse(&bytes), Some(status.as_u16())).into(),
            None => downstream::error(&self.body().into(), Some(status.as_u16())).into(),
        };
        self.answer(status, body)
    }

    fn answer(&self, status: StatusCode, body: Bytes) -> Response<Body> {
        let retry_after = self.retry_after();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.extensions_mut().insert(Label(self.label()));
        let headers = response.headers_mut();
        self.write_headers(headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = retry_after {
            // Whole seconds, rounded up: never an invitation that is too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000) as u64));
            headers.insert("retry-after-ms", HeaderValue::from(wait.as_millis() as u64));
        }
        if sdk_would_retry(status) {
            let waits = retry_after.is_some_and(|wait| wait <= LONGEST_OBEYED);
            headers.insert(SHOULD_RETRY, HeaderValue::from_static(if waits { "true" } else { "false" }));
        }
        response
    }

    /// Headers that only some errors have.
    fn write_headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::Auth(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::WrongMethod { allowed, .. } => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::ContentEncoding { .. } => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding::TAKEN));
            }
            // Its rate limits, its times.
            Self::Upstream { failure, .. } => headers.extend(failure.headers.as_deref().cloned().unwrap_or_default()),
            Self::UnknownPath { .. }
            | Self::ContentType { .. }
            | Self::NotAForm { .. }
            | Self::Upload(_)
            | Self::Passthrough { .. }
            | Self::NotEncodedSo { .. }
            | Self::TooLarge { .. }
            | Self::SlowBody
            | Self::BrokenBody
            | Self::Request(_)
            | Self::UnknownModel { .. }
            | Self::KeptElsewhere { .. }
            | Self::UnknownResponse { .. }
            | Self::Unable(_)
            | Self::Rejected(_)
            | Self::PolicyFailed { .. }
            | Self::Admin { .. }
            | Self::Deadline
            | Self::Busy(_)
            | Self::Header { .. }
            | Self::ShuttingDown
            | Self::Internal => {}
        }
    }

    /// Whether it is only that all bodies together take too much memory.
    pub fn is_for_want_of_memory(&self) -> bool {
        matches!(self, Self::Busy(Busy::Memory) | Self::Upload(Fault::NoMemory))
    }

    /// A client error is the upstream's to explain: its own words, byte for byte.
    fn relayed(&self) -> Option<Bytes> {
        let (Self::Upstream { failure, .. } | Self::Passthrough { failure, .. }) = self else { return None };
        failure.body.clone()
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejection) => rejection.retry_after,
            Self::Upstream { failure, .. } => failure.retry_after,
            Self::ShuttingDown => Some(ANOTHER_GATEWAY),
            Self::Busy(Busy::Queue(turned)) => Some(turned.retry_after),
            Self::Busy(Busy::Memory) | Self::Upload(Fault::NoMemory) => Some(NEXT_BODY),
            Self::Auth(_)
            | Self::UnknownPath { .. }
            | Self::WrongMethod { .. }
            | Self::ContentType { .. }
            | Self::NotAForm { .. }
            | Self::Upload(_)
            | Self::Passthrough { .. }
            | Self::ContentEncoding { .. }
            | Self::NotEncodedSo { .. }
            | Self::TooLarge { .. }
            | Self::SlowBody
            | Self::BrokenBody
            | Self::Header { .. }
            | Self::Request(_)
            | Self::UnknownModel { .. }
            | Self::KeptElsewhere { .. }
            | Self::UnknownResponse { .. }
            | Self::Unable(_)
            | Self::PolicyFailed { .. }
            | Self::Admin { .. }
            | Self::Deadline
            | Self::Internal => None,
        }
    }
}

/// Goes with the answer to an error, for whoever logs it: [`ApiError::label`].
#[derive(Clone, Copy, Debug)]
pub struct Label(pub &'static str);

fn upstream_status(failure: &AttemptFailure) -> StatusCode {
    match failure.kind {
        FailureKind::BadRequest
        | FailureKind::ContextLength
        | FailureKind::ContentPolicy
        | FailureKind::Unsupported => {
            // llama.cpp reports some client errors as 500.
            let status = StatusCode::from_u16(failure.status).ok().filter(StatusCode::is_client_error);
            status.unwrap_or(StatusCode::BAD_REQUEST)
        }
        FailureKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        FailureKind::Overloaded | FailureKind::QueueFull => StatusCode::SERVICE_UNAVAILABLE,
        FailureKind::ConnectTimeout
        | FailureKind::FirstByteTimeout
        | FailureKind::FirstTokenTimeout
        | FailureKind::Deadline
        | FailureKind::Stalled => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::Connect
        | FailureKind::Reset
        | FailureKind::Cut
        | FailureKind::ServerError
        // The provider refused *our* key, account or model: nothing that the client could mend.
        | FailureKind::Unauthorised
        | FailureKind::QuotaExhausted
        | FailureKind::ModelNotFound
        | FailureKind::Malformed
        | FailureKind::ErrorInStream => StatusCode::BAD_GATEWAY,
    }
}

fn sdk_would_retry(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 409 | 429) || status.is_server_error()
}

/// SDKs pass over a longer wait and come back within seconds.
const LONGEST_OBEYED: Duration = Duration::from_secs(60);
/// Bodies are let go when their answers begin.
const NEXT_BODY: Duration = Duration::from_secs(1);
/// Whoever sends the request again meets another gateway, or this one started anew.
const ANOTHER_GATEWAY: Duration = Duration::from_secs(1);
const SHOULD_RETRY: &str = "x-should-retry";
