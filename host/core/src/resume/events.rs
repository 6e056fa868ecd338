//! The thread of Anthropic's events.

use super::Obstacle;
use super::thread::{Said, added, fresh};
use crate::dialect::json::{Members, Object};
use crate::dialect::write_event;
use crate::openai::Usage;

/// What the client knows of the message.
#[derive(Debug, Default)]
pub(super) struct Events {
    started: bool,
    /// Content blocks so far.
    blocks: u64,
    /// The last one is a text that has not ended.
    open: bool,
    later: Later,
}

/// How a later stream's blocks stand to the client's.
#[derive(Debug, Default)]
struct Later {
    /// Its first block will show whether the client's open text goes on with it.
    undecided: bool,
    /// Added to its indices.
    shift: u64,
    /// Its prompt, which it tells in the beginning that the client does not get.
    input: Option<u64>,
}

impl Events {
    pub(super) fn follow(&mut self, event: &Members<'_>, said: &mut Said) {
        match &*event.text("type").unwrap_or_default() {
            "message_start" => self.started = true,
            "content_block_start" => {
                let block = event.object("content_block");
                self.blocks = event.count("index").unwrap_or(self.blocks) + 1;
                let kind = block.text("type").unwrap_or_default();
                self.open = kind == "text";
                match &*kind {
                    "text" => said.text(&block.text("text").unwrap_or_default()),
                    "thinking" | "redacted_thinking" => said.keeps_from(Obstacle::Reasoning),
                    "tool_use" => said.keeps_from(Obstacle::Tools),
                    _ => said.keeps_from(Obstacle::Content),
                }
            }
            "content_block_delta" => {
                let delta = event.object("delta");
                match &*delta.text("type").unwrap_or_default() {
                    "text_delta" => said.text(&delta.text("text").unwrap_or_default()),
                    "thinking_delta" | "signature_delta" => said.keeps_from(Obstacle::Reasoning),
                    "input_json_delta" => said.keeps_from(Obstacle::Tools),
                    _ => said.keeps_from(Obstacle::Content),
                }
            }
            "content_block_stop" => self.open = false,
            "message_delta" if event.object("delta").get("stop_reason").is_some() => said.completed(),
            _ => {}
        }
    }

    /// The stream that comes now broke off.
    pub(super) fn breaks(&mut self) {
        self.later = Later { undecided: self.open, shift: self.blocks, input: None };
    }

    /// Writes what the client is to get of a later stream's event, which may be nothing.
    pub(super) fn join(&mut self, event: &Members<'_>, said: &mut Said, earlier: Usage, out: &mut Vec<u8>) {
        let name = event.text("type").unwrap_or_default();
        match &*name {
            "message_start" if self.started => {
                self.later.input = event.object("message").object("usage").count("input_tokens");
            }
            "content_block_start" => self.block_start(event, said, out),
            "content_block_delta" => {
                let delta = event.object("delta");
                let Some(text) = delta.text("text") else { return self.shifted(&name, event, out) };
                let new = said.without_overlap(&text);
                if !new.is_empty() {
                    text_delta(event.count("index").unwrap_or(0) + self.later.shift, new, out);
                }
            }
            "content_block_stop" => self.shifted(&name, event, out),
            "message_delta" => {
                self.end_open(out);
                let mut usage = added(&event.object("usage"), earlier, fresh(earlier));
                if let (Some(input), None) = (self.later.input, event.object("usage").get("input_tokens")) {
                    usage = usage.plain("input_tokens", input + u64::from(fresh(earlier)));
                }
                let changed = with(event, "usage", &usage.finish());
                write_event(out, &name, &changed);
            }
            _ => write_event(out, &name, &with(event, "", "")),
        }
    }

    fn block_start(&mut self, event: &Members<'_>, said: &mut Said, out: &mut Vec<u8>) {
        let block = event.object("content_block");
        let goes_on = self.later.undecided && block.text("type").as_deref() == Some("text");
        if !goes_on {
            self.end_open(out);
            return self.shifted("content_block_start", event, out);
        }
        self.later.undecided = false;
        self.later.shift -= 1;
        let text = block.text("text").unwrap_or_default();
        let new = said.without_overlap(&text);
        if !new.is_empty() {
            text_delta(self.later.shift, new, out);
        }
    }

    /// Ends the client's text where the later stream does not go on with it.
    fn end_open(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.later.undecided) {
            let event = Object::of_type("content_block_stop").plain("index", self.blocks - 1);
            write_event(out, "content_block_stop", &event.finish());
        }
    }

    fn shifted(&self, name: &str, event: &Members<'_>, out: &mut Vec<u8>) {
        let index = event.count("index").unwrap_or(0) + self.later.shift;
        write_event(out, name, &with(event, "index", &index.to_string()));
    }
}

fn text_delta(index: u64, text: &str, out: &mut Vec<u8>) {
    let delta = Object::of_type("text_delta").text("text", text).finish();
    let event = Object::of_type("content_block_delta").plain("index", index).raw("delta", &delta);
    write_event(out, "content_block_delta", &event.finish());
}

/// The event with another value of one member, if it has it.
fn with(event: &Members<'_>, changed: &str, value: &str) -> String {
    event.with(|key, _| (key == changed).then(|| value.to_owned()))
}
