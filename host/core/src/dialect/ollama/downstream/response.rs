//! From a chat completion to Ollama's answer.

use super::Told;
use crate::dialect::chat::{reasoning, spoken};
use crate::dialect::json::{Members, Object, array, quoted};
use crate::dialect::ollama::{CHAT_API, OLLAMA_API};
use crate::dialect::time::rfc3339;

/// Why an answer is not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a completion of {CHAT_API}, so it cannot be told in {OLLAMA_API}")]
pub struct NotACompletion;

/// Translates a whole answer.
///
/// # Errors
/// When it is not a chat completion with a message.
pub fn response(body: &str, told: Told) -> Result<String, NotACompletion> {
    let completion = Members::parse(body).ok_or(NotACompletion)?;
    let choice = completion.list("choices").first().and_then(|choice| Members::of(choice)).ok_or(NotACompletion)?;
    let message = choice.get("message").and_then(Members::of).ok_or(NotACompletion)?;
    let text: String = spoken(&message).collect();
    let thinking = reasoning(&message).unwrap_or_default();
    let calls: Vec<String> = message
        .list("tool_calls")
        .into_iter()
        .filter_map(Members::of)
        .enumerate()
        .map(|(place, call)| {
            let function = call.object("function");
            let arguments = function.text("arguments").unwrap_or_default();
            let id = call.text("id").unwrap_or_default();
            tool_call(&id, place, &function.text("name").unwrap_or_default(), &arguments)
        })
        .collect();
    let head = Head { model: &completion.text("model").unwrap_or_default(), created: completion.count("created") };
    let mut answer = head.open();
    told.write(&mut answer, &text, &thinking, &calls);
    if let Some(logprobs) = choice.object("logprobs").get("content") {
        answer.put("logprobs", logprobs.get());
    }
    let done = Done {
        reason: choice.text("finish_reason").as_deref().map_or("stop", done_reason),
        counts: counts(&completion),
    };
    Ok(done.write(answer).finish())
}

/// What every answer and line begins with.
pub(super) struct Head<'a> {
    pub(super) model: &'a str,
    pub(super) created: Option<u64>,
}

impl Head<'_> {
    pub(super) fn open(&self) -> Object {
        Object::new().text("model", self.model).text("created_at", &rfc3339(self.created.unwrap_or(0)))
    }
}

impl Told {
    /// Adds what was said; calls are JSON.
    pub(super) fn write(self, out: &mut Object, text: &str, thinking: &str, calls: &[String]) {
        match self {
            Self::Message => {
                let mut message = Object::new().text("role", "assistant").text("content", text);
                if !thinking.is_empty() {
                    message.put("thinking", &quoted(thinking));
                }
                if !calls.is_empty() {
                    message.put("tool_calls", &array(calls));
                }
                out.put("message", &message.finish());
            }
            Self::Response => {
                out.put("response", &quoted(text));
                if !thinking.is_empty() {
                    out.put("thinking", &quoted(thinking));
                }
                if !calls.is_empty() {
                    out.put("tool_calls", &array(calls));
                }
            }
        }
    }
}

/// What the last line says.
pub(super) struct Done {
    pub(super) reason: &'static str,
    pub(super) counts: Counts,
}

impl Done {
    pub(super) fn write(&self, out: Object) -> Object {
        let mut out = out.plain("done", true).text("done_reason", self.reason);
        let Counts { prompt, completion, prompt_ns, completion_ns } = self.counts;
        let total = prompt_ns.saturating_add(completion_ns);
        // Ollama leaves out what is zero.
        for (key, value) in [
            ("total_duration", total),
            ("prompt_eval_count", prompt),
            ("prompt_eval_duration", prompt_ns),
            ("eval_count", completion),
            ("eval_duration", completion_ns),
        ] {
            if value > 0 {
                out.put(key, &value.to_string());
            }
        }
        out
    }
}

/// Tokens, and how long they took where the server says so: llama.cpp does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    prompt: u64,
    pub(super) completion: u64,
    prompt_ns: u64,
    completion_ns: u64,
}

impl Counts {
    /// With what a completion or a chunk says.
    #[must_use]
    pub(super) fn with(self, completion: &Members<'_>) -> Self {
        let (usage, timings) = (completion.object("usage"), completion.object("timings"));
        let nanos = |key: &str, before: u64| {
            let millis = timings.get(key).and_then(|value| value.get().parse::<f64>().ok());
            millis.map_or(before, |millis| (millis * 1e6) as u64)
        };
        Self {
            prompt: usage.count("prompt_tokens").unwrap_or(self.prompt),
            completion: usage.count("completion_tokens").unwrap_or(self.completion),
            prompt_ns: nanos("prompt_ms", self.prompt_ns),
            completion_ns: nanos("predicted_ms", self.completion_ns),
        }
    }
}

fn counts(completion: &Members<'_>) -> Counts {
    Counts::default().with(completion)
}

/// A call as Ollama tells it: the arguments are an object. What a model writes need not be JSON; the client must get an
/// object all the same.
pub(super) fn tool_call(id: &str, index: usize, name: &str, arguments: &str) -> String {
    let arguments = if Members::parse(arguments).is_some() {
        arguments.trim().to_owned()
    } else if arguments.trim().is_empty() {
        "{}".to_owned()
    } else {
        Object::new().text("arguments", arguments).finish()
    };
    let function = Object::new().plain("index", index).text("name", name).raw("arguments", &arguments).finish();
    let mut call = Object::new();
    if !id.is_empty() {
        call.put("id", &quoted(id));
    }
    call.raw("function", &function).finish()
}

/// Ollama's word for why the answer ended.
pub(super) fn done_reason(finish_reason: &str) -> &'static str {
    match finish_reason {
        "length" => "length",
        "content_filter" => "content_filter",
        // `stop`, `tool_calls`, and what may come.
        _ => "stop",
    }
}
