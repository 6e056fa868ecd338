//! A chat's messages as Anthropic's system prompt and turns.
//!
//! System and developer messages become the system prompt. Neighbours of the same role become one turn, so that all
//! results of parallel tool calls stand in the turn after the calls, where they must be.

use serde_json::value::RawValue;

use crate::dialect::json::{Members, Object, array, is_neutral, kind, list, quoted, text};
use crate::dialect::{Losses, Refusal};
use crate::openai::json::Kind;

/// Blocks as JSON.
#[derive(Default)]
pub(super) struct Conversation {
    pub(super) system: Vec<String>,
    turns: Vec<Turn>,
}

struct Turn {
    role: &'static str,
    blocks: Vec<String>,
}

impl Conversation {
    /// The value of `messages`.
    pub(super) fn read(value: &RawValue, losses: &mut Losses) -> Result<Self, Refusal> {
        let mut conversation = Self::default();
        for (index, message) in list(value).unwrap_or_default().into_iter().enumerate() {
            let Some(members) = Members::of(message) else {
                return Err(Refusal::invalid(format!("messages[{index}]"), "it is not an object"));
            };
            Message { members, index, losses }.add_to(&mut conversation)?;
        }
        Ok(conversation)
    }

    /// The value of Anthropic's `messages`.
    pub(super) fn turns(&self) -> String {
        let turns: Vec<String> = self
            .turns
            .iter()
            .map(|turn| Object::new().text("role", turn.role).raw("content", &array(&turn.blocks)).finish())
            .collect();
        array(&turns)
    }

    fn say(&mut self, role: &'static str, blocks: Vec<String>) {
        match self.turns.last_mut().filter(|last| last.role == role) {
            Some(last) => last.blocks.extend(blocks),
            None if blocks.is_empty() => {}
            None => self.turns.push(Turn { role, blocks }),
        }
    }
}

struct Message<'a, 'l> {
    members: Members<'a>,
    index: usize,
    losses: &'l mut Losses,
}

