//! What is common to every dialect that is translated to OpenAI's chat completions, the hub.

use std::borrow::Cow;

use super::json::Members;

/// For messages to people.
pub const CHAT_API: &str = "OpenAI's chat completions API";

/// The name of the field for the longest answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputLimit {
    /// What every compatible server knows.
    #[default]
    MaxTokens,
    /// What OpenAI's own newer models insist on.
    MaxCompletionTokens,
}

impl OutputLimit {
    /// The field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// What a message or a delta says of the model's thinking. DeepSeek, llama.cpp and others say `reasoning_content`; vLLM
/// and Ollama say `reasoning`.
pub(super) fn reasoning<'a>(message: &Members<'a>) -> Option<Cow<'a, str>> {
    let told = message.text("reasoning_content").or_else(|| message.text("reasoning"));
    told.filter(|text| !text.is_empty())
}
