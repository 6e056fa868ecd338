//! The thread of OpenAI's chunks.

use serde_json::value::RawValue;

use super::Obstacle;
use super::thread::{Said, added, fresh};
use crate::dialect::json::{Members, Object, array, is_neutral};
use crate::dialect::write_data;
use crate::openai::Usage;

/// What the client knows of the stream.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    head: Option<Head>,
    /// Choices whose role has been told, by index; from 63 on they share a bit.
    roles: u64,
}

/// What is the same in each chunk, as JSON.
#[derive(Debug)]
struct Head {
    id: Option<Box<str>>,
    created: Option<Box<str>>,
    model: Option<Box<str>>,
}

impl Chunks {
    pub(super) fn follow(&mut self, chunk: &Members<'_>, said: &mut Said) {
        if self.head.is_none() && chunk.get("choices").is_some() {
            let raw = |key| chunk.get(key).map(|value| value.get().into());
            self.head = Some(Head { id: raw("id"), created: raw("created"), model: raw("model") });
        }
        for choice in chunk.list("choices").into_iter().filter_map(Members::of) {
            let index = choice.count("index").unwrap_or(0);
            if let Some(text) = choice.text("text") {
                said.text(&text);
            }
            self.delta(index, &choice.object("delta"), said);
            if index > 0 && said_anything(&choice) {
                said.keeps_from(Obstacle::Choices);
            }
            if choice.get("logprobs").is_some_and(|value| !is_neutral(value)) {
                said.keeps_from(Obstacle::Logprobs);
            }
            if choice.get("finish_reason").is_some() {
                said.completed();
            }
        }
    }

    fn delta(&mut self, index: u64, delta: &Members<'_>, said: &mut Said) {
        for (key, value) in delta.iter() {
            match key {
                "role" => self.roles |= bit(index),
                "content" => match delta.text(key) {
                    Some(text) => said.text(&text),
                    None => said.keeps_from(Obstacle::Content),
                },
                _ if is_neutral(value) => {}
                "tool_calls" | "function_call" => said.keeps_from(Obstacle::Tools),
                "reasoning" | "reasoning_content" | "reasoning_details" | "thinking_blocks" => {
                    said.keeps_from(Obstacle::Reasoning);
                }
                "audio" => said.keeps_from(Obstacle::Audio),
                _ => said.keeps_from(Obstacle::Content),
            }
        }
    }

    /// Writes what the client is to get of a later stream's chunk, which may be nothing.
    pub(super) fn join(&self, chunk: &Members<'_>, said: &mut Said, earlier: Usage, out: &mut Vec<u8>) {
        let mut written = Object::new();
        let mut says_nothing = chunk.get("usage").is_none() && !chunk.list("choices").is_empty();
        for (key, value) in chunk.all() {
            match (key, &self.head) {
                ("id", Some(Head { id: Some(first), .. }))
                | ("created", Some(Head { created: Some(first), .. }))
                | ("model", Some(Head { model: Some(first), .. })) => written.put(key, first),
                ("choices", _) => {
                    let choices = chunk.list(key).into_iter().map(|choice| {
                        let (choice, empty) = self.choice(choice, said);
                        says_nothing &= empty;
                        choice
                    });
                    written.put(key, &array(&choices.collect::<Vec<_>>()));
                }
                ("usage", _) => match Members::of(value) {
                    Some(usage) => written.put(key, &added(&usage, earlier, fresh(earlier)).finish()),
                    None => written.put(key, value.get()),
                },
                _ => written.put(key, value.get()),
            }
        }
        if !says_nothing {
            write_data(out, &written.finish());
        }
    }

    /// A choice without what the client has, and whether nothing is left of it.
    fn choice(&self, choice: &RawValue, said: &mut Said) -> (String, bool) {
        let Some(members) = Members::of(choice) else { return (choice.get().to_owned(), false) };
        let told = self.roles & bit(members.count("index").unwrap_or(0)) != 0;
        let mut empty = true;
        let mut written = Object::new();
        for (key, value) in members.all() {
            match key {
                "delta" => {
                    let mut delta = Object::new();
                    for (key, value) in members.object(key).all().filter(|(key, _)| !told || *key != "role") {
                        empty &= put_text(&mut delta, key, value, said);
                    }
                    written.put(key, &delta.finish());
                }
                "text" => empty &= put_text(&mut written, key, value, said),
                "index" => written.put(key, value.get()),
                _ => {
                    empty &= is_neutral(value);
                    written.put(key, value.get());
                }
            }
        }
        (written.finish(), empty)
    }
}

/// Copies a member, of the text what is new; whether it says nothing.
fn put_text(out: &mut Object, key: &str, value: &RawValue, said: &mut Said) -> bool {
    let text = matches!(key, "content" | "text").then(|| crate::dialect::json::text(value)).flatten();
    match text {
        Some(text) => {
            let new = said.without_overlap(&text);
            *out = std::mem::replace(out, Object::new()).text(key, new);
            new.is_empty()
        }
        None => {
            out.put(key, value.get());
            is_neutral(value)
        }
    }
}

fn said_anything(choice: &Members<'_>) -> bool {
    let delta = choice.object("delta");
    let text = choice.get("text").is_some_and(|text| !is_neutral(text));
    text || delta.iter().any(|(key, value)| key != "role" && !is_neutral(value))
}

fn bit(index: u64) -> u64 {
    1 << index.min(63)
}