impl<'a> Message<'a, '_> {
    fn add_to(mut self, conversation: &mut Conversation) -> Result<(), Refusal> {
        let role = self.members.text("role").unwrap_or_default();
        match &*role {
            "system" | "developer" => {
                if !conversation.turns.is_empty() {
                    self.losses.hint("messages.role (a system message's place)")?;
                }
                let blocks = self.content(&["name"])?;
                conversation.system.extend(blocks);
            }
            "user" => {
                let blocks = self.content(&["name"])?;
                conversation.say("user", blocks);
            }
            "assistant" => {
                let blocks = self.assistant()?;
                conversation.say("assistant", blocks);
            }
            "tool" => {
                let block = self.tool_result()?;
                conversation.say("user", vec![block]);
            }
            "function" => self.losses.demand("messages.role=function")?,
            other => {
                let known = "`system`, `developer`, `user`, `assistant` or `tool`";
                return Err(self.wrong("role", format!("expected {known}, but got {other:?}")));
            }
        }
        Ok(())
    }

    fn assistant(&mut self) -> Result<Vec<String>, Refusal> {
        let thinking = self.members.list("thinking_blocks");
        let mut blocks: Vec<String> = thinking.iter().map(|block| block.get().to_owned()).collect();
        if thinking.is_empty() && self.members.text("reasoning_content").is_some_and(|text| !text.is_empty()) {
            // Without its signature Anthropic takes no thinking back.
            self.losses.hint("messages.reasoning_content")?;
        }
        let said = self.content(&["name", "tool_calls", "reasoning_content", "thinking_blocks", "refusal"])?;
        blocks.extend(said.into_iter().filter(|block| block != EMPTY_TEXT));
        if let Some(refusal) = self.members.text("refusal").filter(|text| !text.is_empty()) {
            blocks.push(text_block(&refusal));
        }
        for (place, call) in self.members.list("tool_calls").into_iter().enumerate() {
            if let Some(block) = self.tool_use(place, call)? {
                blocks.push(block);
            }
        }
        Ok(blocks)
    }

    /// `content` as blocks. `read` names the members that somebody else reads.
    fn content(&mut self, read: &[&str]) -> Result<Vec<String>, Refusal> {
        for (key, value) in self.members.iter() {
            let is_read = matches!(key, "role" | "content") || (key != "name" && read.contains(&key));
            if !is_read && !is_neutral(value) {
                self.losses.hint(&format!("messages.{key}"))?;
            }
        }
        let Some(content) = self.members.get("content") else { return Ok(Vec::new()) };
        match kind(content) {
            Kind::String => Ok(vec![text_block(&text(content).unwrap_or_default())]),
            Kind::Array => {
                let mut blocks = Vec::new();
                for (place, part) in list(content).unwrap_or_default().into_iter().enumerate() {
                    blocks.extend(self.part(place, part)?);
                }
                Ok(blocks)
            }
            Kind::Null | Kind::Boolean | Kind::Number | Kind::Object => {
                Err(self.wrong("content", "expected a string or an array".to_owned()))
            }
        }
    }

    fn part(&mut self, place: usize, part: &'a RawValue) -> Result<Option<String>, Refusal> {
        let Some(members) = Members::of(part) else {
            return Err(self.wrong(&format!("content[{place}]"), "it is not an object".to_owned()));
        };
        let block = match &*members.text("type").unwrap_or_default() {
            "text" => {
                with_rest(Object::of_type("text").text("text", &members.text("text").unwrap_or_default()), &members)
            }
            "refusal" => text_block(&members.text("refusal").unwrap_or_default()),
            "image_url" => {
                let image = members.object("image_url");
                let Some(url) = image.text("url") else {
                    return Err(self.wrong(&format!("content[{place}].image_url.url"), "it is missing".to_owned()));
                };
                if image.text("detail").is_some_and(|detail| detail != "auto") {
                    self.losses.hint("messages.content.image_url.detail")?;
                }
                with_rest(Object::of_type("image").raw("source", &source(&url)), &members)
            }
            "file" => {
                let file = members.object("file");
                let Some(data) = file.text("file_data").filter(|data| data.starts_with("data:")) else {
                    self.losses.demand("messages.content.file")?;
                    return Ok(None);
                };
                let document = Object::of_type("document").raw("source", &source(&data));
                match file.text("filename") {
                    Some(name) => document.text("title", &name).finish(),
                    None => document.finish(),
                }
            }
            "input_audio" => {
                self.losses.demand("messages.content.input_audio")?;
                return Ok(None);
            }
            // Perhaps one of Anthropic's own, which some clients put here.
            _ => part.get().to_owned(),
        };
        Ok(Some(block))
    }

    fn tool_result(&mut self) -> Result<String, Refusal> {
        let Some(id) = self.members.text("tool_call_id") else {
            return Err(self.wrong("tool_call_id", "it is missing".to_owned()));
        };
        let blocks = self.content(&["tool_call_id"])?;
        Ok(Object::of_type("tool_result").text("tool_use_id", &id).raw("content", &array(&blocks)).finish())
    }

    fn tool_use(&mut self, place: usize, call: &'a RawValue) -> Result<Option<String>, Refusal> {
        let members = Members::of(call);
        let at = format!("tool_calls[{place}]");
        let Some(members) = members else { return Err(self.wrong(&at, "it is not an object".to_owned())) };
        if members.text("type").is_some_and(|kind| kind != "function") {
            self.losses.demand("messages.tool_calls.type")?;
            return Ok(None);
        }
        let function = members.object("function");
        let (Some(id), Some(name)) = (members.text("id"), function.text("name")) else {
            return Err(self.wrong(&at, "`id` or `function.name` is missing".to_owned()));
        };
        let arguments = function.text("arguments").unwrap_or_default();
        let input = match arguments.trim() {
            "" => "{}",
            text if Members::parse(text).is_some() => text,
            _ => {
                let at = format!("{at}.function.arguments");
                return Err(self.wrong(&at, "the text is not a JSON object".to_owned()));
            }
        };
        Ok(Some(Object::of_type("tool_use").text("id", &id).text("name", &name).raw("input", input).finish()))
    }

    fn wrong(&self, field: &str, problem: String) -> Refusal {
        Refusal::invalid(format!("messages[{}].{field}", self.index), problem)
    }
}

fn text_block(text: &str) -> String {
    Object::of_type("text").text("text", text).finish()
}

/// With members that OpenAI does not know, such as `cache_control`.
fn with_rest(mut block: Object, part: &Members<'_>) -> String {
    for (key, value) in part.iter().filter(|(key, _)| !matches!(*key, "type" | "text" | "image_url")) {
        block.put(key, value.get());
    }
    block.finish()
}

/// A `data:` URL as its content, any other as it is.
fn source(url: &str) -> String {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match inline {
        Some((media_type, data)) => {
            Object::of_type("base64").raw("media_type", &quoted(media_type)).raw("data", &quoted(data)).finish()
        }
        None => Object::of_type("url").text("url", url).finish(),
    }
}

/// Anthropic refuses text that is empty, and OpenAI's clients send it beside tool calls.
const EMPTY_TEXT: &str = r#"{"type":"text","text":""}"#;
