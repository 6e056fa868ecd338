//! From a chat completion to a response.

use crate::dialect::chat::{CHAT_API, content, reasoning};
use crate::dialect::json::{Members, Object, array, quoted};

/// Why an answer is not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a completion of {CHAT_API}, so it cannot be told in the Responses API")]
pub struct NotACompletion;

/// Translates a whole answer. `request` is what the client asked, of which a response repeats a part; `now`, in seconds
/// since 1970, is its time where the answer does not say one.
///
/// # Errors
/// When it is not a chat completion with a message.
pub fn response(body: &str, request: &str, now: u64) -> Result<String, NotACompletion> {
    let completion = Members::parse(body).ok_or(NotACompletion)?;
    let choice = completion.list("choices").first().and_then(|choice| Members::of(choice)).ok_or(NotACompletion)?;
    let message = choice.get("message").and_then(Members::of).ok_or(NotACompletion)?;
    let frame = Frame::new(Echo::of(request), &completion, now);
    let ending = Ending::of(choice.text("finish_reason").as_deref().unwrap_or_default());
    let mut output = Vec::new();
    let (thought, blocks) = (reasoning(&message), message.list("thinking_blocks"));
    if thought.is_some() || !blocks.is_empty() {
        let parts: Vec<String> = thought.iter().map(|thought| reasoning_part(thought)).collect();
        let blocks: Vec<&str> = blocks.iter().map(|block| block.get()).collect();
        output.push(reasoning_item(&frame.item_id("rs", 0), "completed", &parts, &sealed(&blocks.join(","))));
    }
    let mut parts = Vec::new();
    if let Some(text) = content(&message) {
        let logprobs: Vec<&str> = choice.object("logprobs").list("content").iter().map(|item| item.get()).collect();
        parts.push(text_part(&text, &logprobs.join(",")));
    }
    if let Some(refusal) = message.text("refusal").filter(|refusal| !refusal.is_empty()) {
        parts.push(refusal_part(&refusal));
    }
    let calls = message.list("tool_calls");
    // An answer that says nothing says that.
    if parts.is_empty() && calls.is_empty() {
        parts.push(text_part("", ""));
    }
    if !parts.is_empty() {
        output.push(message_item(&frame.item_id("msg", 0), ending.status, &parts));
    }
    for (place, call) in calls.into_iter().enumerate() {
        let call = Members::of(call).ok_or(NotACompletion)?;
        let function = call.object("function");
        output.push(call_item(
            &frame.item_id("fc", place),
            ending.status,
            &call.text("id").unwrap_or_default(),
            &function.text("name").unwrap_or_default(),
            &function.text("arguments").unwrap_or_default(),
        ));
    }
    let usage = completion.get("usage").and_then(Members::of).map(|usage| Counts::default().with(&usage));
    Ok(frame.response(&ending, None, &output, usage))
}

/// What is the same in all that is told of one response.
#[derive(Debug)]
pub(super) struct Frame {
    echo: Echo,
    /// Of the completion, without what chat completions put before it.
    base: String,
    created: String,
    model: String,
    service_tier: Option<String>,
}

impl Frame {
    /// Of a completion, or of the first chunk of one.
    pub(super) fn new(echo: Echo, completion: &Members<'_>, now: u64) -> Self {
        let id = completion.text("id").unwrap_or_default();
        let base = id.strip_prefix("chatcmpl-").or_else(|| id.strip_prefix("msg_")).unwrap_or(&id);
        let created = completion.count("created").filter(|created| *created > 0).unwrap_or(now);
        Self {
            echo,
            base: if base.is_empty() { now.to_string() } else { base.to_owned() },
            created: created.to_string(),
            model: completion.text("model").unwrap_or_default().into_owned(),
            service_tier: completion.get("service_tier").map(|tier| tier.get().to_owned()),
        }
    }

    /// The id of the item that is this one of its kind.
    pub(super) fn item_id(&self, kind: &str, place: usize) -> String {
        match place {
            0 => format!("{kind}_{}", self.base),
            place => format!("{kind}_{}_{place}", self.base),
        }
    }

    /// The whole object. `error` and `output` are JSON.
    pub(super) fn response(
        &self,
        ending: &Ending,
        error: Option<&str>,
        output: &[String],
        usage: Option<Counts>,
    ) -> String {
        let incomplete = ending.why.map(|why| Object::new().text("reason", why).finish());
        let mut response = Object::new()
            .text("id", &format!("resp_{}", self.base))
            .text("object", "response")
            .raw("created_at", &self.created)
            .text("status", ending.status)
            .raw("error", error.unwrap_or("null"))
            .raw("incomplete_details", incomplete.as_deref().unwrap_or("null"))
            .text("model", &self.model)
            .raw("output", &array(output));
        for (key, value) in &self.echo.0 {
            response.put(key, value);
        }
        if let Some(tier) = &self.service_tier {
            response.put("service_tier", tier);
        }
        response.raw("usage", &usage.map_or("null".to_owned(), Counts::to_json)).finish()
    }
}

