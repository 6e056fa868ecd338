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
use witgate_core::openai::{Endpoint, ErrorBody, RequestError, UpstreamError};
use witgate_core::plan::Rejection;
use witgate_core::vocabulary::FailureKind;

use crate::admission::{Away, Turned};
use crate::api::auth::AuthError;
use crate::api::encoding;
use crate::upload::Fault;
use crate::upstream::AttemptFailure;

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

    /// The error object.
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::Auth(AuthError::Missing) => ErrorBody::invalid(
                "You didn't provide an API key. Send it in the header `Authorization: Bearer YOUR_KEY`.",
            ),
            Self::Auth(AuthError::Wrong) => {
                ErrorBody::invalid("Incorrect API key provided.").with_code("invalid_api_key")
            }
            Self::UnknownPath { method, path } => ErrorBody::invalid(format!(
                "Unknown path: {method} {path}. This gateway serves /v1/chat/completions, /v1/completions, \
                 /v1/embeddings, /v1/responses, /v1/rerank, /v1/moderations, /v1/images/*, /v1/audio/*, \
                 /v1/messages, /v1/messages/count_tokens and /v1/models; others only where `passthrough` names a \
                 provider."
            ))
            .with_code("unknown_url"),
            Self::WrongMethod { method, path, allowed } => {
                let first = allowed.split(',').next().unwrap_or_default();
                ErrorBody::invalid(format!("{method} is not allowed on {path}; use {first}."))
                    .with_code("method_not_supported")
            }
            Self::ContentType { sent: Some(sent) } => ErrorBody::invalid(format!(
                "Unsupported content type: '{sent}'. Send the header `Content-Type: application/json`."
            ))
            .with_code("unsupported_content_type"),
            Self::ContentType { sent: None } => {
                ErrorBody::invalid("No content type. Send the header `Content-Type: application/json`.")
                    .with_code("unsupported_content_type")
            }
            Self::NotAForm { sent } => {
                let wrong = match sent {
                    Some(sent) => format!("Unsupported content type: '{sent}'."),
                    None => "No content type.".to_owned(),
                };
                ErrorBody::invalid(format!("{wrong} Send a form, with `Content-Type: multipart/form-data`."))
                    .with_code("unsupported_content_type")
            }
            Self::Upload(fault) => fault.body(),
            Self::ContentEncoding { sent } => ErrorBody::invalid(format!(
                "Unsupported content encoding: '{sent}'. Send the body as it is, or packed in one of these ways: {}.",
                encoding::TAKEN
            ))
            .with_code("unsupported_content_encoding"),
            Self::NotEncodedSo { encoding, problem } => {
                ErrorBody::invalid(format!("The request body is announced as {encoding}, but it is not: {problem}."))
                    .with_code("invalid_content_encoding")
            }
            Self::TooLarge { limit } => ErrorBody::invalid(format!(
                "The request body is larger than {limit} bytes, the limit of this gateway (`server.body_limit`)."
            ))
            .with_code("request_too_large"),
            Self::SlowBody => ErrorBody::invalid("The request body did not arrive in time.").with_code("body_timeout"),
            Self::BrokenBody => ErrorBody::invalid("The request body broke off.").with_code("body_incomplete"),
            Self::Request(error) => error.body(),
            Self::UnknownModel { model } => {
                ErrorBody::invalid(format!("The model `{model}` does not exist; GET /v1/models lists those that do."))
                    .with_param("model")
                    .with_code("model_not_found")
            }
            Self::UnknownResponse { id } => ErrorBody::invalid(format!(
                "Response with id '{id}' not found: none of this id has been made for you since this gateway was started. \
                 `passthrough.paths` can name the provider that keeps responses."
            ))
            .with_code("response_not_found"),
            Self::KeptElsewhere { id } => ErrorBody::invalid(format!(
                "Previous response with id '{id}' not found: it was made by a provider that this model is not served by. \
                 Ask for the model that made it, or send the whole conversation."
            ))
            .with_param("previous_response_id")
            .with_code("previous_response_not_found"),
            Self::Unable(refusal) => refusal.body.clone(),
            Self::Rejected(rejection) => {
                let message = rejection.reason.as_deref().unwrap_or("The routing policy refused this request.");
                ErrorBody::new(message, kind_of(self.status())).with_code("rejected_by_policy")
            }
            Self::PolicyFailed { message } => ErrorBody::server(message.clone()).with_code("policy_failed"),
            Self::Upstream { attempts, deployment, failure } => upstream_body(*attempts, deployment, failure),
            Self::Passthrough { provider, failure } => {
                let message = format!("The provider `{provider}` did not answer: {}", in_public(failure));
                ErrorBody::new(message, kind_of(self.status())).with_code(failure.kind.name())
            }
            Self::Admin { message, code, .. } => ErrorBody::invalid(message.clone()).with_code(*code),
            Self::Deadline => {
                ErrorBody::server("The time for this request was over before a deployment could be tried.")
                    .with_code("deadline")
            }
            Self::Busy(busy) => {
                ErrorBody::server(format!("The gateway is busy: {}", why(*busy))).with_code("overloaded")
            }
            Self::Header { name, sent, takes } => {
                ErrorBody::invalid(format!("The header `{name}` is '{sent}'; it takes {takes}."))
                    .with_code("invalid_header")
            }
            Self::ShuttingDown => {
                ErrorBody::server("This gateway is shutting down; send the request again.").with_code("shutting_down")
            }
            Self::Internal => ErrorBody::server("Something went wrong in the gateway.").with_code("internal_error"),
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

fn upstream_body(attempts: usize, deployment: &str, failure: &AttemptFailure) -> ErrorBody {
    let tried = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    let why = in_public(failure);
    let message = format!("No deployment could answer ({tried}); the last one, `{deployment}`: {why}");
    let status = upstream_status(failure);
    ErrorBody::new(message, kind_of(status)).with_code(failure.kind.name())
}

/// Where nobody upstream has said anything, our own words may hold addresses, which are for the log. Times do not.
fn in_public(failure: &AttemptFailure) -> &str {
    let is_time = matches!(failure.kind, FailureKind::FirstByteTimeout | FailureKind::Deadline);
    if failure.status == 0 && !is_time { failure.kind.summary() } else { &failure.message }
}

fn why(busy: Busy) -> &'static str {
    match busy {
        Busy::Memory => "the requests in flight take all the memory for bodies (`server.body_memory`).",
        Busy::Queue(turned) => match turned.away {
            Away::Full => "as many requests run and wait as may (`server.max_in_flight`, `server.queue.length`).",
            Away::TimedOut => "the request's turn did not come in time (`server.queue.timeout`).",
            Away::Displaced => "a more urgent request took this one's place in the queue.",
        },
    }
}

fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
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
