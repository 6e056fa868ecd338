//! From a Responses request to a chat completions request.

use serde_json::value::RawValue;

use super::input;
use crate::dialect::chat::OutputLimit;
use crate::dialect::json::{Members, Object, array, is_neutral, kind, list, quoted, text};
use crate::dialect::{Losses, OnLoss, Refusal, Translated};
use crate::openai::json::Kind;

/// Where the request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// For messages to people: the API that answers in the end.
    pub api: &'static str,
    /// What it calls the longest answer.
    pub output_limit: OutputLimit,
    /// Whether a stream has its usage unasked. Else it is asked for, since a stream of Responses tells it.
    pub usage_unasked: bool,
    /// Whether it takes back what a model thought, with its signatures.
    pub takes_thoughts: bool,
    /// What is done about what chat completions cannot do.
    pub on_loss: OnLoss,
}

/// Translates a body that was [peeked](crate::openai::peek()) at.
///
/// # Errors
/// When it is not what Responses must be, or holds a loss that is refused.
pub fn request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut draft = Draft {
        target,
        losses: Losses::new(target.on_loss, target.api),
        instructions: None,
        messages: vec![],
        logprobs: false,
        rest: Object::new(),
    };
    for (key, value) in members.iter() {
        draft.read(key, value)?;
    }
    Ok(draft.finish())
}

struct Draft<'a> {
    target: &'a Target<'a>,
    losses: Losses,
    instructions: Option<String>,
    messages: Vec<String>,
    logprobs: bool,
    rest: Object,
}

