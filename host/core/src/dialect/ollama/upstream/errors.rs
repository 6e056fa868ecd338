//! From Ollama's errors to OpenAI's.

use std::borrow::Cow;

use crate::openai::{ErrorBody, UpstreamError};

/// `{"error": "<text>"}` in OpenAI's shape. Ollama says no type; `kind` is what the case is. What a proxy before it
/// says beyond the text stays.
pub fn error(told: &UpstreamError, kind: &'static str) -> ErrorBody {
    ErrorBody {
        message: told.message.clone().into(),
        kind: told.kind.clone().map_or(Cow::Borrowed(kind), Cow::Owned),
        param: told.param.clone().map(Cow::Owned),
        code: told.code.clone().map(Cow::Owned),
    }
}
