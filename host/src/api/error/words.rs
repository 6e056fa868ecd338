//! The words in which a client is told what went wrong: OpenAI's error object for each error.

use http::StatusCode;
use witgate_core::openai::ErrorBody;
use witgate_core::vocabulary::FailureKind;

use super::{ApiError, Busy, upstream_status};
use crate::admission::Away;
use crate::api::auth::AuthError;
use crate::api::encoding;
use crate::upstream::AttemptFailure;

impl ApiError {
    /// The error object.
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::Auth(AuthError::Missing) => ErrorBody::invalid(
                "You didn't provide an API key. Send it in the header `Authorization: Bearer YOUR_KEY`.",
            ),
            Self::Auth(AuthError::Wrong) => {
                ErrorBody::invalid("Incorrect API key provided.").with_code("invalid_api_key")
            }
            Self::UnknownPath { method, path } if path.starts_with("/admin") => ErrorBody::invalid(format!(
                "Unknown path: {method} {path}. The admin API has GET /admin/policies, POST /admin/reload, and POST \
                 /admin/policies/NAME/ with rollback, pin, unpin, unload or load at its end."
            ))
            .with_code("unknown_url"),
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
