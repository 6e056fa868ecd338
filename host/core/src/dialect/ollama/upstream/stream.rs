//! From the lines of `/api/chat` and `/api/generate` to chunks of chat completions and completions.

use std::mem;

use super::Stamp;
use super::response::{calls, finish_reason, is_done, logprobs, usage};
use crate::dialect::chat::ChunkHead;
use crate::dialect::json::{Members, Object, array, quoted};
use crate::dialect::{StreamTranslator, write_data};
use crate::openai::UpstreamError;
use crate::sse;

/// Makes one chunk of each line that says something, a last one with the usage if it is wanted, and one `[DONE]`.
#[derive(Debug)]
pub struct ToChunks {
    stamp: Stamp,
    include_usage: bool,
    /// Completions have texts where chats have deltas.
    text: bool,
    model: String,
    begun: bool,
    calls: usize,
    reason: &'static str,
    usage: Option<String>,
    ended: bool,
}

impl ToChunks {
    /// At the beginning of a chat's stream.
    pub fn of_chat(stamp: Stamp, include_usage: bool) -> Self {
        Self {
            stamp,
            include_usage,
            text: false,
            model: String::new(),
            begun: false,
            calls: 0,
            reason: "stop",
            usage: None,
            ended: false,
        }
    }

    /// At the beginning of a completion's stream.
    pub fn of_completion(stamp: Stamp, include_usage: bool) -> Self {
        Self { text: true, ..Self::of_chat(stamp, include_usage) }
    }

    fn read(&mut self, line: &Members<'_>, out: &mut Vec<u8>) {
        if line.get("error").is_some() {
            let told = line.get("error").map_or("", |error| error.get());
            let told = UpstreamError::parse(format!("{{\"error\":{told}}}").as_bytes());
            return self.fail(&told, out);
        }
        if self.model.is_empty() {
            self.model = line.text("model").unwrap_or_default().into_owned();
        }
        let done = is_done(line);
        if self.text {
            self.piece(line, done, out)
        } else {
            self.delta(line, done, out)
        }
        if done {
            self.reason = finish_reason(line, self.calls > 0);
            self.usage = Some(usage(line));
            self.end(out);
        }
    }

    fn delta(&mut self, line: &Members<'_>, done: bool, out: &mut Vec<u8>) {
        let message = line.object("message");
        let mut delta = Object::new();
        let first = !mem::replace(&mut self.begun, true);
        if first {
            delta.put("role", r#""assistant""#);
        }
        let mut says = first;
        for (key, name) in [("thinking", "reasoning_content"), ("content", "content")] {
            let text = message.text(key).unwrap_or_default();
            // A first delta has a content, as OpenAI's has.
            if !text.is_empty() || (first && key == "content") {
                delta.put(name, &quoted(&text));
                says = true;
            }
        }
        let calls = calls(&message, &self.stamp.id, self.calls);
        if !calls.is_empty() {
            self.calls += calls.len();
            delta.put("tool_calls", &array(&calls));
            says = true;
        }
        if !says && (done || line.get("logprobs").is_none()) {
            return;
        }
        let choice = Object::new().plain("index", 0).raw("delta", &delta.finish()).raw("logprobs", &logprobs(line));
        self.chunk(&array(&[choice.raw("finish_reason", "null").finish()]), None, out);
    }

    fn piece(&mut self, line: &Members<'_>, done: bool, out: &mut Vec<u8>) {
        let (text, thinking) = (line.text("response").unwrap_or_default(), line.text("thinking").unwrap_or_default());
        if text.is_empty() && thinking.is_empty() && done {
            return;
        }
        let mut choice = Object::new().plain("index", 0).text("text", &text);
        if !thinking.is_empty() {
            choice.put("reasoning_content", &quoted(&thinking));
        }
        let choice = choice.raw("logprobs", "null").raw("finish_reason", "null");
        self.chunk(&array(&[choice.finish()]), None, out);
    }

    fn chunk(&self, choices: &str, usage: Option<&str>, out: &mut Vec<u8>) {
        let object = if self.text { "text_completion" } else { "chat.completion.chunk" };
        let head = ChunkHead { object, id: &self.stamp.id, created: self.stamp.created, model: &self.model };
        head.write(choices, self.include_usage.then(|| usage.unwrap_or("null")), out);
    }
}

impl StreamTranslator for ToChunks {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let Some(data) = sse::data(event) else { return };
        if let Some(line) = str::from_utf8(&data).ok().and_then(Members::parse) {
            self.read(&line, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if mem::replace(&mut self.ended, true) {
            return;
        }
        let choice = Object::new().plain("index", 0);
        let choice = if self.text { choice.text("text", "") } else { choice.raw("delta", "{}") };
        let choice = choice.raw("logprobs", "null").text("finish_reason", self.reason);
        self.chunk(&array(&[choice.finish()]), None, out);
        if self.include_usage {
            self.chunk("[]", Some(self.usage.as_deref().unwrap_or("null")), out);
        }
        write_data(out, "[DONE]");
    }

    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.ended, true) {
            out.extend_from_slice(&super::error(told, "server_error").to_event());
        }
    }
}
