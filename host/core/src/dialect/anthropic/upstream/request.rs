//! From a chat completions request to a Messages request.

use serde_json::value::RawValue;

use super::content::Conversation;
use crate::dialect::anthropic::MESSAGES_API;
use crate::dialect::json::{Members, Object, array, is_neutral, kind, list, quoted, text};
use crate::dialect::{Losses, OnLoss, Refusal, Translated};
use crate::openai::json::Kind;

/// Where the request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// `max_tokens`, which Anthropic requires, where the client says none.
    pub max_tokens: u32,
    /// What is done about what Anthropic cannot do.
    pub on_loss: OnLoss,
}

/// Every model that is served takes it.
pub const DEFAULT_MAX_TOKENS: u32 = 8192;

/// Translates a body that was [peeked](crate::openai::peek()) at.
///
/// # Errors
/// When it is not what chat completions must be, or holds a loss that is refused.
pub fn request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut draft = Draft::new(target);
    for (key, value) in members.iter() {
        draft.read(key, value)?;
    }
    draft.finish(target)
}

/// Fields as far as they have been read; values are JSON.
struct Draft<'a> {
    losses: Losses,
    conversation: Conversation,
    max_tokens: Option<&'a RawValue>,
    max_completion_tokens: Option<&'a RawValue>,
    tools: Vec<String>,
    choice: Option<Choice>,
    serial_tools: bool,
    user: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    effort: Option<String>,
    schema: Option<String>,
    output_config: Option<&'a RawValue>,
    thinking: Option<String>,
    rest: Vec<(String, String)>,
}

impl<'a> Draft<'a> {
    fn new(target: &Target<'_>) -> Self {
        Self {
            losses: Losses::new(target.on_loss, MESSAGES_API),
            conversation: Conversation::default(),
            max_tokens: None,
            max_completion_tokens: None,
            tools: Vec::new(),
            choice: None,
            serial_tools: false,
            user: None,
            metadata: None,
            effort: None,
            schema: None,
            output_config: None,
            thinking: None,
            rest: Vec::new(),
        }
    }

