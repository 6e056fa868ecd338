//! Anthropic's system prompt and turns as a chat's messages.
//!
//! OpenAI has a message for each tool result, and only text in it: an image that a tool gave follows in a user message.

use serde_json::value::RawValue;

use crate::dialect::json::{Members, Object, array, is_neutral, kind, list, quoted, text};
use crate::dialect::{Losses, Refusal};
use crate::openai::json::Kind;

/// The value of `system` as a message; `None` when it is empty.
pub(super) fn system(value: &RawValue, losses: &mut Losses) -> Result<Option<String>, Refusal> {
    let mut reader = Reader { at: "system".to_owned(), losses };
    let text = reader.plain_text(value)?;
    Ok((!text.is_empty()).then(|| message("system", &quoted(&text))))
}

/// The value of `messages` as messages.
pub(super) fn messages(value: &RawValue, losses: &mut Losses) -> Result<Vec<String>, Refusal> {
    let mut messages = Vec::new();
    for (index, turn) in list(value).unwrap_or_default().into_iter().enumerate() {
        let mut reader = Reader { at: format!("messages[{index}]"), losses };
        let Some(turn) = Members::of(turn) else { return Err(reader.wrong("", "it is not an object")) };
        let Some(content) = turn.get("content") else { return Err(reader.wrong(".content", "it is missing")) };
        reader.at.push_str(".content");
        match &*turn.text("role").unwrap_or_default() {
            "user" => reader.user(content, &mut messages)?,
            "assistant" => messages.extend(reader.assistant(content)?),
            "system" => messages.push(message("system", &quoted(&reader.plain_text(content)?))),
            other => {
                let problem = format!("expected `user`, `assistant` or `system`, but got {other:?}");
                return Err(Refusal::invalid(format!("messages[{index}].role"), problem));
            }
        }
    }
    Ok(messages)
}

struct Reader<'l> {
    at: String,
    losses: &'l mut Losses,
}

