//! From chat completion chunks to Messages events.

use std::mem;

use super::response::{Counts, Stop};
use super::{error, error_event};
use crate::dialect::StreamTranslator;
use crate::dialect::chat::{reasoning, spoken};
use crate::dialect::json::{Members, Object};
use crate::openai::UpstreamError;
use crate::sse;

/// Makes `message_start` and `ping` of the first chunk, content blocks of the deltas, and of the end `message_delta`
/// with reason and usage, and one `message_stop`.
#[derive(Debug)]
pub struct ToEvents {
    counts: Counts,
    /// Pieces of the answer: about its tokens, where the upstream does not count.
    pieces: u64,
    started: bool,
    /// Blocks so far; the last one may be open.
    blocks: usize,
    open: Open,
    called: bool,
    stop: Option<Stop>,
    ended: bool,
}

/// The content block that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thinking,
    /// The call of this index.
    Tool(u64),
}

impl ToEvents {
    /// At the beginning of a stream. `prompt_tokens` is an estimate, which counts until the upstream has counted.
    pub fn new(prompt_tokens: u32) -> Self {
        Self {
            counts: Counts::estimated(prompt_tokens),
            pieces: 0,
            started: false,
            blocks: 0,
            open: Open::Nothing,
            called: false,
            stop: None,
            ended: false,
        }
    }

    fn read(&mut self, chunk: &Members<'_>, out: &mut Vec<u8>) {
        if let Some(told) = chunk.get("error") {
            return self.fail(&UpstreamError::parse(told.get().as_bytes()), out);
        }
        if let Some(usage) = chunk.get("usage").and_then(Members::of) {
            self.counts = self.counts.with(&usage);
        }
        self.start(chunk, out);
        for choice in chunk.list("choices") {
            let Some(choice) = Members::of(choice) else { continue };
            // One choice was asked for.
            if choice.count("index").unwrap_or(0) > 0 {
                continue;
            }
            self.delta(&choice.object("delta"), out);
            if choice.get("finish_reason").is_some() {
                self.stop = Some(Stop::of(&choice, self.called));
            }
        }
    }

    fn start(&mut self, chunk: &Members<'_>, out: &mut Vec<u8>) {
        if mem::replace(&mut self.started, true) {
            return;
        }
        let message = Object::new()
            .text("id", &chunk.text("id").unwrap_or_default())
            .text("type", "message")
            .text("role", "assistant")
            .text("model", &chunk.text("model").unwrap_or_default())
            .raw("content", "[]")
            .raw("stop_reason", "null")
            .raw("stop_sequence", "null")
            .raw("usage", &self.counts.to_json());
        write(out, Object::of_type("message_start").raw("message", &message.finish()), "message_start");
        write(out, Object::of_type("ping"), "ping");
    }

    fn delta(&mut self, delta: &Members<'_>, out: &mut Vec<u8>) {
        if let Some(thinking) = reasoning(delta) {
            if self.open != Open::Thinking {
                let block = Object::of_type("thinking").text("thinking", "").text("signature", "");
                self.open(Open::Thinking, block, out);
            }
            self.block_delta(Object::of_type("thinking_delta").text("thinking", &thinking), out);
        }
        for text in spoken(delta) {
            if self.open != Open::Text {
                self.open(Open::Text, Object::of_type("text").text("text", ""), out);
            }
            self.block_delta(Object::of_type("text_delta").text("text", &text), out);
        }
        for call in delta.list("tool_calls") {
            let Some(call) = Members::of(call) else { continue };
            self.call(&call, out);
            if self.ended {
                return;
            }
        }
    }

    fn call(&mut self, call: &Members<'_>, out: &mut Vec<u8>) {
        let index = call.count("index").unwrap_or(0);
        let function = call.object("function");
        if self.open != Open::Tool(index) {
            let Some(name) = function.text("name") else {
                // Blocks come one after the other, so a call that was left cannot be taken up again.
                let message = "the upstream mixes the deltas of parallel tool calls, which Messages cannot tell";
                let told = UpstreamError { message: message.to_owned(), ..UpstreamError::default() };
                return self.fail(&told, out);
            };
            self.called = true;
            let block = Object::of_type("tool_use")
                .text("id", &call.text("id").unwrap_or_default())
                .text("name", &name)
                .raw("input", "{}");
            self.open(Open::Tool(index), block, out);
        }
        if let Some(piece) = function.text("arguments").filter(|piece| !piece.is_empty()) {
            self.block_delta(Object::of_type("input_json_delta").text("partial_json", &piece), out);
        }
    }

    fn open(&mut self, kind: Open, block: Object, out: &mut Vec<u8>) {
        self.close(out);
        self.open = kind;
        let event = Object::of_type("content_block_start").plain("index", self.blocks);
        write(out, event.raw("content_block", &block.finish()), "content_block_start");
        self.blocks += 1;
    }

    fn block_delta(&mut self, delta: Object, out: &mut Vec<u8>) {
        let event = Object::of_type("content_block_delta").plain("index", self.blocks.saturating_sub(1));
        write(out, event.raw("delta", &delta.finish()), "content_block_delta");
        self.pieces += 1;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if mem::replace(&mut self.open, Open::Nothing) != Open::Nothing {
            let event = Object::of_type("content_block_stop").plain("index", self.blocks.saturating_sub(1));
            write(out, event, "content_block_stop");
        }
    }
}

impl StreamTranslator for ToEvents {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let Some(data) = sse::data(event) else {
            // What keeps the connection alive is an event here.
            if event.starts_with(b":") && self.started {
                write(out, Object::of_type("ping"), "ping");
            }
            return;
        };
        if data.starts_with(b"[DONE]") {
            return self.end(out);
        }
        if let Some(chunk) = str::from_utf8(&data).ok().and_then(Members::parse) {
            self.read(&chunk, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if mem::replace(&mut self.ended, true) {
            return;
        }
        self.close(out);
        let stop = self.stop.take();
        let (reason, sequence) =
            stop.map_or(("end_turn", "null".to_owned()), |stop| (stop.reason, stop.sequence_json()));
        let delta = Object::new().text("stop_reason", reason).raw("stop_sequence", &sequence).finish();
        let counts = self.counts.or_output(self.pieces);
        let event = Object::of_type("message_delta").raw("delta", &delta).raw("usage", &counts.to_json());
        write(out, event, "message_delta");
        write(out, Object::of_type("message_stop"), "message_stop");
    }
    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.ended, true) {
            out.extend_from_slice(&error_event(&error(told, None)));
        }
    }
}

fn write(out: &mut Vec<u8>, data: Object, name: &str) {
    crate::dialect::write_event(out, name, &data.finish());
}