    fn read(&mut self, key: &str, value: &'a RawValue) -> Result<(), Refusal> {
        match key {
            "messages" => self.conversation = Conversation::read(value, &mut self.losses)?,
            "max_tokens" => self.max_tokens = Some(value),
            "max_completion_tokens" => self.max_completion_tokens = Some(value),
            "stop" => self.stop(value),
            "temperature" => self.temperature(value)?,
            "tools" => self.tools(value)?,
            "tool_choice" => self.tool_choice(value)?,
            "parallel_tool_calls" => self.serial_tools = value.get() == "false",
            "response_format" => self.response_format(value)?,
            "reasoning_effort" => self.reasoning_effort(value)?,
            "user" if self.user.is_none() => self.user = Some(value),
            "safety_identifier" => self.user = Some(value),
            // Anthropic's own form, from clients that send it anyway.
            "metadata" if is_user_id_alone(value) => self.metadata = Some(value),
            "thinking" => self.thinking = Some(value.get().to_owned()),
            "output_config" => self.output_config = Some(value),
            // What they say is true of every answer of Anthropic's, or is for the gateway.
            "model" | "user" | "stream_options" | "prompt_cache_key" => {}
            "n" if value.get() == "1" => {}
            "modalities" if value.get().replace(' ', "") == r#"["text"]"# => {}
            "service_tier" if matches!(value.get(), r#""auto""# | r#""default""#) => {}
            _ if DEMANDS.contains(&key) => self.losses.demand_unless_neutral(key, value)?,
            // A seed of zero is a seed.
            _ if HINTS.contains(&key) => {
                if key == "seed" || !is_neutral(value) {
                    self.losses.hint(key)?;
                }
            }
            // `stream`, `top_p`, and whatever Anthropic may know that OpenAI does not: it judges.
            _ => self.rest.push((key.to_owned(), value.get().to_owned())),
        }
        Ok(())
    }

    fn stop(&mut self, value: &RawValue) {
        let sequences = if kind(value) == Kind::String { format!("[{}]", value.get()) } else { value.get().to_owned() };
        if sequences != "[]" {
            self.rest.push(("stop_sequences".to_owned(), sequences));
        }
    }

    /// Anthropic's scale ends at 1, OpenAI's at 2.
    fn temperature(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let too_high = value.get().parse::<f64>().is_ok_and(|temperature| temperature > 1.0);
        if too_high {
            self.losses.hint("temperature above 1")?;
        }
        self.rest.push(("temperature".to_owned(), if too_high { "1".to_owned() } else { value.get().to_owned() }));
        Ok(())
    }

    fn tools(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let Some(tools) = list(value) else { return Err(Refusal::invalid("tools", "expected an array")) };
        for (place, tool) in tools.into_iter().enumerate() {
            let Some(members) = Members::of(tool) else {
                return Err(Refusal::invalid(format!("tools[{place}]"), "it is not an object"));
            };
            match &*members.text("type").unwrap_or_default() {
                "function" => self.tools.push(function(&members, place)?),
                "custom" if members.get("custom").is_some() => self.losses.demand("tools.type=custom")?,
                // One of Anthropic's own.
                _ => self.tools.push(tool.get().to_owned()),
            }
        }
        Ok(())
    }

    fn tool_choice(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let choice = match text(value).as_deref() {
            Some("auto") => Choice::Auto,
            Some("none") => Choice::None,
            Some("required") => Choice::Any,
            Some(other) => {
                let problem = format!("expected `none`, `auto`, `required` or an object, but got {other:?}");
                return Err(Refusal::invalid("tool_choice", problem));
            }
            None => {
                let members = Members::of(value);
                let name = members.as_ref().and_then(|choice| choice.object("function").text("name"));
                match name {
                    Some(name) => Choice::Tool(name.into_owned()),
                    None => return self.losses.demand("tool_choice"),
                }
            }
        };
        self.choice = Some(choice);
        Ok(())
    }

    fn response_format(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let format = Members::of(value);
        let kind = format.as_ref().and_then(|format| format.text("type"));
        match (kind.as_deref(), format) {
            (Some("text"), _) => Ok(()),
            (Some("json_schema"), Some(format)) => {
                let Some(schema) = format.object("json_schema").get("schema") else {
                    return Err(Refusal::invalid("response_format.json_schema.schema", "it is missing"));
                };
                self.schema = Some(Object::of_type("json_schema").raw("schema", schema.get()).finish());
                Ok(())
            }
            // Anthropic has no JSON without a schema.
            _ => self.losses.demand("response_format"),
        }
    }

    fn reasoning_effort(&mut self, value: &RawValue) -> Result<(), Refusal> {
        match text(value).as_deref() {
            Some("none") => self.thinking = self.thinking.take().or(Some(r#"{"type":"disabled"}"#.to_owned())),
            Some("minimal") => self.effort = Some("low".to_owned()),
            Some(effort) => self.effort = Some(effort.to_owned()),
            None => return Err(Refusal::invalid("reasoning_effort", "expected a string")),
        }
        Ok(())
    }

    fn finish(self, target: &Target<'_>) -> Result<Translated, Refusal> {
        // -1 is llama.cpp's word for no limit.
        let limit = self.max_completion_tokens.or(self.max_tokens).filter(|limit| !limit.get().starts_with('-'));
        let limit = limit.map_or_else(|| target.max_tokens.to_string(), |limit| limit.get().to_owned());
        let mut out = Object::new().text("model", target.model).raw("max_tokens", &limit);
        if !self.conversation.system.is_empty() {
            out.put("system", &array(&self.conversation.system));
        }
        out.put("messages", &self.conversation.turns());
        if !self.tools.is_empty() {
            out.put("tools", &array(&self.tools));
        }
        let serial = self.serial_tools && !self.tools.is_empty();
        if let Some(choice) = self.choice.or_else(|| serial.then_some(Choice::Auto)) {
            out.put("tool_choice", &choice.to_json(serial));
        }
        if let Some(config) = output_config(self.output_config, self.effort.as_deref(), self.schema.as_deref()) {
            out.put("output_config", &config);
        }
        let thinking = self.thinking.or_else(|| self.effort.map(|_| r#"{"type":"adaptive"}"#.to_owned()));
        if let Some(thinking) = thinking {
            out.put("thinking", &thinking);
        }
        if let Some(metadata) = self.metadata {
            out.put("metadata", metadata.get());
        } else if let Some(user) = self.user {
            out.put("metadata", &Object::new().raw("user_id", user.get()).finish());
        }
        for (key, value) in &self.rest {
            out.put(key, value);
        }
        Ok(Translated { body: out.finish(), dropped: self.losses.into_dropped() })
    }
}

/// How the model is to use the tools.
enum Choice {
    Auto,
    Any,
    None,
    Tool(String),
}

impl Choice {
    /// `serial`: one call at a time.
    fn to_json(&self, serial: bool) -> String {
        let choice = match self {
            Self::None => return Object::of_type("none").finish(),
            Self::Auto => Object::of_type("auto"),
            Self::Any => Object::of_type("any"),
            Self::Tool(name) => Object::of_type("tool").text("name", name),
        };
        if serial { choice.plain("disable_parallel_tool_use", true).finish() } else { choice.finish() }
    }
}

/// What the client gave in Anthropic's words wins.
fn output_config(given: Option<&RawValue>, effort: Option<&str>, format: Option<&str>) -> Option<String> {
    if given.is_none() && effort.is_none() && format.is_none() {
        return None;
    }
    let given = given.and_then(Members::of);
    let mut config = Object::new();
    for (key, value) in given.iter().flat_map(Members::iter) {
        config.put(key, value.get());
    }
    let has = |key| given.as_ref().is_some_and(|given| given.get(key).is_some());
    if let Some(effort) = effort.filter(|_| !has("effort")) {
        config.put("effort", &quoted(effort));
    }
    if let Some(format) = format.filter(|_| !has("format")) {
        config.put("format", format);
    }
    Some(config.finish())
}

fn function(tool: &Members<'_>, place: usize) -> Result<String, Refusal> {
    let function = tool.object("function");
    let Some(name) = function.text("name") else {
        return Err(Refusal::invalid(format!("tools[{place}].function.name"), "it is missing"));
    };
    let mut out = Object::new().text("name", &name);
    for (key, value) in function.iter() {
        match key {
            "description" => out.put(key, value.get()),
            "strict" if value.get() == "true" => out.put(key, "true"),
            _ => {}
        }
    }
    out.put("input_schema", function.get("parameters").map_or(NO_PARAMETERS, RawValue::get));
    // Such as `cache_control`.
    for (key, value) in tool.iter().filter(|(key, _)| !matches!(*key, "type" | "function")) {
        out.put(key, value.get());
    }
    Ok(out.finish())
}

fn is_user_id_alone(metadata: &RawValue) -> bool {
    Members::of(metadata).is_some_and(|metadata| metadata.iter().map(|(key, _)| key).eq(["user_id"]))
}

/// What shapes the answer, and Anthropic cannot do.
const DEMANDS: [&str; 8] =
    ["n", "logprobs", "top_logprobs", "modalities", "audio", "functions", "function_call", "web_search_options"];
/// What Anthropic has no word for, and an answer is an answer without.
const HINTS: [&str; 10] = [
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "store",
    "metadata",
    "prediction",
    "verbosity",
    "service_tier",
    "prompt_cache_retention",
];
const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;
