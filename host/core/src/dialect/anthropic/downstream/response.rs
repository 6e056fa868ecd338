//! From a chat completion to a Messages answer.

use super::super::MESSAGES_API;
use crate::dialect::chat::{CHAT_API, reasoning, spoken};
use crate::dialect::json::{Members, Object, array, kind, quoted, text};
use crate::openai::json::Kind;

/// Why an answer is not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a completion of {CHAT_API}, so it cannot be told in {MESSAGES_API}")]
pub struct NotACompletion;

/// Translates a whole answer.
///
/// # Errors
/// When it is not a chat completion with a message.
pub fn response(body: &str) -> Result<String, NotACompletion> {
    let completion = Members::parse(body).ok_or(NotACompletion)?;
    let choice = completion.list("choices").first().and_then(|choice| Members::of(choice)).ok_or(NotACompletion)?;
    let message = choice.get("message").and_then(Members::of).ok_or(NotACompletion)?;
    let mut content = Vec::new();
    if let Some(reasoning) = reasoning(&message) {
        content.push(Object::of_type("thinking").text("thinking", &reasoning).text("signature", "").finish());
    }
    for text in spoken(&message) {
        content.push(Object::of_type("text").text("text", &text).finish());
    }
    let calls = message.list("tool_calls");
    for call in &calls {
        let call = Members::of(call).ok_or(NotACompletion)?;
        let function = call.object("function");
        let arguments = function.text("arguments").unwrap_or_default();
        // What a model writes need not be JSON; the client must get an object all the same.
        let input = if Members::parse(&arguments).is_some() {
            arguments.trim().to_owned()
        } else if arguments.trim().is_empty() {
            "{}".to_owned()
        } else {
            Object::new().text("arguments", &arguments).finish()
        };
        let id = call.text("id").unwrap_or_default();
        let name = function.text("name").unwrap_or_default();
        content.push(Object::of_type("tool_use").text("id", &id).text("name", &name).raw("input", &input).finish());
    }
    let stop = Stop::of(&choice, !calls.is_empty());
    let counts = Counts::default().with(&completion.object("usage"));
    Ok(Object::new()
        .text("id", &completion.text("id").unwrap_or_default())
        .text("type", "message")
        .text("role", "assistant")
        .text("model", &completion.text("model").unwrap_or_default())
        .raw("content", &array(&content))
        .text("stop_reason", stop.reason)
        .raw("stop_sequence", &stop.sequence_json())
        .raw("usage", &counts.to_json())
        .finish())
}

/// Why the answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) reason: &'static str,
    sequence: Option<String>,
}

impl Stop {
    /// Of a choice. vLLM names the stop word in `stop_reason`, and says `stop` after a call that was demanded.
    pub(super) fn of(choice: &Members<'_>, called: bool) -> Self {
        let word = choice.get("stop_reason").filter(|value| kind(value) == Kind::String).and_then(text);
        let reason = match &*choice.text("finish_reason").unwrap_or_default() {
            "length" => "max_tokens",
            "tool_calls" | "function_call" => "tool_use",
            "content_filter" => "refusal",
            _ if called => "tool_use",
            _ if word.is_some() => "stop_sequence",
            _ => "end_turn",
        };
        Self { reason, sequence: word.map(std::borrow::Cow::into_owned).filter(|_| reason == "stop_sequence") }
    }

    pub(super) fn sequence_json(&self) -> String {
        self.sequence.as_deref().map_or("null".to_owned(), quoted)
    }
}

/// Tokens as OpenAI counts them: cached ones among those of the prompt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    prompt: u64,
    cached: u64,
    completion: u64,
    reasoning: Option<u64>,
}

impl Counts {
    /// Only of the prompt, before anybody has counted.
    pub(super) fn estimated(prompt: u32) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }

    /// With what `usage` says.
    #[must_use]
    pub(super) fn with(self, usage: &Members<'_>) -> Self {
        Self {
            prompt: usage.count("prompt_tokens").unwrap_or(self.prompt),
            cached: usage.object("prompt_tokens_details").count("cached_tokens").unwrap_or(self.cached),
            completion: usage.count("completion_tokens").unwrap_or(self.completion),
            reasoning: usage.object("completion_tokens_details").count("reasoning_tokens").or(self.reasoning),
        }
    }

    /// With so many tokens of the answer, if the upstream has not counted them.
    #[must_use]
    pub(super) fn or_output(self, pieces: u64) -> Self {
        Self { completion: if self.completion == 0 { pieces } else { self.completion }, ..self }
    }

    /// As Anthropic counts.
    pub(super) fn to_json(self) -> String {
        let cached = self.cached.min(self.prompt);
        let usage = Object::new()
            .plain("input_tokens", self.prompt - cached)
            .plain("cache_creation_input_tokens", 0)
            .plain("cache_read_input_tokens", cached)
            .plain("output_tokens", self.completion);
        match self.reasoning {
            Some(thinking) => {
                usage.raw("output_tokens_details", &Object::new().plain("thinking_tokens", thinking).finish()).finish()
            }
            None => usage.finish(),
        }
    }
}