impl Draft<'_> {
    fn read(&mut self, key: &str, value: &RawValue) -> Result<(), Refusal> {
        match key {
            // The answer repeats what is only for whoever reads it.
            "model" | "metadata" => {}
            "input" => self.messages = input::messages(value, self.target.takes_thoughts, &mut self.losses)?,
            "instructions" if kind(value) != Kind::String => {
                return Err(Refusal::invalid(key, "expected a string"));
            }
            "instructions" if !is_neutral(value) => self.instructions = Some(input::message("system", value.get())),
            "instructions" => {}
            "max_output_tokens" => self.rest.put(self.target.output_limit.field(), value.get()),
            "stream" => {
                self.rest.put(key, value.get());
                if value.get() == "true" && !self.target.usage_unasked {
                    self.rest.put("stream_options", r#"{"include_usage":true}"#);
                }
            }
            "stream_options" => self.stream_options(value)?,
            "tools" => self.tools(value)?,
            "tool_choice" => self.tool_choice(value)?,
            "text" => self.text(value)?,
            "reasoning" => self.reasoning(value)?,
            "include" => self.include(value)?,
            "top_logprobs" if is_neutral(value) => {}
            "top_logprobs" => {
                self.logprobs = true;
                self.rest.put(key, value.get());
            }
            "truncation" if value.get() == r#""disabled""# => {}
            _ if DEMANDS.contains(&key) => self.losses.demand_unless_neutral(key, value)?,
            _ if HINTS.contains(&key) => self.losses.hint_unless_neutral(key, value)?,
            // `temperature`, `top_p`, `parallel_tool_calls`, `user`, `service_tier` and others have the same name and
            // meaning; whatever else the provider may know, it judges.
            _ => self.rest.put(key, value.get()),
        }
        Ok(())
    }

    fn stream_options(&mut self, value: &RawValue) -> Result<(), Refusal> {
        for (key, value) in Members::of(value).iter().flat_map(Members::iter) {
            if !is_neutral(value) {
                self.losses.hint(&format!("stream_options.{key}"))?;
            }
        }
        Ok(())
    }

    fn tools(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let Some(tools) = list(value) else { return Err(Refusal::invalid("tools", "expected an array")) };
        let mut functions = Vec::new();
        for (place, tool) in tools.into_iter().enumerate() {
            let Some(tool) = Members::of(tool) else {
                return Err(Refusal::invalid(format!("tools[{place}]"), "it is not an object"));
            };
            match tool.text("type").as_deref() {
                Some("function") => functions.push(self.function(&tool, place)?),
                // Those that OpenAI runs itself, and those whose calls are no JSON.
                Some(other) => self.losses.demand(&format!("tools.type={other}"))?,
                None => return Err(Refusal::invalid(format!("tools[{place}].type"), "it is missing")),
            }
        }
        if !functions.is_empty() {
            self.rest.put("tools", &array(&functions));
        }
        Ok(())
    }

    fn function(&mut self, tool: &Members<'_>, place: usize) -> Result<String, Refusal> {
        let Some(name) = tool.text("name") else {
            return Err(Refusal::invalid(format!("tools[{place}].name"), "it is missing"));
        };
        let mut function = Object::new().text("name", &name);
        for (key, value) in tool.iter() {
            match key {
                "type" | "name" => {}
                "description" | "parameters" | "strict" => function.put(key, value.get()),
                _ if is_neutral(value) => {}
                _ => self.losses.hint(&format!("tools.{key}"))?,
            }
        }
        Ok(Object::of_type("function").raw("function", &function.finish()).finish())
    }

    fn tool_choice(&mut self, value: &RawValue) -> Result<(), Refusal> {
        if let Some(word) = text(value) {
            if !matches!(&*word, "none" | "auto" | "required") {
                let problem = format!("expected `none`, `auto`, `required` or an object, but got {word:?}");
                return Err(Refusal::invalid("tool_choice", problem));
            }
            self.rest.put("tool_choice", value.get());
            return Ok(());
        }
        let choice = Members::of(value);
        let kind = choice.as_ref().and_then(|choice| choice.text("type"));
        match (kind.as_deref(), choice.and_then(|choice| choice.text("name"))) {
            (Some("function"), Some(name)) => {
                let function = Object::new().text("name", &name).finish();
                self.rest.put("tool_choice", &Object::of_type("function").raw("function", &function).finish());
                Ok(())
            }
            (Some("function"), None) => Err(Refusal::invalid("tool_choice.name", "it is missing")),
            (Some(_), _) => self.losses.demand("tool_choice"),
            (None, _) => Err(Refusal::invalid("tool_choice.type", "it is missing")),
        }
    }

    fn text(&mut self, value: &RawValue) -> Result<(), Refusal> {
        for (key, value) in Members::of(value).iter().flat_map(Members::iter) {
            match key {
                "format" => self.format(value)?,
                "verbosity" => self.rest.put(key, value.get()),
                _ if is_neutral(value) => {}
                _ => self.losses.hint(&format!("text.{key}"))?,
            }
        }
        Ok(())
    }

    fn format(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let Some(format) = Members::of(value) else {
            return Err(Refusal::invalid("text.format", "expected an object"));
        };
        match &*format.text("type").unwrap_or_default() {
            "text" => Ok(()),
            "json_object" => {
                self.rest.put("response_format", r#"{"type":"json_object"}"#);
                Ok(())
            }
            "json_schema" => {
                for needed in ["name", "schema"] {
                    if format.get(needed).is_none() {
                        return Err(Refusal::invalid(format!("text.format.{needed}"), "it is missing"));
                    }
                }
                let mut schema = Object::new();
                for (key, value) in format.iter().filter(|(key, _)| *key != "type") {
                    schema.put(key, value.get());
                }
                let format = Object::of_type("json_schema").raw("json_schema", &schema.finish());
                self.rest.put("response_format", &format.finish());
                Ok(())
            }
            other => {
                let problem = format!("expected `text`, `json_object` or `json_schema`, but got {other:?}");
                Err(Refusal::invalid("text.format.type", problem))
            }
        }
    }

    fn reasoning(&mut self, value: &RawValue) -> Result<(), Refusal> {
        for (key, value) in Members::of(value).iter().flat_map(Members::iter) {
            match key {
                "effort" => self.rest.put("reasoning_effort", value.get()),
                _ if is_neutral(value) => {}
                _ => self.losses.hint(&format!("reasoning.{key}"))?,
            }
        }
        Ok(())
    }

    fn include(&mut self, value: &RawValue) -> Result<(), Refusal> {
        for wanted in list(value).unwrap_or_default() {
            match &*text(wanted).unwrap_or_default() {
                "message.output_text.logprobs" => self.logprobs = true,
                other => self.losses.hint(&format!("include={other}"))?,
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Translated {
        if self.logprobs {
            self.rest.put("logprobs", "true");
        }
        let messages: Vec<String> = self.instructions.into_iter().chain(self.messages).collect();
        let mut out = format!("{{\"model\":{},\"messages\":{}", quoted(self.target.model), array(&messages));
        // The rest is an object of its own; what is in it goes on where the messages end.
        let rest = self.rest.finish();
        if rest.len() > "{}".len() {
            out.push(',');
        }
        out.push_str(&rest[1..]);
        Translated { body: out, dropped: self.losses.into_dropped() }
    }
}

/// The name of a field as a client of Responses knows it, where a further translation speaks of a chat's.
pub fn named_as_asked(param: &str) -> &str {
    match param {
        "response_format" => "text.format",
        "reasoning_effort" => "reasoning.effort",
        "verbosity" => "text.verbosity",
        "logprobs" => "include=message.output_text.logprobs",
        other => other,
    }
}

/// What shapes the answer or what it is an answer to, and chat completions cannot say.
const DEMANDS: [&str; 6] =
    ["previous_response_id", "conversation", "prompt", "background", "context_management", "moderation"];
/// What they have no word for, and an answer is an answer without.
const HINTS: [&str; 4] = ["store", "max_tool_calls", "truncation", "prompt_cache_options"];
