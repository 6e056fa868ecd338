//! What is common to every dialect that is translated to OpenAI's chat completions, the hub.

use std::borrow::Cow;

use super::json::{Members, Object};
use super::write_data;

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

/// What all chunks of one stream begin with.
pub(super) struct ChunkHead<'a> {
    pub(super) object: &'a str,
    pub(super) id: &'a str,
    pub(super) created: u64,
    pub(super) model: &'a str,
}

impl ChunkHead<'_> {
    /// Writes a chunk; `usage` only where the client asked for it.
    pub(super) fn write(&self, choices: &str, usage: Option<&str>, out: &mut Vec<u8>) {
        let mut chunk = Object::new()
            .text("id", self.id)
            .text("object", self.object)
            .plain("created", self.created)
            .text("model", self.model)
            .raw("choices", choices);
        if let Some(usage) = usage {
            chunk = chunk.raw("usage", usage);
        }
        write_data(out, &chunk.finish());
    }
}

/// What a message or a delta says of the model's thinking. DeepSeek, llama.cpp and others say `reasoning_content`; vLLM
/// and Ollama say `reasoning`; Mistral has parts of the content for it.
pub(super) fn reasoning<'a>(message: &Members<'a>) -> Option<Cow<'a, str>> {
    let told = message.text("reasoning_content").or_else(|| message.text("reasoning"));
    told.or_else(|| parts(message, "thinking")).filter(|text| !text.is_empty())
}

/// What a message or a delta says, apart from a refusal.
pub(super) fn content<'a>(message: &Members<'a>) -> Option<Cow<'a, str>> {
    message.text("content").or_else(|| parts(message, "text")).filter(|text| !text.is_empty())
}

/// All texts of a message or of a delta.
pub(super) fn spoken<'a>(message: &Members<'a>) -> impl Iterator<Item = Cow<'a, str>> {
    let refusal = message.text("refusal").filter(|text| !text.is_empty());
    content(message).into_iter().chain(refusal)
}

/// What a content that is a list says in its parts of one type: `{"type": "text", "text": "..."}`, and
/// `{"type": "thinking", "thinking": [such parts]}`.
fn parts(message: &Members<'_>, kind: &str) -> Option<Cow<'static, str>> {
    let mut told = String::new();
    for part in message.list("content").into_iter().filter_map(Members::of) {
        if part.text("type").as_deref() != Some(kind) {
            continue;
        }
        told.push_str(&part.text(kind).unwrap_or_default());
        for inner in part.list(kind).into_iter().filter_map(Members::of) {
            told.push_str(&inner.text("text").unwrap_or_default());
        }
    }
    (!told.is_empty()).then_some(Cow::Owned(told))
}
