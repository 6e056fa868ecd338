//! The items of `input` as a chat's messages.
//!
//! A chat has one assistant message where Responses have an item for the text and one for each call, and only text in a
//! tool's message: an image that a tool gave follows in a user message.

use std::mem;

use serde_json::value::RawValue;

use crate::dialect::json::{Members, Object, array, is_neutral, kind, list, quoted, text};
use crate::dialect::{Losses, Refusal};
use crate::openai::json::Kind;

/// The value of `input` as messages.
pub(super) fn messages(value: &RawValue, takes_thoughts: bool, losses: &mut Losses) -> Result<Vec<String>, Refusal> {
    if kind(value) == Kind::String {
        return Ok(vec![message("user", value.get())]);
    }
    let Some(items) = list(value) else { return Err(Refusal::invalid("input", "expected a string or an array")) };
    let mut reader = Reader {
        at: String::new(),
        losses,
        takes_thoughts,
        messages: vec![],
        thoughts: vec![],
        said: None,
        calls: vec![],
        carried: vec![],
    };
    for (index, item) in items.into_iter().enumerate() {
        reader.at = format!("input[{index}]");
        let Some(item) = Members::of(item) else { return Err(reader.wrong("", "it is not an object")) };
        reader.item(&item)?;
    }
    reader.end_turn();
    reader.end_results();
    Ok(reader.messages)
}

/// A message whose content is JSON.
pub(super) fn message(role: &str, content: &str) -> String {
    Object::new().text("role", role).raw("content", content).finish()
}

struct Reader<'l> {
    /// Where the item is.
    at: String,
    losses: &'l mut Losses,
    takes_thoughts: bool,
    messages: Vec<String>,
    /// The assistant's turn that is open: what it thought, its text, and its calls.
    thoughts: Vec<String>,
    said: Option<String>,
    calls: Vec<String>,
    /// Parts that tools gave, for the user message after their results.
    carried: Vec<String>,
}

