//! From a Messages request to a chat completions request.

use serde_json::value::RawValue;

use super::content;
use crate::dialect::json::{Members, Object, array, is_neutral, list, quoted};
use crate::dialect::{CHAT_API, Losses, OnLoss, OutputLimit, Refusal, Translated};

/// Where the request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// What it calls the longest answer.
    pub output_limit: OutputLimit,
    /// Whether a stream has its usage unasked. Else it is asked for, since a stream of Messages tells it.
    pub usage_unasked: bool,
    /// What is done about what OpenAI's dialect cannot do.
    pub on_loss: OnLoss,
}

/// Translates a body that was [peeked](crate::openai::peek()) at.
///
/// # Errors
/// When it is not what Messages must be, or holds a loss that is refused.
pub fn request(body: &str, target: &Target<'_>) -> Result<Translated, Refusal> {
    let Some(members) = Members::parse(body) else {
        return Err(Refusal::invalid("body", "it is not a JSON object"));
    };
    let mut draft = Draft {
        target,
        losses: Losses::new(target.on_loss, CHAT_API),
        system: None,
        messages: vec![],
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
    system: Option<String>,
    messages: Vec<String>,
    rest: Object,
}

impl Draft<'_> {
    fn read(&mut self, key: &str, value: &RawValue) -> Result<(), Refusal> {
        match key {
            "model" => {}
            "system" => self.system = content::system(value, &mut self.losses)?,
            "messages" => self.messages = content::messages(value, &mut self.losses)?,
            "max_tokens" => self.rest.put(self.target.output_limit.field(), value.get()),
            "stop_sequences" if !is_neutral(value) => self.rest.put("stop", value.get()),
            "stop_sequences" => {}
            "stream" => {
                self.rest.put(key, value.get());
                if value.get() == "true" && !self.target.usage_unasked {
                    self.rest.put("stream_options", r#"{"include_usage":true}"#);
                }
            }
            "tools" => self.tools(value)?,
            "tool_choice" => self.tool_choice(value)?,
            "metadata" => self.metadata(value)?,
            "output_config" => self.output_config(value)?,
            "output_format" => self.format(value)?,
            // Both tiers are what a provider does by itself.
            "service_tier" => {}
            _ if DEMANDS.contains(&key) => self.losses.demand_unless_neutral(key, value)?,
            _ if HINTS.contains(&key) => self.losses.hint_unless_neutral(key, value)?,
            // `temperature`, `top_p`, `top_k`, and whatever the provider may know: it judges.
            _ => self.rest.put(key, value.get()),
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
            if let Some(kind) = tool.text("type").filter(|kind| kind != "custom") {
                self.losses.demand(&format!("tools.type={kind}"))?;
                continue;
            }
            functions.push(self.function(&tool, place)?);
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
                "description" | "strict" => function.put(key, value.get()),
                "input_schema" => function.put("parameters", value.get()),
                "cache_control" => self.losses.hint(key)?,
                _ if is_neutral(value) => {}
                _ => self.losses.hint(&format!("tools.{key}"))?,
            }
        }
        Ok(Object::of_type("function").raw("function", &function.finish()).finish())
    }

    fn tool_choice(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let Some(choice) = Members::of(value) else {
            return Err(Refusal::invalid("tool_choice", "expected an object"));
        };
        let kind = choice.text("type").unwrap_or_default();
        match (&*kind, choice.text("name")) {
            ("auto", _) => self.rest.put("tool_choice", "\"auto\""),
            ("any", _) => self.rest.put("tool_choice", "\"required\""),
            ("none", _) => self.rest.put("tool_choice", "\"none\""),
            ("tool", Some(name)) => {
                let function = Object::new().text("name", &name).finish();
                self.rest.put("tool_choice", &Object::of_type("function").raw("function", &function).finish());
            }
            ("tool", None) => return Err(Refusal::invalid("tool_choice.name", "it is missing")),
            (other, _) => {
                let problem = format!("expected `auto`, `any`, `tool` or `none`, but got {other:?}");
                return Err(Refusal::invalid("tool_choice.type", problem));
            }
        }
        if choice.get("disable_parallel_tool_use").is_some_and(|value| value.get() == "true") {
            self.rest.put("parallel_tool_calls", "false");
        }
        Ok(())
    }

    fn metadata(&mut self, value: &RawValue) -> Result<(), Refusal> {
        for (key, value) in Members::of(value).iter().flat_map(Members::iter) {
            match key {
                "user_id" => self.rest.put("user", value.get()),
                _ => self.losses.hint(&format!("metadata.{key}"))?,
            }
        }
        Ok(())
    }

    fn output_config(&mut self, value: &RawValue) -> Result<(), Refusal> {
        for (key, value) in Members::of(value).iter().flat_map(Members::iter) {
            match key {
                // The one step that OpenAI does not have.
                "effort" if value.get() == "\"max\"" => self.rest.put("reasoning_effort", "\"xhigh\""),
                "effort" => self.rest.put("reasoning_effort", value.get()),
                "format" => self.format(value)?,
                _ => self.losses.hint(&format!("output_config.{key}"))?,
            }
        }
        Ok(())
    }

    fn format(&mut self, value: &RawValue) -> Result<(), Refusal> {
        let Some(schema) = Members::of(value).and_then(|format| format.get("schema")) else {
            return Err(Refusal::invalid("output_config.format.schema", "it is missing"));
        };
        let named = Object::new().text("name", "answer").raw("schema", schema.get()).plain("strict", true).finish();
        let format = Object::of_type("json_schema").raw("json_schema", &named).finish();
        self.rest.put("response_format", &format);
        Ok(())
    }

    fn finish(self) -> Translated {
        let messages: Vec<String> = self.system.into_iter().chain(self.messages).collect();
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

/// What shapes the answer or where it is made, and OpenAI's dialect cannot say.
const DEMANDS: [&str; 4] = ["container", "mcp_servers", "context_management", "inference_geo"];
/// What it has no word for, and an answer is an answer without.
const HINTS: [&str; 6] = ["thinking", "cache_control", "speed", "diagnostics", "user_profile_id", "workspace_id"];
