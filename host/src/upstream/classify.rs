//! From what an upstream answered to a [`FailureKind`]. Pure.
//!
//! The status alone does not do: servers report a prompt that is too long in five ways and some of the client's
//! errors as 500, and what is wrong with the request must not count against the deployment.

use http::StatusCode;
use witgate_core::openai::UpstreamError;
use witgate_core::vocabulary::FailureKind;

/// What an answer with this status, which is not a success, means.
pub(super) fn classify(status: StatusCode, error: &UpstreamError) -> FailureKind {
    if status.is_redirection() {
        return FailureKind::Malformed;
    }
    match status.as_u16() {
        401..=403 => FailureKind::Unauthorised,
        // Not the method, not the path or not built in: the deployment is not what the configuration says.
        404 | 405 | 501 => FailureKind::ModelNotFound,
        408 | 425 => FailureKind::Overloaded,
        429 => FailureKind::RateLimited,
        // Ollama's word for a request that was cancelled, by whomever.
        499 => FailureKind::ServerError,
        503 | 529 => FailureKind::Overloaded,
        400..=498 => of_request(error).unwrap_or(FailureKind::BadRequest),
        500 => of_request(error).unwrap_or(FailureKind::ServerError),
        _ => FailureKind::ServerError,
    }
}

/// What an error inside a 200 means. Only a prompt that is too long is told apart: it is not the deployment's fault.
pub(super) fn classify_in_stream(error: &UpstreamError) -> FailureKind {
    if is_context_length(error) { FailureKind::ContextLength } else { FailureKind::ErrorInStream }
}

/// What the error's text gives away about the request.
fn of_request(error: &UpstreamError) -> Option<FailureKind> {
    let code = error.code.as_deref().unwrap_or_default();
    let message = &*error.message;
    if is_context_length(error) {
        return Some(FailureKind::ContextLength);
    }
    if matches!(code, "model_not_found" | "model_not_available") {
        return Some(FailureKind::ModelNotFound);
    }
    // Google says 400 to a wrong key.
    if matches!(code, "invalid_api_key" | "API_KEY_INVALID") || message.starts_with("API key not valid") {
        return Some(FailureKind::Unauthorised);
    }
    is_bad_request(error).then_some(FailureKind::BadRequest)
}

fn is_context_length(error: &UpstreamError) -> bool {
    let code = error.code.as_deref().unwrap_or_default();
    let kind = error.kind.as_deref().unwrap_or_default();
    code == "context_length_exceeded"
        || kind == "exceed_context_size_error"
        || CONTEXT_LENGTH.iter().any(|mark| error.message.contains(mark))
}

/// Errors of the client that come as 500.
fn is_bad_request(error: &UpstreamError) -> bool {
    let message = &*error.message;
    CLIENT_ERRORS.iter().any(|mark| message.contains(mark))
        || message.split_once(' ').is_some_and(|(count, rest)| {
            // llama-cpp-python shows pydantic's list of errors.
            count.parse::<u32>().is_ok() && (rest.starts_with("validation error"))
        })
}

const CONTEXT_LENGTH: &[&str] = &[
    // OpenAI, vLLM, llama-cpp-python: "This model's maximum context length is 1024 tokens. However, ..."
    "maximum context length",
    // llama.cpp: "request (3203 tokens) exceeds the available context size (1024 tokens), try increasing it"
    "exceeds the available context size",
    // llama.cpp, embeddings: "input (6000 tokens) is too large to process. increase the physical batch size"
    "is too large to process",
    // Anthropic: "prompt is too long: 210000 tokens > 200000 maximum"
    "prompt is too long",
    // Google: "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    "exceeds the maximum number of tokens",
    // Ollama, with truncation off
    "input length exceeds",
];

const CLIENT_ERRORS: &[&str] = &[
    // llama.cpp
    "Failed to parse messages",
    "image input is not supported",
    "audio input is not supported",
];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> FailureKind {
        classify(StatusCode::from_u16(status).unwrap(), &UpstreamError::parse(body.as_bytes()))
    }

    #[test]
    fn every_status_has_its_kind() {
        use FailureKind::*;
        for (statuses, expected) in [
            (&[400, 406, 409, 410, 413, 415, 422, 451, 498][..], BadRequest),
            (&[401, 402, 403], Unauthorised),
            (&[404, 405, 501], ModelNotFound),
            (&[429], RateLimited),
            (&[408, 425, 503, 529], Overloaded),
            (&[499, 500, 502, 504, 505, 520, 524, 599], ServerError),
            (&[301, 302, 307, 308], Malformed),
        ] {
            for status in statuses {
                assert_eq!(kind(*status, "{}"), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_prompt_that_is_too_long_is_known_in_every_server_s_words() {
        let llama_cpp = r#"{"error":{"code":400,"message":"request (3203 tokens) exceeds the available context size (1024 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":3203,"n_ctx":1024}}"#;
        let vllm = r#"{"error":{"message":"This model's maximum context length is 1024 tokens. However, your prompt contains at least 1025 input tokens.","type":"BadRequestError","param":"input_tokens","code":400}}"#;
        let llama_cpp_python = r#"{"error":{"message":"This model's maximum context length is 1024 tokens. However, you requested 3203 tokens","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
        let openai = r#"{"error":{"message":"Too long.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
        let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#;
        for body in [llama_cpp, vllm, llama_cpp_python, openai, anthropic] {
            assert_eq!(kind(400, body), FailureKind::ContextLength, "{body}");
            assert_eq!(classify_in_stream(&UpstreamError::parse(body.as_bytes())), FailureKind::ContextLength);
        }
        assert_eq!(kind(413, vllm), FailureKind::ContextLength);
        let embedding = r#"{"error":{"code":500,"message":"input (6000 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}"#;
        assert_eq!(kind(500, embedding), FailureKind::ContextLength);
    }

    #[test]
    fn client_errors_that_come_as_500_are_not_the_server_s() {
        let role = r#"{"error":{"code":500,"message":"Failed to parse messages: Missing 'role' in message: {}","type":"server_error"}}"#;
        let image = r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}"#;
        let pydantic = r#"{"error":{"message":"1 validation error:\n x","type":"internal_server_error","param":null,"code":null}}"#;
        for body in [role, image, pydantic] {
            assert_eq!(kind(500, body), FailureKind::BadRequest, "{body}");
        }
        let grammar =
            r#"{"error":{"code":500,"message":"got exception: Unexpected empty grammar stack","type":"server_error"}}"#;
        assert_eq!(kind(500, grammar), FailureKind::ServerError);
        assert_eq!(kind(502, role), FailureKind::ServerError);
    }

    #[test]
    fn a_400_may_be_about_the_model_or_the_key() {
        assert_eq!(kind(400, r#"{"error":{"message":"No.","code":"model_not_found"}}"#), FailureKind::ModelNotFound);
        let google = r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#;
        assert_eq!(kind(400, google), FailureKind::Unauthorised);
    }

    #[test]
    fn other_errors_in_a_stream_are_just_that() {
        for body in [r#"{"error":{"message":"overloaded"}}"#, r#"{"error":"no"}"#, "no"] {
            assert_eq!(classify_in_stream(&UpstreamError::parse(body.as_bytes())), FailureKind::ErrorInStream);
        }
    }
}