impl Reader<'_> {
    fn item(&mut self, item: &Members<'_>) -> Result<(), Refusal> {
        match item.text("type").as_deref().unwrap_or("message") {
            "message" => self.message(item),
            "function_call" => self.call(item),
            "function_call_output" => self.result(item),
            "reasoning" => self.reasoning(item),
            other => self.losses.demand(&format!("input.type={other}")),
        }
    }

    fn message(&mut self, item: &Members<'_>) -> Result<(), Refusal> {
        self.extras(item, "input", &["role", "content", "id", "status", "phase"])?;
        let Some(content) = item.get("content") else { return Err(self.wrong(".content", "it is missing")) };
        let role = match &*item.text("role").unwrap_or_default() {
            "user" => "user",
            // The newer name is not known everywhere; the older one is.
            "system" | "developer" => "system",
            "assistant" => return self.assistant(content),
            other => {
                let problem = format!("expected `user`, `assistant`, `system` or `developer`, but got {other:?}");
                return Err(self.wrong(".role", &problem));
            }
        };
        self.end_turn();
        self.end_results();
        if kind(content) == Kind::String {
            self.messages.push(message(role, content.get()));
            return Ok(());
        }
        let parts = self.parts(content, ".content")?;
        match &parts[..] {
            [] => {}
            // A text alone is what every server understands.
            [Part::Text(text)] => self.messages.push(message(role, &quoted(text))),
            parts => {
                let parts: Vec<String> = parts.iter().map(Part::to_json).collect();
                self.messages.push(message(role, &array(&parts)));
            }
        }
        Ok(())
    }

    fn assistant(&mut self, content: &RawValue) -> Result<(), Refusal> {
        self.end_turn();
        self.end_results();
        let mut said = String::new();
        if let Some(text) = text(content) {
            said.push_str(&text);
        } else {
            for part in self.part_objects(content, ".content")? {
                match &*part.text("type").unwrap_or_default() {
                    "output_text" | "input_text" | "text" => {
                        said.push_str(&part.text("text").unwrap_or_default());
                    }
                    "refusal" => said.push_str(&part.text("refusal").unwrap_or_default()),
                    other => self.losses.demand(&format!("input.content.{other}"))?,
                }
            }
        }
        self.said = Some(said);
        Ok(())
    }

    /// What a model thought goes back to where it was told with its signature. No other can take it.
    fn reasoning(&mut self, item: &Members<'_>) -> Result<(), Refusal> {
        let kept = item.text("encrypted_content").filter(|_| self.takes_thoughts);
        let Some(blocks) = kept.as_deref().and_then(thoughts) else {
            return self.losses.hint("input.type=reasoning");
        };
        self.end_turn();
        self.end_results();
        self.thoughts = blocks;
        Ok(())
    }

    fn call(&mut self, item: &Members<'_>) -> Result<(), Refusal> {
        self.extras(item, "input", &["call_id", "name", "arguments", "id", "status"])?;
        let (Some(id), Some(name)) = (item.text("call_id"), item.text("name")) else {
            return Err(self.wrong("", "`call_id` or `name` of a `function_call` is missing"));
        };
        self.end_results();
        let arguments = item.text("arguments").unwrap_or_default();
        let function = Object::new().text("name", &name).text("arguments", &arguments).finish();
        self.calls.push(Object::new().text("id", &id).text("type", "function").raw("function", &function).finish());
        Ok(())
    }

    fn result(&mut self, item: &Members<'_>) -> Result<(), Refusal> {
        self.extras(item, "input", &["call_id", "output", "id", "status"])?;
        let Some(id) = item.text("call_id") else {
            return Err(self.wrong(".call_id", "it is missing"));
        };
        self.end_turn();
        let mut said = String::new();
        match item.get("output") {
            Some(output) if kind(output) == Kind::String => said = text(output).unwrap_or_default().into_owned(),
            Some(output) => {
                for part in self.parts(output, ".output")? {
                    match part {
                        Part::Text(more) if said.is_empty() => said = more,
                        Part::Text(more) => {
                            said.push_str("\n\n");
                            said.push_str(&more);
                        }
                        Part::Other(json) => self.carried.push(json),
                    }
                }
            }
            None => return Err(self.wrong(".output", "it is missing")),
        }
        self.messages
            .push(Object::new().text("role", "tool").text("tool_call_id", &id).text("content", &said).finish());
        Ok(())
    }

    /// The assistant's turn is over.
    fn end_turn(&mut self) {
        let (said, calls) = (self.said.take(), mem::take(&mut self.calls));
        if said.is_none() && calls.is_empty() {
            return;
        }
        let content = said.filter(|said| !said.is_empty() || calls.is_empty());
        let mut turn = Object::new()
            .text("role", "assistant")
            .raw("content", &content.as_deref().map_or("null".to_owned(), quoted));
        let thoughts = mem::take(&mut self.thoughts);
        if !thoughts.is_empty() {
            turn.put("thinking_blocks", &array(&thoughts));
        }
        self.messages.push(if calls.is_empty() {
            turn.finish()
        } else {
            turn.raw("tool_calls", &array(&calls)).finish()
        });
    }

    /// No further result of this turn's tools comes.
    fn end_results(&mut self) {
        if !self.carried.is_empty() {
            self.messages.push(message("user", &array(&mem::take(&mut self.carried))));
        }
    }

    fn parts(&mut self, content: &RawValue, field: &str) -> Result<Vec<Part>, Refusal> {
        let mut parts = Vec::new();
        for part in self.part_objects(content, field)? {
            parts.extend(self.part(&part)?);
        }
        Ok(parts)
    }

    fn part_objects<'a>(&self, content: &'a RawValue, field: &str) -> Result<Vec<Members<'a>>, Refusal> {
        let Some(parts) = list(content) else { return Err(self.wrong(field, "expected a string or an array")) };
        let parts = parts.into_iter().enumerate().map(|(index, part)| {
            Members::of(part).ok_or_else(|| self.wrong(&format!("{field}[{index}]"), "it is not an object"))
        });
        parts.collect()
    }

    /// `None` where it is left out.
    fn part(&mut self, part: &Members<'_>) -> Result<Option<Part>, Refusal> {
        let json = match &*part.text("type").unwrap_or_default() {
            "input_text" | "output_text" | "text" => {
                self.extras(part, "input.content", &["text", "annotations", "logprobs"])?;
                return Ok(Some(Part::Text(part.text("text").unwrap_or_default().into_owned())));
            }
            "input_image" => {
                self.extras(part, "input.content", &["image_url", "detail", "file_id"])?;
                let Some(url) = part.text("image_url") else {
                    return self.losses.demand("input.content.file_id").map(|()| None);
                };
                let mut image = Object::new().text("url", &url);
                if let Some(detail) = part.get("detail") {
                    image.put("detail", detail.get());
                }
                Object::of_type("image_url").raw("image_url", &image.finish())
            }
            "input_file" => {
                self.extras(part, "input.content", &["filename", "file_data", "file_id", "file_url"])?;
                let Some(data) = part.text("file_data") else {
                    let lost = if part.get("file_url").is_some() { "file_url" } else { "file_id" };
                    return self.losses.demand(&format!("input.content.{lost}")).map(|()| None);
                };
                let name = part.text("filename");
                let file =
                    Object::new().text("filename", name.as_deref().unwrap_or("document.pdf")).text("file_data", &data);
                Object::of_type("file").raw("file", &file.finish())
            }
            "input_audio" => {
                let audio = part.get("input_audio").map_or("{}", RawValue::get);
                Object::of_type("input_audio").raw("input_audio", audio)
            }
            other => return self.losses.demand(&format!("input.content.{other}")).map(|()| None),
        };
        Ok(Some(Part::Other(json.finish())))
    }

    /// Members that a chat does not have.
    fn extras(&mut self, members: &Members<'_>, place: &str, known: &[&str]) -> Result<(), Refusal> {
        for (key, value) in members.iter() {
            if key != "type" && !known.contains(&key) && !is_neutral(value) {
                self.losses.hint(&format!("{place}.{key}"))?;
            }
        }
        Ok(())
    }

    fn wrong(&self, field: &str, problem: &str) -> Refusal {
        Refusal::invalid(format!("{}{field}", self.at), problem)
    }
}

/// The inverse of [`sealed`](super::response::sealed).
fn thoughts(sealed: &str) -> Option<Vec<String>> {
    let blocks: Vec<&RawValue> = serde_json::from_str(sealed).ok()?;
    let are_thoughts = blocks.iter().all(|block| {
        let kind = Members::of(block).and_then(|block| block.text("type"));
        matches!(kind.as_deref(), Some("thinking" | "redacted_thinking"))
    });
    (are_thoughts && !blocks.is_empty()).then(|| blocks.iter().map(|block| block.get().to_owned()).collect())
}

/// A part of a message's content.
enum Part {
    Text(String),
    /// As JSON.
    Other(String),
}

impl Part {
    fn to_json(&self) -> String {
        match self {
            Self::Text(text) => Object::of_type("text").text("text", text).finish(),
            Self::Other(json) => json.clone(),
        }
    }
}
