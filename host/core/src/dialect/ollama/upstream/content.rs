//! A chat's messages as Ollama has them: the content is one text, images stand beside it, and the arguments of a call
//! are an object.

use serde_json::value::RawValue;

use crate::dialect::json::{Members, Object, array, is_neutral, kind, list, quoted, text};
use crate::dialect::{Losses, Refusal};
use crate::openai::json::Kind;

/// The value of `messages`, as JSON.
pub(super) fn messages(value: &RawValue, losses: &mut Losses) -> Result<String, Refusal> {
    let messages = list(value).unwrap_or_default();
    let mut out = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let Some(members) = Members::of(message) else {
            return Err(Refusal::invalid(format!("messages[{index}]"), "it is not an object"));
        };
        let all = &messages;
        out.extend(Message { members, index, all, losses }.translate()?);
    }
    Ok(array(&out))
}

struct Message<'a, 'l> {
    members: Members<'a>,
    index: usize,
    all: &'l [&'a RawValue],
    losses: &'l mut Losses,
}

/// What a message says.
#[derive(Default)]
struct Said {
    text: Option<String>,
    images: Vec<String>,
}

impl Said {
    fn say(&mut self, text: &str) {
        match &mut self.text {
            Some(before) => {
                before.push('\n');
                before.push_str(text);
            }
            None => self.text = Some(text.to_owned()),
        }
    }
}

