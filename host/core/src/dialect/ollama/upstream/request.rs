//! From a chat completions request to one of `/api/chat`.

use serde_json::value::RawValue;

use super::options::Options;
use super::{Target, content};
use crate::dialect::json::{Members, Object, array, is_neutral, list, text};
use crate::dialect::ollama::OLLAMA_API;
use crate::dialect::{Losses, Refusal, Translated};

/// Translates a body that was [peeked](crate::openai::peek()) at.
///
/// # Errors
/// When it is not what chat completions must be, or holds a loss that is refused.
pub fn request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut draft = Draft {
        losses: Losses::new(target.on_loss, OLLAMA_API),
        messages: "[]".to_owned(),
        stream: "false",
        tools: Vec::new(),
        withheld: false,
        format: None,
        think: None,
        options: Options::default(),
        rest: Vec::new(),
    };
    for (key, value) in members.iter() {
        draft.read(key, value)?;
    }
    Ok(draft.finish(target))
}

/// Fields as far as they have been read; values are JSON.
struct Draft<'a> {
    losses: Losses,
    messages: String,
    /// Always said, since Ollama streams unless told not to.
    stream: &'a str,
    tools: Vec<&'a str>,
    /// `tool_choice` is `none`: a model that is offered none calls none.
    withheld: bool,
    format: Option<String>,
    think: Option<String>,
    options: Options<'a>,
    rest: Vec<(String, &'a str)>,
}

impl<'a> Draft<'a> {
    fn read(&mut self, key: &str, value: &'a RawValue) -> Result<(), Refusal> {
        match key {
            "messages" => self.messages = content::messages(value, &mut self.losses)?,
            "stream" => self.stream = value.get(),
            "tools" => self.tools(value)?,
            "tool_choice" => self.tool_choice(value)?,
            "response_format" => self.response_format(value)?,
            "reasoning_effort" if self.think.is_none() => self.think = Some(think(value, "reasoning_effort")?),
            "reasoning" => {
                if let Some(effort) = Members::of(value).and_then(|reasoning| reasoning.get("effort")) {
                    self.think = Some(think(effort, "reasoning.effort")?);
                }
            }
            // Ollama's own forms, from clients that send them anyway.
            "think" => self.think = Some(value.get().to_owned()),
            "format" => self.format = Some(value.get().to_owned()),
            _ if self.options.read(key, value) => {}
            // What they say is true of every answer of Ollama's, or is for the gateway.
            "model" | "user" | "stream_options" | "prompt_cache_key" | "safety_identifier" | "reasoning_effort" => {}
            "n" if value.get() == "1" => {}
            "parallel_tool_calls" if value.get() == "true" => {}
            "modalities" if value.get().replace(' ', "") == r#"["text"]"# => {}
            "service_tier" if matches!(value.get(), r#""auto""# | r#""default""#) => {}
            _ if DEMANDS.contains(&key) => self.losses.demand_unless_neutral(key, value)?,
            // `parallel_tool_calls: false` asks for something.
            _ if HINTS.contains(&key) => {
                if key == "parallel_tool_calls" || !is_neutral(value) {
                    self.losses.hint(key)?;
                }
            }
            // `logprobs`, `top_logprobs`, `keep_alive`, and whatever Ollama may know that OpenAI does not: it judges.
            _ => self.rest.push((key.to_owned(), value.get())),
        }
        Ok(())
    }

    fn tools(&mut self, value: &'a RawValue) -> Result<(), Refusal> {
        let Some(tools) = list(value) else { return Err(Refusal::invalid("tools", "expected an array")) };
        for (place, tool) in tools.into_iter().enumerate() {
            let Some(members) = Members::of(tool) else {
                return Err(Refusal::invalid(format!("tools[{place}]"), "it is not an object"));
            };
            match &*members.text("type").unwrap_or_default() {
                "function" if members.object("function").text("name").is_some() => self.tools.push(tool.get()),
                "function" => return Err(Refusal::invalid(format!("tools[{place}].function.name"), "it is missing")),
                other => self.losses.demand(&format!("tools.type={other}"))?,
            }
        }
        Ok(())
    }

    fn tool_choice(&mut self, value: &RawValue) -> Result<(), Refusal> {
        match text(value).as_deref() {
            Some("auto") => Ok(()),
            Some("none") => {
                self.withheld = true;
                Ok(())
            }
            Some("required") | None => self.losses.demand("tool_choice"),
            Some(other) => {
                let problem = format!("expected `none`, `auto`, `required` or an object, but got {other:?}");
                Err(Refusal::invalid("tool_choice", problem))
            }
        }
    }

    fn response_format(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let format = Members::of(value);
        let kind = format.as_ref().and_then(|format| format.text("type"));
        match (kind.as_deref(), format) {
            (Some("text"), _) => Ok(()),
            (Some("json_object"), _) => {
                self.format.get_or_insert_with(|| r#""json""#.to_owned());
                Ok(())
            }
            (Some("json_schema"), Some(format)) => {
                let Some(schema) = format.object("json_schema").get("schema") else {
                    return Err(Refusal::invalid("response_format.json_schema.schema", "it is missing"));
                };
                self.format.get_or_insert_with(|| schema.get().to_owned());
                Ok(())
            }
            _ => self.losses.demand("response_format"),
        }
    }

    fn finish(self, target: &Target<'_>) -> Translated {
        let mut out = Object::new().text("model", target.model).raw("messages", &self.messages);
        out.put("stream", self.stream);
        if !self.withheld && !self.tools.is_empty() {
            let tools: Vec<String> = self.tools.iter().map(|tool| (*tool).to_owned()).collect();
            out.put("tools", &array(&tools));
        }
        if let Some(format) = &self.format {
            out.put("format", format);
        }
        if let Some(think) = &self.think {
            out.put("think", think);
        }
        if let Some(options) = self.options.to_json() {
            out.put("options", &options);
        }
        for (key, value) in &self.rest {
            out.put(key, value);
        }
        Translated { body: out.finish(), dropped: self.losses.into_dropped() }
    }
}

/// The value of `think`, as Ollama's own `/v1` makes it of an effort.
fn think(effort: &RawValue, param: &str) -> Result<String, Refusal> {
    match text(effort).as_deref() {
        Some("none") => Ok("false".to_owned()),
        Some("minimal") => Ok(r#""low""#.to_owned()),
        Some("low" | "medium" | "high" | "max") => Ok(effort.get().to_owned()),
        Some("xhigh" | "ultra") => Ok(r#""max""#.to_owned()),
        Some(other) => {
            let known = "`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`";
            Err(Refusal::invalid(param, format!("expected {known}, but got {other:?}")))
        }
        None => Err(Refusal::invalid(param, "expected a string")),
    }
}

/// What shapes the answer, and Ollama cannot do.
const DEMANDS: [&str; 6] = ["n", "modalities", "audio", "functions", "function_call", "web_search_options"];
/// What Ollama has no word for, and an answer is an answer without.
const HINTS: [&str; 8] = [
    "logit_bias",
    "store",
    "metadata",
    "prediction",
    "verbosity",
    "service_tier",
    "prompt_cache_retention",
    "parallel_tool_calls",
];
