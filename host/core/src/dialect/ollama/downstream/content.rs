//! A chat's messages as OpenAI has them: images are parts of the content, the arguments of a call are a text, and each
//! result names its call.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dialect::json::{Members, Object, array, is_neutral, list, quoted, text};
use crate::dialect::{Losses, Refusal};

/// The value of `messages`, as JSON.
pub(super) fn messages(value: &RawValue, losses: &mut Losses) -> Result<Vec<String>, Refusal> {
    let mut open = Vec::new();
    let mut out = Vec::new();
    for (index, message) in list(value).unwrap_or_default().into_iter().enumerate() {
        let Some(members) = Members::of(message) else {
            return Err(Refusal::invalid(format!("messages[{index}]"), "it is not an object"));
        };
        for (key, value) in members.iter() {
            if !READ.contains(&key) && !is_neutral(value) {
                losses.hint(&format!("messages.{key}"))?;
            }
        }
        out.push(Message { members, index, open: &mut open }.translate()?);
    }
    Ok(out)
}

/// A user's message.
pub(super) fn user(prompt: &str, images: &[&RawValue]) -> Result<String, Refusal> {
    Ok(Object::new().text("role", "user").raw("content", &content(prompt, images, "images")?).finish())
}

/// A call that no result has come for.
struct Open {
    id: String,
    name: String,
}

struct Message<'a, 'o> {
    members: Members<'a>,
    index: usize,
    open: &'o mut Vec<Open>,
}

impl Message<'_, '_> {
    fn translate(mut self) -> Result<String, Refusal> {
        // Ollama takes any case.
        let role = self.members.text("role").unwrap_or_default().to_lowercase();
        if !["system", "user", "assistant", "tool"].contains(&&*role) {
            let problem = format!("expected `system`, `user`, `assistant` or `tool`, but got {role:?}");
            return Err(self.wrong("role", problem));
        }
        let said = self.members.text("content").unwrap_or_default();
        let images = self.members.list("images");
        let said = content(&said, &images, &format!("messages[{}].images", self.index))?;
        let mut out = Object::new().text("role", &role).raw("content", &said);
        if let Some(thinking) = self.members.text("thinking").filter(|text| !text.is_empty()) {
            out.put("reasoning_content", &quoted(&thinking));
        }
        let calls = self.calls()?;
        if !calls.is_empty() {
            out.put("tool_calls", &array(&calls));
        }
        if role == "tool" {
            out.put("tool_call_id", &quoted(&self.answered()));
        }
        Ok(out.finish())
    }

    fn calls(&mut self) -> Result<Vec<String>, Refusal> {
        let mut calls = Vec::new();
        for (place, call) in self.members.list("tool_calls").into_iter().enumerate() {
            let Some(call) = Members::of(call) else {
                return Err(self.wrong(&format!("tool_calls[{place}]"), "it is not an object".to_owned()));
            };
            let function = call.object("function");
            let Some(name) = function.text("name") else {
                return Err(self.wrong(&format!("tool_calls[{place}].function.name"), "it is missing".to_owned()));
            };
            let arguments = function.get("arguments").map_or("{}", |arguments| arguments.get());
            let own = call.text("id").filter(|id| !id.is_empty());
            let id = own.map_or_else(|| format!("call_{}_{place}", self.index), Cow::into_owned);
            let out = Object::new().text("name", &name).text("arguments", arguments).finish();
            calls.push(Object::new().text("id", &id).text("type", "function").raw("function", &out).finish());
            self.open.push(Open { id, name: name.into_owned() });
        }
        Ok(calls)
    }

    /// The id of the call that the message is the result of: as it says, else the first open one of its tool, else the
    /// first open one.
    fn answered(&mut self) -> String {
        let own = self.members.text("tool_call_id").filter(|id| !id.is_empty());
        let name = self.members.text("tool_name").or_else(|| self.members.text("name")).unwrap_or_default();
        let place = match &own {
            Some(id) => self.open.iter().position(|open| open.id == **id),
            None => {
                let same = self.open.iter().position(|open| open.name == name);
                same.or((!self.open.is_empty()).then_some(0))
            }
        };
        let open = place.map(|place| self.open.remove(place).id);
        own.map(Cow::into_owned).or(open).unwrap_or_else(|| format!("call_{}", self.index))
    }

    fn wrong(&self, field: &str, problem: String) -> Refusal {
        Refusal::invalid(format!("messages[{}].{field}", self.index), problem)
    }
}

/// A text, or a text and images.
fn content(said: &str, images: &[&RawValue], at: &str) -> Result<String, Refusal> {
    if images.is_empty() {
        return Ok(quoted(said));
    }
    let mut parts = Vec::with_capacity(images.len() + 1);
    if !said.is_empty() {
        parts.push(Object::of_type("text").text("text", said).finish());
    }
    for (place, image) in images.iter().enumerate() {
        let Some(data) = text(image) else {
            return Err(Refusal::invalid(format!("{at}[{place}]"), "expected a string of base64"));
        };
        let url = format!("data:{};base64,{data}", media_type(&data));
        parts.push(Object::of_type("image_url").raw("image_url", &Object::new().text("url", &url).finish()).finish());
    }
    Ok(array(&parts))
}

/// By the first bytes, which Ollama's clients leave to the server.
fn media_type(base64: &str) -> &'static str {
    [("/9j/", "image/jpeg"), ("R0lG", "image/gif"), ("UklG", "image/webp")]
        .iter()
        .find(|(first, _)| base64.starts_with(first))
        .map_or("image/png", |(_, media_type)| media_type)
}

/// Of a message; everything else is lost.
const READ: [&str; 8] = ["role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id", "name"];
