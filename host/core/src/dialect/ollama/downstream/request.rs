//! From a request of `/api/chat` or `/api/generate` to a chat completions request.

use serde_json::value::RawValue;

use super::{Target, content, options};
use crate::dialect::json::{Members, Object, array, is_neutral, kind, list, quoted, text};
use crate::dialect::ollama::CHAT_API;
use crate::dialect::{Losses, Refusal, Translated};
use crate::openai::json::Kind;

/// Translates a body of `/api/chat` that was [peeked](crate::openai::peek()) at. The usage is always asked for, since
/// Ollama's streams tell it.
///
/// # Errors
/// When it is not what Ollama's must be, or holds a loss that is refused.
pub fn chat_request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut draft = Draft::new(target);
    for (key, value) in members.iter() {
        match key {
            "messages" => draft.messages = content::messages(value, &mut draft.losses)?,
            _ => draft.read(key, value)?,
        }
    }
    Ok(draft.finish())
}

/// Translates a body of `/api/generate`: the prompt becomes a user's message, for the model's template is to be applied.
///
/// # Errors
/// As [`chat_request`].
pub fn generate_request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut draft = Draft::new(target);
    for (key, value) in members.iter() {
        match key {
            "prompt" | "images" => {}
            "system" if is_neutral(value) => {}
            "system" => draft.messages.push(Object::new().text("role", "system").raw("content", value.get()).finish()),
            // Without a template of its own, or between two texts, it would be another answer.
            "template" | "suffix" | "raw" | "context" => draft.losses.demand_unless_neutral(key, value)?,
            _ => draft.read(key, value)?,
        }
    }
    draft.messages.push(content::user(&members.text("prompt").unwrap_or_default(), &members.list("images"))?);
    Ok(draft.finish())
}

struct Draft<'a> {
    target: &'a Target<'a>,
    losses: Losses,
    messages: Vec<String>,
    stream: bool,
    rest: Object,
}

impl<'a> Draft<'a> {
    fn new(target: &'a Target<'a>) -> Self {
        let losses = Losses::new(target.on_loss, CHAT_API);
        // Ollama streams unless told not to.
        Self { target, losses, messages: Vec::new(), stream: true, rest: Object::new() }
    }

    fn read(&mut self, key: &str, value: &RawValue) -> Result<(), Refusal> {
        match key {
            "model" => {}
            "stream" => self.stream = value.get() == "true",
            "options" => options::spread(value, self.target, &mut self.losses, &mut self.rest)?,
            "tools" => self.tools(value)?,
            "format" => self.format(value)?,
            "think" => self.think(value)?,
            _ if is_neutral(value) => {}
            _ if HINTS.contains(&key) => self.losses.hint(key)?,
            // `logprobs`, `top_logprobs`, and whatever the provider may know: it judges.
            _ => self.rest.put(key, value.get()),
        }
        Ok(())
    }

    fn tools(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let Some(tools) = list(value) else { return Err(Refusal::invalid("tools", "expected an array")) };
        let mut out = Vec::new();
        for (place, tool) in tools.into_iter().enumerate() {
            let function = Members::of(tool).and_then(|tool| tool.get("function")).and_then(Members::of);
            let Some(function) = function.filter(|function| function.text("name").is_some()) else {
                return Err(Refusal::invalid(format!("tools[{place}].function.name"), "it is missing"));
            };
            // What is null is Ollama's for nothing, and not OpenAI's.
            let mut named = Object::new();
            for (key, value) in function.iter() {
                named.put(key, value.get());
            }
            out.push(Object::of_type("function").raw("function", &named.finish()).finish());
        }
        if !out.is_empty() {
            self.rest.put("tools", &array(&out));
        }
        Ok(())
    }

    fn format(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let format = match (kind(value), text(value).as_deref()) {
            (_, Some("")) => return Ok(()),
            (_, Some("json")) => Object::of_type("json_object").finish(),
            (Kind::Object, _) => {
                let named = Object::new().text("name", "answer").raw("schema", value.get()).finish();
                Object::of_type("json_schema").raw("json_schema", &named).finish()
            }
            _ => return Err(Refusal::invalid("format", "expected `json` or a JSON schema")),
        };
        self.rest.put("response_format", &format);
        Ok(())
    }

    fn think(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let effort = match (value.get(), text(value).as_deref()) {
            // Models that think do so unless told not to.
            ("true", _) => return Ok(()),
            ("false", _) => "none",
            (_, Some("max")) => "xhigh",
            (_, Some("low")) => "low",
            (_, Some("medium")) => "medium",
            (_, Some("high")) => "high",
            _ => {
                let problem = "expected a boolean, or `low`, `medium`, `high` or `max`";
                return Err(Refusal::invalid("think", problem));
            }
        };
        self.rest.put("reasoning_effort", &quoted(effort));
        Ok(())
    }

    fn finish(mut self) -> Translated {
        if self.stream {
            self.rest.put("stream", "true");
            if !self.target.usage_unasked {
                self.rest.put("stream_options", r#"{"include_usage":true}"#);
            }
        }
        let mut out = format!("{{\"model\":{},\"messages\":{}", quoted(self.target.model), array(&self.messages));
        // The rest is an object of its own; what is in it goes on where the messages end.
        let rest = self.rest.finish();
        if rest.len() > "{}".len() {
            out.push(',');
        }
        out.push_str(&rest[1..]);
        Translated { body: out, dropped: self.losses.into_dropped() }
    }
}

/// What is about a model's loading and context, which other servers do by themselves.
const HINTS: [&str; 3] = ["keep_alive", "truncate", "shift"];
