//! Errors within a stream. Those before it have the shape of every other error of OpenAI's.

use bytes::Bytes;

use crate::dialect::json::{Members, Object, quoted};
use crate::openai::UpstreamError;

/// The event of an error that no response is known for. `sequence` is the number of events before it.
pub fn error_event(told: &UpstreamError, sequence: u64) -> Bytes {
    let code = told.code.as_deref().or(told.kind.as_deref());
    let event = Object::of_type("error")
        .raw("code", &code.map_or("null".to_owned(), quoted))
        .text("message", &told.message)
        .raw("param", &told.param.as_deref().map_or("null".to_owned(), quoted))
        .plain("sequence_number", sequence);
    format!("event: error\ndata: {}\n\n", event.finish()).into()
}

/// Whether an event's data tells of a failure in the words of this API, which clients read as it is.
pub fn is_failure(data: &[u8]) -> bool {
    let event = str::from_utf8(data).ok().and_then(Members::parse);
    let kind = event.as_ref().and_then(|event| event.text("type"));
    match (kind.as_deref(), event) {
        (Some("response.failed"), _) => true,
        (Some("error"), Some(event)) => event.text("message").is_some(),
        _ => false,
    }
}

/// The member `error` of a response that has failed.
pub(in crate::dialect::responses) fn failure(told: &UpstreamError) -> String {
    let said = told.code.as_deref().or(told.kind.as_deref()).unwrap_or_default();
    let code = match said {
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "429" => "rate_limit_exceeded",
        "invalid_request_error" | "invalid_prompt" | "exceed_context_size_error" | "context_length_exceeded" => {
            "invalid_prompt"
        }
        _ => "server_error",
    };
    Object::new().text("code", code).text("message", &told.message).finish()
}
