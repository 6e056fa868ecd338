//! From Anthropic's errors to OpenAI's.

use std::borrow::Cow;

use crate::openai::{ErrorBody, UpstreamError};

/// The error in OpenAI's shape and the upstream's words. Anthropic's type stays as the code where it says more than
/// OpenAI's. Servers that imitate Anthropic often keep OpenAI's shape for errors, so what was made out of either counts.
pub fn error(told: &UpstreamError) -> ErrorBody {
    let kind: Cow<'static, str> = match told.kind.as_deref() {
        Some("api_error" | "overloaded_error" | "timeout_error") | None => "server_error".into(),
        Some("not_found_error" | "request_too_large" | "billing_error") => "invalid_request_error".into(),
        // The same in both, or somebody's own.
        Some(other) => other.to_owned().into(),
    };
    let code = told.code.clone().or_else(|| told.kind.clone().filter(|told| *told != kind));
    ErrorBody {
        message: told.message.clone().into(),
        kind,
        param: told.param.clone().map(Cow::Owned),
        code: code.map(Cow::Owned),
    }
}
