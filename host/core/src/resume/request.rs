//! The request that asks for the rest of an answer.

use serde_json::value::RawValue;

use super::{Continuation, Obstacle};
use crate::dialect::Speech;
use crate::dialect::json::{Members, Object, is_neutral, kind, list, quoted};
use crate::openai::json::Kind;
use crate::openai::{Endpoint, Peek};

/// What the client has of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoFar<'a> {
    /// The text.
    pub text: &'a str,
    /// About its tokens.
    pub tokens: u32,
}

/// What keeps the answer to a request from being gone on with by another deployment. `body` must be what was
/// [peeked](crate::openai::peek()) at.
pub fn obstacle(body: &[u8], peek: &Peek) -> Option<Obstacle> {
    let counted = [
        (peek.tools > 0, Obstacle::Tools),
        (peek.json_schema, Obstacle::Format),
        (peek.choices > 1, Obstacle::Choices),
        (peek.audio > 0, Obstacle::Audio),
    ];
    if let Some((_, obstacle)) = counted.into_iter().find(|(is, _)| *is) {
        return Some(obstacle);
    }
    let members = Members::parse(str::from_utf8(body).ok()?)?;
    members.iter().filter(|(_, value)| !is_neutral(value)).find_map(|(key, value)| demand(peek.endpoint, key, value))
}

/// What one field of the request demands.
fn demand(endpoint: Endpoint, key: &str, value: &RawValue) -> Option<Obstacle> {
    match key {
        "messages" => ends_with_assistant(value).then_some(Obstacle::Prefilled),
        "input" if endpoint == Endpoint::Responses => ends_with_assistant(value).then_some(Obstacle::Prefilled),
        "text" if endpoint == Endpoint::Responses => {
            let format = Members::of(value).and_then(|text| text.object("format").text("type"));
            format.is_some_and(|format| format != "text").then_some(Obstacle::Format)
        }
        "include" if endpoint == Endpoint::Responses => value.get().contains("logprobs").then_some(Obstacle::Logprobs),
        "prompt" if endpoint == Endpoint::Completions => (kind(value) != Kind::String).then_some(Obstacle::Prompt),
        "echo" | "suffix" => Some(Obstacle::Prompt),
        "response_format" => {
            let is_text = Members::of(value).and_then(|format| Some(format.text("type")? == "text")) == Some(true);
            (!is_text).then_some(Obstacle::Format)
        }
        "best_of" => (value.get() != "1").then_some(Obstacle::Choices),
        "logprobs" | "top_logprobs" | "prompt_logprobs" => Some(Obstacle::Logprobs),
        "thinking" => {
            let off = Members::of(value).and_then(|thinking| Some(thinking.text("type")? == "disabled")) == Some(true);
            (!off).then_some(Obstacle::Reasoning)
        }
        "mcp_servers" => Some(Obstacle::Tools),
        "think" if endpoint.speech() == Speech::Ollama => (value.get() != "false").then_some(Obstacle::Reasoning),
        "format" if endpoint.speech() == Speech::Ollama => Some(Obstacle::Format),
        "raw" | "template" | "context" if endpoint == Endpoint::OllamaGenerate => Some(Obstacle::Prompt),
        _ if key.starts_with("guided_") || FORMATS.contains(&key) => Some(Obstacle::Format),
        _ => None,
    }
}

fn ends_with_assistant(messages: &RawValue) -> bool {
    let last = list(messages).and_then(|messages| messages.last().copied().and_then(Members::of));
    last.is_some_and(|last| last.text("role").as_deref() == Some("assistant"))
}

/// The body, in the dialect of the deployment that shall go on, with the answer so far. `None` when it is not what the
/// endpoint takes, or the deployment cannot go on.
///
/// Anthropic refuses text that ends in blanks, so they are left out there; [`Thread`](super::Thread) keeps them from
/// coming twice.
pub fn continued(body: &str, endpoint: Endpoint, how: Continuation, so_far: &SoFar<'_>) -> Option<String> {
    let members = Members::parse(body)?;
    let text = if endpoint.is_anthropic() { so_far.text.trim_end() } else { so_far.text };
    let mut out = Object::new();
    let mut prompted = false;
    for (key, value) in members.iter() {
        match key {
            "messages" if endpoint != Endpoint::Completions => {
                prompted = true;
                out.put(key, &with_message(value, text, how)?);
            }
            "prompt" if endpoint == Endpoint::Completions => {
                prompted = true;
                let prompt = crate::dialect::json::text(value)?;
                out.put(key, &quoted(&format!("{prompt}{text}")));
            }
            FLAG | NO_PROMPT if how == Continuation::FinalMessage => {}
            "options" if endpoint == Endpoint::OllamaChat => out.put(key, &with_less(value, so_far.tokens)),
            _ if LIMITS.contains(&key) => out.put(key, &less(value.get(), so_far.tokens)),
            _ => out.put(key, value.get()),
        }
    }
    if how == Continuation::FinalMessage && endpoint == Endpoint::Chat {
        out = out.plain(FLAG, true).plain(NO_PROMPT, false);
    }
    prompted.then(|| out.finish())
}

/// The messages and one more, of the assistant's.
fn with_message(messages: &RawValue, text: &str, how: Continuation) -> Option<String> {
    let mut message = Object::new().text("role", "assistant").text("content", text);
    match how {
        Continuation::Never => return None,
        Continuation::Message | Continuation::FinalMessage => {}
        Continuation::Prefix => message = message.plain("prefix", true),
    }
    let list = messages.get().strip_suffix(']')?.trim_end();
    // Anthropic refuses a message without text.
    if text.is_empty() {
        return Some(messages.get().to_owned());
    }
    let comma = if list.ends_with('[') { "" } else { "," };
    Some(format!("{list}{comma}{}]", message.finish()))
}

/// Ollama's options, with the limit in them as one on the rest.
fn with_less(options: &RawValue, sent: u32) -> String {
    let limited =
        |options: Members<'_>| options.with(|key, limit| (key == "num_predict").then(|| less(limit.get(), sent)));
    Members::of(options).map_or_else(|| options.get().to_owned(), limited)
}

/// A limit on the tokens of the whole answer as one on the rest: at least one, since 0 is no limit or an error.
fn less(limit: &str, sent: u32) -> String {
    match limit.parse::<i64>() {
        Ok(limit) if limit > 0 => (limit - i64::from(sent)).max(1).to_string(),
        _ => limit.to_owned(),
    }
}

/// Limits on the tokens of an answer, also those that only some servers know.
const LIMITS: [&str; 4] = ["max_tokens", "max_completion_tokens", "n_predict", "min_tokens"];
/// What servers call a grammar, beside `response_format`.
const FORMATS: [&str; 7] =
    ["grammar", "json_schema", "structured_outputs", "regex", "ebnf", "output_config", "output_format"];
const FLAG: &str = "continue_final_message";
const NO_PROMPT: &str = "add_generation_prompt";