/// What a response repeats of its request.
#[derive(Clone, Debug)]
pub(super) struct Echo(Vec<(&'static str, String)>);

impl Echo {
    /// Of a request's body.
    pub(super) fn of(request: &str) -> Self {
        let asked = Members::parse(request);
        let value = |key| asked.as_ref().and_then(|asked| Some(asked.get(key)?.get().to_owned()));
        let repeated = REPEATED.map(|(key, usual)| (key, value(key).unwrap_or_else(|| usual.to_owned())));
        Self(repeated.into_iter().chain(FIXED.map(|(key, value)| (key, value.to_owned()))).collect())
    }
}

/// How a response ends, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Of the response, and of what is in it.
    pub(super) status: &'static str,
    why: Option<&'static str>,
}

impl Ending {
    pub(super) const IN_PROGRESS: Self = Self { status: "in_progress", why: None };
    pub(super) const FAILED: Self = Self { status: "failed", why: None };

    /// Of a choice's `finish_reason`.
    pub(super) fn of(finish_reason: &str) -> Self {
        match finish_reason {
            "length" => Self { status: "incomplete", why: Some("max_output_tokens") },
            "content_filter" => Self { status: "incomplete", why: Some("content_filter") },
            // `stop`, `tool_calls`, and what may come.
            _ => Self { status: "completed", why: None },
        }
    }

    /// The event that tells it.
    pub(super) fn event(&self) -> &'static str {
        match self.status {
            "incomplete" => "response.incomplete",
            "failed" => "response.failed",
            _ => "response.completed",
        }
    }
}

/// Tokens, of which some are counted again by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    prompt: u64,
    cached: u64,
    written: u64,
    completion: u64,
    reasoning: u64,
}

impl Counts {
    /// With what `usage` says.
    #[must_use]
    pub(super) fn with(self, usage: &Members<'_>) -> Self {
        let (prompt, completion) = (usage.object("prompt_tokens_details"), usage.object("completion_tokens_details"));
        Self {
            prompt: usage.count("prompt_tokens").unwrap_or(self.prompt),
            cached: prompt.count("cached_tokens").unwrap_or(self.cached),
            written: prompt.count("cache_write_tokens").unwrap_or(self.written),
            completion: usage.count("completion_tokens").unwrap_or(self.completion),
            reasoning: completion.count("reasoning_tokens").unwrap_or(self.reasoning),
        }
    }

    fn to_json(self) -> String {
        let input = Object::new().plain("cached_tokens", self.cached).plain("cache_write_tokens", self.written);
        let output = Object::new().plain("reasoning_tokens", self.reasoning);
        Object::new()
            .plain("input_tokens", self.prompt)
            .raw("input_tokens_details", &input.finish())
            .plain("output_tokens", self.completion)
            .raw("output_tokens_details", &output.finish())
            .plain("total_tokens", self.prompt.saturating_add(self.completion))
            .finish()
    }
}

/// A message, or one that has just begun.
pub(super) fn message_item(id: &str, status: &str, parts: &[String]) -> String {
    Object::new()
        .text("id", id)
        .text("type", "message")
        .text("status", status)
        .text("role", "assistant")
        .raw("content", &array(parts))
        .finish()
}

/// What the model thought. None of it is a summary.
pub(super) fn reasoning_item(id: &str, status: &str, parts: &[String], sealed: &str) -> String {
    let mut item =
        Object::new().text("id", id).text("type", "reasoning").raw("summary", "[]").raw("content", &array(parts));
    if !sealed.is_empty() {
        item.put("encrypted_content", &quoted(sealed));
    }
    item.text("status", status).finish()
}

/// Anthropic's thinking blocks, of which `blocks` is the inside of a list, as what clients send back as they got it:
/// without them and their signatures Anthropic does not go on after a tool. Empty where there are none.
pub(super) fn sealed(blocks: &str) -> String {
    if blocks.is_empty() { String::new() } else { format!("[{blocks}]") }
}

/// A call of a function.
pub(super) fn call_item(id: &str, status: &str, call_id: &str, name: &str, arguments: &str) -> String {
    Object::new()
        .text("id", id)
        .text("type", "function_call")
        .text("status", status)
        .text("call_id", call_id)
        .text("name", name)
        .text("arguments", arguments)
        .finish()
}

/// A text. `logprobs` is the inside of a list.
pub(super) fn text_part(text: &str, logprobs: &str) -> String {
    Object::of_type("output_text")
        .raw("annotations", "[]")
        .raw("logprobs", &format!("[{logprobs}]"))
        .text("text", text)
        .finish()
}

/// The model's words for why it does not answer.
pub(super) fn refusal_part(refusal: &str) -> String {
    Object::of_type("refusal").text("refusal", refusal).finish()
}

/// A piece of reasoning.
pub(super) fn reasoning_part(text: &str) -> String {
    Object::of_type("reasoning_text").text("text", text).finish()
}

/// What is repeated, and what stands there where the request does not say.
const REPEATED: [(&str, &str); 13] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "null"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];
/// What holds of every response that is translated, whatever was asked.
const FIXED: [(&str, &str); 3] = [("background", "false"), ("previous_response_id", "null"), ("store", "false")];