impl Reader<'_> {
    fn user(&mut self, content: &RawValue, messages: &mut Vec<String>) -> Result<(), Refusal> {
        if kind(content) == Kind::String {
            messages.push(message("user", content.get()));
            return Ok(());
        }
        let mut parts = Vec::new();
        for block in self.blocks(content)? {
            if block.text("type").as_deref() == Some("tool_result") {
                messages.push(self.tool_result(&block, &mut parts)?);
            } else {
                self.part(&block, &mut parts)?;
            }
        }
        if !parts.is_empty() {
            messages.push(message("user", &array(&parts)));
        }
        Ok(())
    }

    fn assistant(&mut self, content: &RawValue) -> Result<Option<String>, Refusal> {
        if kind(content) == Kind::String {
            return Ok(Some(message("assistant", content.get())));
        }
        let mut said = String::new();
        let mut calls = Vec::new();
        for block in self.blocks(content)? {
            match &*block.text("type").unwrap_or_default() {
                "text" => {
                    self.extras(&block, &["text"])?;
                    said.push_str(&block.text("text").unwrap_or_default());
                }
                // No other provider can take it back.
                "thinking" | "redacted_thinking" => self.losses.hint("messages.content.thinking")?,
                "tool_use" => {
                    self.extras(&block, &["id", "name", "input", "caller"])?;
                    let (Some(id), Some(name)) = (block.text("id"), block.text("name")) else {
                        return Err(self.wrong("", "`id` or `name` of a `tool_use` is missing"));
                    };
                    let input = block.get("input").map_or("{}", RawValue::get);
                    let function = Object::new().text("name", &name).text("arguments", input).finish();
                    calls.push(
                        Object::new().text("id", &id).text("type", "function").raw("function", &function).finish(),
                    );
                }
                other => self.losses.demand(&format!("messages.content.{other}"))?,
            }
        }
        if said.is_empty() && calls.is_empty() {
            return Ok(None);
        }
        let content = if said.is_empty() { "null".to_owned() } else { quoted(&said) };
        let out = Object::new().text("role", "assistant").raw("content", &content);
        Ok(Some(if calls.is_empty() { out.finish() } else { out.raw("tool_calls", &array(&calls)).finish() }))
    }

    fn part(&mut self, block: &Members<'_>, parts: &mut Vec<String>) -> Result<(), Refusal> {
        match &*block.text("type").unwrap_or_default() {
            "text" => {
                self.extras(block, &["text"])?;
                parts.push(text_part(&block.text("text").unwrap_or_default()));
            }
            "image" => {
                self.extras(block, &["source"])?;
                match url(&block.object("source")) {
                    Some(url) => {
                        let image = Object::new().text("url", &url).finish();
                        parts.push(Object::of_type("image_url").raw("image_url", &image).finish());
                    }
                    None => self.losses.demand("messages.content.image.source")?,
                }
            }
            "document" => {
                self.extras(block, &["source", "title"])?;
                let source = block.object("source");
                match &*source.text("type").unwrap_or_default() {
                    "text" => parts.push(text_part(&source.text("data").unwrap_or_default())),
                    "content" => {
                        if let Some(content) = source.get("content") {
                            parts.push(text_part(&self.plain_text(content)?));
                        }
                    }
                    "base64" => {
                        let name = block.text("title");
                        let file = Object::new()
                            .text("filename", name.as_deref().unwrap_or("document.pdf"))
                            .text("file_data", &url(&source).unwrap_or_default());
                        parts.push(Object::of_type("file").raw("file", &file.finish()).finish());
                    }
                    _ => self.losses.demand("messages.content.document.source")?,
                }
            }
            other => self.losses.demand(&format!("messages.content.{other}"))?,
        }
        Ok(())
    }

    /// A message with the text; what is no text goes to `others`.
    fn tool_result(&mut self, block: &Members<'_>, others: &mut Vec<String>) -> Result<String, Refusal> {
        self.extras(block, &["tool_use_id", "content"])?;
        let Some(id) = block.text("tool_use_id") else {
            return Err(self.wrong("", "`tool_use_id` of a `tool_result` is missing"));
        };
        let mut said = String::new();
        match block.get("content") {
            Some(content) if kind(content) == Kind::String => said = text(content).unwrap_or_default().into_owned(),
            Some(content) => {
                for inner in self.blocks(content)? {
                    if inner.text("type").as_deref() == Some("text") {
                        self.extras(&inner, &["text"])?;
                        join(&mut said, &inner.text("text").unwrap_or_default());
                    } else {
                        self.part(&inner, others)?;
                    }
                }
            }
            None => {}
        }
        Ok(Object::new().text("role", "tool").text("tool_call_id", &id).text("content", &said).finish())
    }

    /// A text, or text blocks as one text.
    fn plain_text(&mut self, value: &RawValue) -> Result<String, Refusal> {
        if kind(value) == Kind::String {
            return Ok(text(value).unwrap_or_default().into_owned());
        }
        let mut said = String::new();
        for block in self.blocks(value)? {
            if block.text("type").as_deref() == Some("text") {
                self.extras(&block, &["text"])?;
                join(&mut said, &block.text("text").unwrap_or_default());
            } else {
                return Err(self.wrong("", "expected text blocks alone"));
            }
        }
        Ok(said)
    }

    fn blocks<'a>(&self, value: &'a RawValue) -> Result<Vec<Members<'a>>, Refusal> {
        let blocks = list(value).ok_or_else(|| self.wrong("", "expected a string or an array"))?;
        let blocks = blocks
            .into_iter()
            .map(|block| Members::of(block).ok_or_else(|| self.wrong("", "a block is not an object")));
        blocks.collect()
    }

    /// Members of a block that OpenAI's parts do not have.
    fn extras(&mut self, block: &Members<'_>, known: &[&str]) -> Result<(), Refusal> {
        for (key, value) in block.iter() {
            match key {
                "type" => {}
                _ if known.contains(&key) || is_neutral(value) => {}
                "cache_control" => self.losses.hint(key)?,
                _ => self.losses.hint(&format!("messages.content.{key}"))?,
            }
        }
        Ok(())
    }

    fn wrong(&self, field: &str, problem: &str) -> Refusal {
        Refusal::invalid(format!("{}{field}", self.at), problem)
    }
}

fn message(role: &str, content: &str) -> String {
    Object::new().text("role", role).raw("content", content).finish()
}

fn text_part(text: &str) -> String {
    Object::of_type("text").text("text", text).finish()
}

fn join(said: &mut String, more: &str) {
    if !said.is_empty() {
        said.push_str("\n\n");
    }
    said.push_str(more);
}

/// A source as one URL; `None` when it is a file at Anthropic.
fn url(source: &Members<'_>) -> Option<String> {
    match &*source.text("type")? {
        "url" => Some(source.text("url")?.into_owned()),
        "base64" => Some(format!("data:{};base64,{}", source.text("media_type")?, source.text("data")?)),
        _ => None,
    }
}
