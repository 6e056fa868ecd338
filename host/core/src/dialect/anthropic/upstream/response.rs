//! From a Messages answer to a chat completion.

use crate::dialect::CHAT_API;
use crate::dialect::json::{Members, Object, array, quoted};

/// Why an answer is not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a message of {}, so it cannot be told in {CHAT_API}", super::super::MESSAGES_API)]
pub struct NotAMessage;

/// Translates a whole answer. `created` is its time, which Anthropic does not say, in seconds since 1970.
///
/// # Errors
/// When it is not a message.
pub fn response(body: &str, created: u64) -> Result<String, NotAMessage> {
    let message = Members::parse(body).ok_or(NotAMessage)?;
    let usage = message.get("usage").and_then(Members::of).ok_or(NotAMessage)?;
    if message.text("type").as_deref() != Some("message") {
        return Err(NotAMessage);
    }
    let reason = message.text("stop_reason");
    let mut said = Said::default();
    for block in message.list("content") {
        said.add(&Members::of(block).ok_or(NotAMessage)?);
    }
    let choice = Object::new()
        .plain("index", 0)
        .raw("message", &said.message(&message))
        .raw("logprobs", "null")
        .text("finish_reason", finish_reason(reason.as_deref().unwrap_or_default()));
    Ok(Object::new()
        .text("id", &message.text("id").unwrap_or_default())
        .text("object", "chat.completion")
        .plain("created", created)
        .text("model", &message.text("model").unwrap_or_default())
        .raw("choices", &array(&[choice.finish()]))
        .raw("usage", &Counts::default().with(&usage).to_json())
        .finish())
}

/// What the blocks say.
#[derive(Default)]
struct Said {
    text: Option<String>,
    reasoning: String,
    thinking: Vec<String>,
    calls: Vec<String>,
}

impl Said {
    fn add(&mut self, block: &Members<'_>) {
        match &*block.text("type").unwrap_or_default() {
            "text" => {
                let text = block.text("text").unwrap_or_default();
                self.text.get_or_insert_default().push_str(&text);
            }
            "thinking" => {
                let (thinking, signature) = (block.text("thinking"), block.text("signature"));
                self.reasoning.push_str(thinking.as_deref().unwrap_or_default());
                self.thinking.extend(thinking_block(thinking.as_deref(), signature.as_deref()));
            }
            "redacted_thinking" => {
                let data = block.text("data").unwrap_or_default();
                self.thinking.push(Object::of_type("redacted_thinking").text("data", &data).finish());
            }
            "tool_use" => {
                let input = block.get("input").map_or("{}", |input| input.get());
                let function = Object::new()
                    .text("name", &block.text("name").unwrap_or_default())
                    .text("arguments", input)
                    .finish();
                let id = block.text("id").unwrap_or_default();
                self.calls
                    .push(Object::new().text("id", &id).text("type", "function").raw("function", &function).finish());
            }
            // Tools that Anthropic runs itself: their results are in the text too.
            _ => {}
        }
    }

    fn message(&self, message: &Members<'_>) -> String {
        let refused = message.text("stop_reason").as_deref() == Some("refusal");
        let explanation = message.object("stop_details").text("explanation").filter(|_| refused);
        let mut out = Object::new()
            .text("role", "assistant")
            .raw("content", &self.text.as_deref().map_or("null".to_owned(), quoted))
            .raw("refusal", &explanation.as_deref().map_or("null".to_owned(), quoted));
        if !self.reasoning.is_empty() {
            out = out.text("reasoning_content", &self.reasoning);
        }
        if !self.thinking.is_empty() {
            out = out.raw("thinking_blocks", &array(&self.thinking));
        }
        if !self.calls.is_empty() {
            out = out.raw("tool_calls", &array(&self.calls));
        }
        out.finish()
    }
}

/// A thinking block as Anthropic wants it back with the results of tools; worth nothing without its signature.
pub(super) fn thinking_block(thinking: Option<&str>, signature: Option<&str>) -> Option<String> {
    let signature = signature.filter(|signature| !signature.is_empty())?;
    let block = Object::of_type("thinking").text("thinking", thinking.unwrap_or_default());
    Some(block.text("signature", signature).finish())
}

/// OpenAI's word for why the answer ended.
pub(super) fn finish_reason(stop_reason: &str) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        // `end_turn`, `stop_sequence`, `pause_turn`, and what may come.
        _ => "stop",
    }
}

/// Tokens as Anthropic counts them: cached ones apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    input: u64,
    read: u64,
    written: u64,
    output: u64,
    thinking: Option<u64>,
}

impl Counts {
    /// With what a later `usage` says; counts are totals.
    #[must_use]
    pub(super) fn with(self, usage: &Members<'_>) -> Self {
        Self {
            input: usage.count("input_tokens").unwrap_or(self.input),
            read: usage.count("cache_read_input_tokens").unwrap_or(self.read),
            written: usage.count("cache_creation_input_tokens").unwrap_or(self.written),
            output: usage.count("output_tokens").unwrap_or(self.output),
            thinking: usage.object("output_tokens_details").count("thinking_tokens").or(self.thinking),
        }
    }

    /// As OpenAI counts: all of the prompt, and of that the cached.
    pub(super) fn to_json(self) -> String {
        let prompt = self.input.saturating_add(self.read).saturating_add(self.written);
        let mut details = Object::new().plain("cached_tokens", self.read);
        if self.written > 0 {
            details = details.plain("cache_write_tokens", self.written);
        }
        let mut usage = Object::new()
            .plain("prompt_tokens", prompt)
            .plain("completion_tokens", self.output)
            .plain("total_tokens", prompt.saturating_add(self.output))
            .raw("prompt_tokens_details", &details.finish());
        if let Some(thinking) = self.thinking {
            usage = usage.raw("completion_tokens_details", &Object::new().plain("reasoning_tokens", thinking).finish());
        }
        usage.finish()
    }
}
