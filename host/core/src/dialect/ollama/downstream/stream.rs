//! From chat completion chunks to the lines of `/api/chat` and `/api/generate`.

use std::mem;

use super::response::{Counts, Done, Head, done_reason, tool_call};
use super::{Told, error, error_line};
use crate::dialect::StreamTranslator;
use crate::dialect::chat::{reasoning, spoken};
use crate::dialect::json::{Members, Object};
use crate::openai::UpstreamError;
use crate::sse;

/// Makes one line of each chunk that says something, and a last one with the reason and the counts. Calls are told when
/// they are whole: at the end, for their arguments come in pieces.
#[derive(Debug)]
pub struct ToLines {
    told: Told,
    model: String,
    created: Option<u64>,
    counts: Counts,
    /// Pieces of the answer: about its tokens, where the upstream does not count.
    pieces: u64,
    calls: Vec<Call>,
    reason: &'static str,
    ended: bool,
}

#[derive(Debug, Default)]
struct Call {
    index: u64,
    id: String,
    name: String,
    arguments: String,
}

impl ToLines {
    /// At the beginning of a stream.
    pub fn new(told: Told) -> Self {
        Self {
            told,
            model: String::new(),
            created: None,
            counts: Counts::default(),
            pieces: 0,
            calls: Vec::new(),
            reason: "stop",
            ended: false,
        }
    }

    fn read(&mut self, chunk: &Members<'_>, out: &mut Vec<u8>) {
        if let Some(told) = chunk.get("error") {
            let told = UpstreamError::parse(told.get().as_bytes());
            return self.fail(&told, out);
        }
        self.counts = self.counts.with(chunk);
        if self.model.is_empty() {
            self.model = chunk.text("model").unwrap_or_default().into_owned();
        }
        self.created = chunk.count("created").or(self.created);
        for choice in chunk.list("choices") {
            let Some(choice) = Members::of(choice) else { continue };
            // One choice was asked for.
            if choice.count("index").unwrap_or(0) > 0 {
                continue;
            }
            self.delta(&choice, out);
            if let Some(reason) = choice.text("finish_reason") {
                self.reason = done_reason(&reason);
            }
        }
    }

    fn delta(&mut self, choice: &Members<'_>, out: &mut Vec<u8>) {
        let delta = choice.object("delta");
        for call in delta.list("tool_calls") {
            let Some(call) = Members::of(call) else { continue };
            self.call(&call);
        }
        let text: String = spoken(&delta).collect();
        let thinking = reasoning(&delta).unwrap_or_default();
        if text.is_empty() && thinking.is_empty() {
            return;
        }
        self.pieces += 1;
        let mut line = self.head();
        self.told.write(&mut line, &text, &thinking, &[]);
        if let Some(logprobs) = choice.object("logprobs").get("content") {
            line.put("logprobs", logprobs.get());
        }
        write(out, line.plain("done", false));
    }

    fn call(&mut self, piece: &Members<'_>) {
        let index = piece.count("index").unwrap_or(0);
        let place = self.calls.iter().position(|call| call.index == index).unwrap_or_else(|| {
            self.calls.push(Call { index, ..Call::default() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[place];
        let function = piece.object("function");
        call.id.push_str(&piece.text("id").unwrap_or_default());
        call.name.push_str(&function.text("name").unwrap_or_default());
        call.arguments.push_str(&function.text("arguments").unwrap_or_default());
        self.pieces += 1;
    }

    fn head(&self) -> Object {
        Head { model: &self.model, created: self.created }.open()
    }
}

impl StreamTranslator for ToLines {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        // Ollama's clients take every line for JSON, so a comment has no place.
        let Some(data) = sse::data(event) else { return };
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
        let calls: Vec<String> = mem::take(&mut self.calls)
            .iter()
            .enumerate()
            .map(|(place, call)| tool_call(&call.id, place, &call.name, &call.arguments))
            .collect();
        if !calls.is_empty() {
            let mut line = self.head();
            self.told.write(&mut line, "", "", &calls);
            write(out, line.plain("done", false));
        }
        let mut line = self.head();
        self.told.write(&mut line, "", "", &[]);
        if self.counts.completion == 0 {
            self.counts.completion = self.pieces;
        }
        write(out, Done { reason: self.reason, counts: self.counts }.write(line));
    }

    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.ended, true) {
            out.extend_from_slice(&error_line(&error(told)));
        }
    }
}

fn write(out: &mut Vec<u8>, line: Object) {
    out.extend_from_slice(line.finish().as_bytes());
    out.push(b'\n');
}
