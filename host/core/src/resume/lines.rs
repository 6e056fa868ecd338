//! The thread of Ollama's lines, of chats and of prompts that are completed.

use super::Obstacle;
use super::thread::{Said, sum};
use crate::dialect::json::{Members, Object, is_neutral};
use crate::openai::Usage;

/// What the client knows of the stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// As JSON.
    model: Option<Box<str>>,
}

impl Lines {
    pub(super) fn follow(&mut self, line: &Members<'_>, said: &mut Said) {
        if self.model.is_none() {
            self.model = line.get("model").map(|model| model.get().into());
        }
        let message = line.object("message");
        for (key, value) in line.iter().chain(message.iter()).filter(|(_, value)| !is_neutral(value)) {
            match key {
                "content" | "response" => said.text(&crate::dialect::json::text(value).unwrap_or_default()),
                "thinking" => said.keeps_from(Obstacle::Reasoning),
                "tool_calls" => said.keeps_from(Obstacle::Tools),
                "logprobs" => said.keeps_from(Obstacle::Logprobs),
                "images" => said.keeps_from(Obstacle::Content),
                "done" => said.completed(),
                _ => {}
            }
        }
    }

    /// Writes what the client is to get of a later stream's line, which may be nothing.
    pub(super) fn join(&self, line: &Members<'_>, said: &mut Said, earlier: Usage, out: &mut Vec<u8>) {
        let mut says_nothing = line.get("error").is_none() && line.get("done").is_none_or(is_neutral);
        let mut written = Object::new();
        for (key, value) in line.all() {
            match (key, &self.model) {
                ("model", Some(first)) => written.put(key, first),
                ("message", _) => {
                    let mut message = Object::new();
                    for (key, value) in Members::of(value).iter().flat_map(Members::all) {
                        let new = (key == "content").then(|| text(value, said)).flatten();
                        says_nothing &= key == "role" || new.as_deref().map_or(is_neutral(value), |new| new == "\"\"");
                        message.put(key, new.as_deref().unwrap_or(value.get()));
                    }
                    written.put(key, &message.finish());
                }
                ("response", _) => {
                    let new = text(value, said);
                    says_nothing &= new.as_deref() == Some("\"\"");
                    written.put(key, new.as_deref().unwrap_or(value.get()));
                }
                ("prompt_eval_count", _) => {
                    let all = sum(value, earlier.prompt_tokens.unwrap_or(0));
                    written.put(key, all.as_deref().unwrap_or(value.get()));
                }
                ("eval_count", _) => {
                    let all = sum(value, earlier.completion_tokens.unwrap_or(0));
                    written.put(key, all.as_deref().unwrap_or(value.get()));
                }
                _ => {
                    says_nothing &= !matches!(key, "thinking" | "logprobs") || is_neutral(value);
                    written.put(key, value.get());
                }
            }
        }
        if !says_nothing {
            out.extend_from_slice(written.finish().as_bytes());
            out.push(b'\n');
        }
    }
}

/// What is new of a text, as JSON; `None` where it is none.
fn text(value: &serde_json::value::RawValue, said: &mut Said) -> Option<String> {
    let text = crate::dialect::json::text(value)?;
    Some(crate::dialect::json::quoted(said.without_overlap(&text)))
}
