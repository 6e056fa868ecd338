//! From Messages events to chat completion chunks.

use std::mem;

use super::response::{Counts, finish_reason, thinking_block};
use crate::dialect::chat::ChunkHead;
use crate::dialect::json::{Members, Object, array};
use crate::dialect::{StreamTranslator, data_or_comment, write_data};
use crate::openai::UpstreamError;

/// Makes one chunk of each event that says something, a last one with the usage if it is wanted, and one `[DONE]`.
#[derive(Debug)]
pub struct ToChunks {
    created: u64,
    include_usage: bool,
    id: String,
    model: String,
    counts: Counts,
    block: Block,
    calls: usize,
    reason: Option<&'static str>,
    ended: bool,
}

/// The content block that is open.
#[derive(Debug, Default)]
enum Block {
    /// Text, or one that OpenAI has no word for.
    #[default]
    Plain,
    /// All of the thinking, since its signature comes last and is worth nothing without it.
    Thinking { text: String, signature: String },
    /// A call, whether any of its arguments have come, and what it began with.
    Tool { index: usize, any: bool, input: String },
}

impl ToChunks {
    /// At the beginning of a stream. `created` is its time, in seconds since 1970.
    pub fn new(created: u64, include_usage: bool) -> Self {
        Self {
            created,
            include_usage,
            id: String::new(),
            model: String::new(),
            counts: Counts::default(),
            block: Block::Plain,
            calls: 0,
            reason: None,
            ended: false,
        }
    }

    fn read(&mut self, event: &Members<'_>, out: &mut Vec<u8>) {
        match &*event.text("type").unwrap_or_default() {
            "message_start" => {
                let message = event.object("message");
                self.id = message.text("id").unwrap_or_default().into_owned();
                self.model = message.text("model").unwrap_or_default().into_owned();
                self.counts = self.counts.with(&message.object("usage"));
                self.delta(&Object::new().text("role", "assistant").text("content", ""), out);
            }
            "content_block_start" => self.block_start(&event.object("content_block"), out),
            "content_block_delta" => self.block_delta(&event.object("delta"), out),
            "content_block_stop" => self.block_stop(out),
            "message_delta" => {
                self.counts = self.counts.with(&event.object("usage"));
                if let Some(reason) = event.object("delta").text("stop_reason") {
                    self.reason = Some(finish_reason(&reason));
                }
            }
            "message_stop" => self.end(out),
            "error" => {
                let error = event.get("error").map_or("", |error| error.get());
                self.fail(&UpstreamError::parse(error.as_bytes()), out);
            }
            // `ping`, and what may come.
            _ => {}
        }
    }

    fn block_start(&mut self, block: &Members<'_>, out: &mut Vec<u8>) {
        self.block = match &*block.text("type").unwrap_or_default() {
            "thinking" => Block::Thinking { text: String::new(), signature: String::new() },
            "tool_use" => {
                let index = self.calls;
                self.calls += 1;
                let function =
                    Object::new().text("name", &block.text("name").unwrap_or_default()).text("arguments", "").finish();
                let call = Object::new()
                    .plain("index", index)
                    .text("id", &block.text("id").unwrap_or_default())
                    .text("type", "function")
                    .raw("function", &function);
                self.delta(&Object::new().raw("tool_calls", &array(&[call.finish()])), out);
                Block::Tool {
                    index,
                    any: false,
                    input: block.get("input").map_or("{}", |input| input.get()).to_owned(),
                }
            }
            "redacted_thinking" => {
                let data = block.text("data").unwrap_or_default();
                let block = Object::of_type("redacted_thinking").text("data", &data).finish();
                self.delta(&Object::new().raw("thinking_blocks", &array(&[block])), out);
                Block::Plain
            }
            _ => {
                if let Some(text) = block.text("text").filter(|text| !text.is_empty()) {
                    self.delta(&Object::new().text("content", &text), out);
                }
                Block::Plain
            }
        };
    }

    fn block_delta(&mut self, delta: &Members<'_>, out: &mut Vec<u8>) {
        let kind = delta.text("type").unwrap_or_default();
        match (&*kind, &mut self.block) {
            ("text_delta", _) => {
                let text = delta.text("text").unwrap_or_default();
                self.delta(&Object::new().text("content", &text), out);
            }
            ("thinking_delta", Block::Thinking { text, .. }) => {
                let more = delta.text("thinking").unwrap_or_default();
                text.push_str(&more);
                self.delta(&Object::new().text("reasoning_content", &more), out);
            }
            ("signature_delta", Block::Thinking { signature, .. }) => {
                signature.push_str(&delta.text("signature").unwrap_or_default());
            }
            ("input_json_delta", Block::Tool { index, any, .. }) => {
                let piece = delta.text("partial_json").unwrap_or_default();
                if !piece.is_empty() {
                    *any = true;
                    let index = *index;
                    self.arguments(index, &piece, out);
                }
            }
            // Citations, and the input of tools that Anthropic runs itself.
            _ => {}
        }
    }

    fn block_stop(&mut self, out: &mut Vec<u8>) {
        match mem::take(&mut self.block) {
            Block::Thinking { text, signature } => {
                if let Some(block) = thinking_block(Some(&text), Some(&signature)) {
                    self.delta(&Object::new().raw("thinking_blocks", &array(&[block])), out);
                }
            }
            // A call without parameters has no deltas.
            Block::Tool { index, any: false, input } => self.arguments(index, &input, out),
            Block::Tool { .. } | Block::Plain => {}
        }
    }

    fn arguments(&self, index: usize, piece: &str, out: &mut Vec<u8>) {
        let function = Object::new().text("arguments", piece).finish();
        let call = Object::new().plain("index", index).raw("function", &function).finish();
        self.delta(&Object::new().raw("tool_calls", &array(&[call])), out);
    }

    fn delta(&self, delta: &Object, out: &mut Vec<u8>) {
        self.choice(delta, None, out);
    }

    fn choice(&self, delta: &Object, reason: Option<&str>, out: &mut Vec<u8>) {
        let choice = Object::new().plain("index", 0).raw("delta", &delta.closed());
        let choice = match reason {
            Some(reason) => choice.text("finish_reason", reason),
            None => choice.raw("finish_reason", "null"),
        };
        self.chunk(&array(&[choice.finish()]), None, out);
    }

    fn chunk(&self, choices: &str, usage: Option<&str>, out: &mut Vec<u8>) {
        let object = "chat.completion.chunk";
        let head = ChunkHead { object, id: &self.id, created: self.created, model: &self.model };
        head.write(choices, self.include_usage.then(|| usage.unwrap_or("null")), out);
    }
}

impl StreamTranslator for ToChunks {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let Some(data) = data_or_comment(event, out) else { return };
        if let Some(event) = str::from_utf8(&data).ok().and_then(Members::parse) {
            self.read(&event, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if mem::replace(&mut self.ended, true) {
            return;
        }
        self.choice(&Object::new(), Some(self.reason.unwrap_or("stop")), out);
        if self.include_usage {
            self.chunk("[]", Some(&self.counts.to_json()), out);
        }
        write_data(out, "[DONE]");
    }
    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.ended, true) {
            out.extend_from_slice(&super::error(told).to_event());
        }
    }
}