impl<'a> Message<'a, '_> {
    /// `None`: all of it is lost.
    fn translate(mut self) -> Result<Option<String>, Refusal> {
        let role = self.members.text("role").unwrap_or_default();
        let role = match &*role {
            "developer" => "system",
            "system" => "system",
            "user" => "user",
            "assistant" => "assistant",
            "tool" => "tool",
            "function" => {
                self.losses.demand("messages.role=function")?;
                return Ok(None);
            }
            other => {
                let known = "`system`, `developer`, `user`, `assistant` or `tool`";
                return Err(self.wrong("role", format!("expected {known}, but got {other:?}")));
            }
        };
        for (key, value) in self.members.iter() {
            let is_read = READ.contains(&key) || (key == "name" && role == "tool");
            if !is_read && !is_neutral(value) {
                self.losses.hint(&format!("messages.{key}"))?;
            }
        }
        let said = self.content()?;
        let mut out = Object::new().text("role", role).text("content", said.text.as_deref().unwrap_or_default());
        if !said.images.is_empty() {
            out.put("images", &array(&said.images));
        }
        let thinking = ["reasoning_content", "reasoning", "thinking"].iter().find_map(|key| self.members.text(key));
        if let Some(thinking) = thinking.filter(|text| !text.is_empty()) {
            out.put("thinking", &quoted(&thinking));
        }
        let calls = self.calls()?;
        if !calls.is_empty() {
            out.put("tool_calls", &array(&calls));
        }
        if role == "tool" {
            self.tool_result(&mut out)?;
        }
        Ok(Some(out.finish()))
    }

    fn content(&mut self) -> Result<Said, Refusal> {
        let mut said = Said::default();
        if let Some(content) = self.members.get("content") {
            match kind(content) {
                Kind::String => said.say(&text(content).unwrap_or_default()),
                Kind::Array => {
                    for (place, part) in list(content).unwrap_or_default().into_iter().enumerate() {
                        self.part(place, part, &mut said)?;
                    }
                }
                Kind::Null | Kind::Boolean | Kind::Number | Kind::Object => {
                    return Err(self.wrong("content", "expected a string or an array".to_owned()));
                }
            }
        }
        if let Some(refusal) = self.members.text("refusal").filter(|text| !text.is_empty()) {
            said.say(&refusal);
        }
        // Ollama's own form, from clients that send it anyway.
        said.images.extend(self.members.list("images").iter().map(|image| image.get().to_owned()));
        Ok(said)
    }

    fn part(&mut self, place: usize, part: &'a RawValue, said: &mut Said) -> Result<(), Refusal> {
        let Some(members) = Members::of(part) else {
            return Err(self.wrong(&format!("content[{place}]"), "it is not an object".to_owned()));
        };
        match &*members.text("type").unwrap_or_default() {
            "text" => said.say(&members.text("text").unwrap_or_default()),
            "refusal" => said.say(&members.text("refusal").unwrap_or_default()),
            "image_url" => {
                let image = members.object("image_url");
                // Some clients leave the object out.
                let Some(url) = image.text("url").or_else(|| members.text("image_url")) else {
                    return Err(self.wrong(&format!("content[{place}].image_url.url"), "it is missing".to_owned()));
                };
                if image.text("detail").is_some_and(|detail| detail != "auto") {
                    self.losses.hint("messages.content.image_url.detail")?;
                }
                match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
                    Some((_, data)) => said.images.push(quoted(data)),
                    // Ollama fetches nothing.
                    None => self.losses.demand("messages.content.image_url.url (not a data: URL)")?,
                }
            }
            // Models that hear find it among the images.
            "input_audio" => {
                let audio = members.object("input_audio");
                let Some(data) = audio.text("data") else {
                    return Err(self.wrong(&format!("content[{place}].input_audio.data"), "it is missing".to_owned()));
                };
                said.images.push(quoted(&data));
            }
            other => {
                let param = format!("messages.content.type={other}");
                self.losses.demand(&param)?;
            }
        }
        Ok(())
    }

    fn calls(&mut self) -> Result<Vec<String>, Refusal> {
        let mut calls = Vec::new();
        for (place, call) in self.members.list("tool_calls").into_iter().enumerate() {
            let at = format!("tool_calls[{place}]");
            let Some(call) = Members::of(call) else {
                return Err(self.wrong(&at, "it is not an object".to_owned()));
            };
            if call.text("type").is_some_and(|kind| kind != "function") {
                self.losses.demand("messages.tool_calls.type")?;
                continue;
            }
            let function = call.object("function");
            let Some(name) = function.text("name") else {
                return Err(self.wrong(&at, "`function.name` is missing".to_owned()));
            };
            let given = function.text("arguments").unwrap_or_default();
            let arguments = match given.trim() {
                "" => "{}",
                text if Members::parse(text).is_some() => text,
                _ => {
                    let at = format!("{at}.function.arguments");
                    return Err(self.wrong(&at, "the text is not a JSON object".to_owned()));
                }
            };
            let function = Object::new().plain("index", place).text("name", &name).raw("arguments", arguments).finish();
            let mut out = Object::new();
            if let Some(id) = call.text("id") {
                out.put("id", &quoted(&id));
            }
            calls.push(out.raw("function", &function).finish());
        }
        Ok(calls)
    }

    /// Ollama's templates want the name of the tool, which OpenAI's clients say only in the call.
    fn tool_result(&self, out: &mut Object) -> Result<(), Refusal> {
        let Some(id) = self.members.text("tool_call_id") else {
            return Err(self.wrong("tool_call_id", "it is missing".to_owned()));
        };
        if let Some(name) = self.members.text("name").or_else(|| name_of(&id, self.all)) {
            out.put("tool_name", &quoted(&name));
        }
        out.put("tool_call_id", &quoted(&id));
        Ok(())
    }

    fn wrong(&self, field: &str, problem: String) -> Refusal {
        Refusal::invalid(format!("messages[{}].{field}", self.index), problem)
    }
}

/// The function that was called with this id, by the latest message that says so.
fn name_of<'a>(id: &str, messages: &[&'a RawValue]) -> Option<std::borrow::Cow<'a, str>> {
    let calls =
        messages.iter().rev().filter_map(|message| Members::of(message)).flat_map(|message| message.list("tool_calls"));
    calls.filter_map(Members::of).find(|call| call.text("id").as_deref() == Some(id))?.object("function").text("name")
}

/// Of a message; everything else is lost.
const READ: [&str; 9] = [
    "role",
    "content",
    "refusal",
    "images",
    "tool_calls",
    "tool_call_id",
    "reasoning_content",
    "reasoning",
    "thinking",
];
