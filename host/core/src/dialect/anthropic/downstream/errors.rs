//! From OpenAI's errors to Anthropic's.

use bytes::Bytes;

use crate::dialect::json::{Members, Object};
use crate::openai::UpstreamError;

/// `{"type": "error", "error": {"type", "message"}}`. Without a status, as in a stream, the type is what the error says
/// itself.
pub fn error(told: &UpstreamError, status: Option<u16>) -> String {
    let kind = match status {
        Some(status) => of_status(status),
        None => of_type(told.kind.as_deref().unwrap_or_default()),
    };
    let error = Object::of_type(kind).text("message", &told.message).finish();
    Object::of_type("error").raw("error", &error).finish()
}

/// Whether a body is an error of this shape already.
pub fn is_error(body: &[u8]) -> bool {
    let body = str::from_utf8(body).ok().and_then(Members::parse);
    body.is_some_and(|body| {
        body.text("type").as_deref() == Some("error") && body.object("error").text("type").is_some()
    })
}

/// An error's JSON as the event that ends a stream.
pub fn error_event(json: &str) -> Bytes {
    format!("event: error\ndata: {json}\n\n").into()
}

fn of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

fn of_type(kind: &str) -> &'static str {
    match kind {
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "tokens" | "requests" => "rate_limit_error",
        "overloaded_error" | "unavailable_error" => "overloaded_error",
        "invalid_request_error" | "exceed_context_size_error" => "invalid_request_error",
        _ => "api_error",
    }
}
