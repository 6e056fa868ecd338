//! From OpenAI's errors to Ollama's.

use bytes::Bytes;

use crate::dialect::json::{Members, Object, kind};
use crate::openai::UpstreamError;
use crate::openai::json::Kind;

/// `{"error": "<text>"}`.
pub fn error(told: &UpstreamError) -> String {
    Object::new().text("error", &told.message).finish()
}

/// Whether a body is an error of this shape already.
pub fn is_error(body: &[u8]) -> bool {
    let body = str::from_utf8(body).ok().and_then(Members::parse);
    body.and_then(|body| body.get("error")).is_some_and(|error| kind(error) == Kind::String)
}

/// An error's JSON as the line that ends a stream.
pub fn error_line(json: &str) -> Bytes {
    format!("{json}\n").into()
}
