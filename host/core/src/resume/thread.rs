//! What the client has of an answer, and how the next stream is joined to it.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::Obstacle;
use super::chunks::Chunks;
use super::events::Events;
use super::items::Items;
use super::lines::Lines;
use crate::dialect::Speech;
use crate::dialect::json::{Members, Object};
use crate::openai::{Endpoint, Usage};
use crate::sse::{self, Splitter};

/// One answer that the client reads, out of one stream or of several that break one after the other.
///
/// The first stream goes to the client byte for byte. Of each later one, what the client has had already is left out:
/// the role, the beginning of the message. Its id, its time and its model become those of the first, and its usage
/// counts the attempts before.
#[derive(Debug)]
pub struct Thread {
    form: Form,
    said: Said,
    /// What the request demands.
    demand: Option<Obstacle>,
    earlier: Usage,
    /// A stream has broken: what comes now is joined.
    broken: bool,
}

#[derive(Debug)]
enum Form {
    /// OpenAI's, of chats and of completions.
    Chunks(Chunks),
    /// Anthropic's.
    Events(Events),
    /// OpenAI's, of Responses.
    Items(Items),
    /// Ollama's.
    Lines(Lines),
}

/// What has been said, whatever the form.
#[derive(Debug, Default)]
pub(super) struct Said {
    text: String,
    /// Anything but a beginning has gone to the client.
    begun: bool,
    obstacle: Option<Obstacle>,
    complete: bool,
    /// Blanks at the end of the text that the deployment that goes on has not been told.
    overlap: String,
}

impl Said {
    pub(super) fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.begun = true;
        if self.obstacle.is_none() {
            self.text.push_str(text);
            if self.text.len() > LONGEST {
                self.keeps_from(Obstacle::TooLong);
            }
        }
    }

    /// The content so far cannot be gone on with. The first reason stays.
    pub(super) fn keeps_from(&mut self, obstacle: Obstacle) {
        self.begun = true;
        self.obstacle.get_or_insert(obstacle);
        self.text = String::new();
    }

    pub(super) fn completed(&mut self) {
        self.complete = true;
    }

    /// A text of the later stream, without the blanks that the client has already.
    pub(super) fn without_overlap<'t>(&mut self, text: &'t str) -> &'t str {
        let same = self.overlap.bytes().zip(text.bytes()).take_while(|(one, other)| one == other).count();
        // What is equal in bytes may end within a character of both.
        let same = (0..=same).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let rest = &text[same..];
        if rest.is_empty() {
            self.overlap.drain(..same);
        } else {
            self.overlap.clear();
        }
        rest
    }
}

impl Thread {
    /// Nothing has been said. `demand` is what the request [keeps](super::obstacle()) from being gone on with.
    pub fn new(endpoint: Endpoint, demand: Option<Obstacle>) -> Self {
        let form = match endpoint.speech() {
            Speech::OpenAi if endpoint == Endpoint::Responses => Form::Items(Items::default()),
            Speech::OpenAi => Form::Chunks(Chunks::default()),
            Speech::Anthropic => Form::Events(Events::default()),
            Speech::Ollama => Form::Lines(Lines::default()),
        };
        Self { form, said: Said::default(), demand, earlier: Usage::default(), broken: false }
    }

    /// What keeps the answer from being gone on with as it stands. Nothing does while none of its content has gone to
    /// the client.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match &self.said {
            Said { complete: true, .. } => Some(Obstacle::Complete),
            Said { begun: false, .. } => None,
            Said { obstacle, .. } => self.demand.or(*obstacle),
        }
    }

    /// The text that the client has; empty where there is an obstacle.
    pub fn text(&self) -> &str {
        &self.said.text
    }

    /// The stream that comes now broke off, after so many tokens.
    pub fn breaks(&mut self, used: Usage) {
        self.broken = true;
        self.earlier = self.earlier.plus(used);
        match &mut self.form {
            Form::Chunks(_) | Form::Lines(_) => {}
            Form::Events(events) => events.breaks(),
            Form::Items(items) => items.breaks(),
        }
    }

    /// Of all streams that broke.
    pub fn earlier(&self) -> Usage {
        self.earlier
    }

    /// Another stream is about to come. `trimmed`: it was asked for without the blanks at the end.
    pub fn resumes(&mut self, trimmed: bool) {
        let text = &self.said.text;
        self.said.overlap = if trimmed { text[text.trim_end().len()..].to_owned() } else { String::new() };
    }

    /// The client's events of this piece, which holds whole events.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        if !self.broken {
            if !self.is_settled() {
                self.each(&piece, Self::follow);
            }
            return piece;
        }
        let mut out = Vec::with_capacity(piece.len());
        self.each(&piece, |thread, event| {
            let start = out.len();
            thread.join(event, &mut out);
            if !thread.is_settled() {
                thread.each(&Bytes::copy_from_slice(&out[start..]), Self::follow);
            }
        });
        out.into()
    }

    /// The error that the client's stream ends with, if it ends with this one: where events are numbered, with the number
    /// after those of all streams.
    pub fn last_word(&self, told: Bytes) -> Bytes {
        let Form::Items(items) = &self.form else { return told };
        let data = sse::data(&told);
        let members = data.as_deref().and_then(|data| str::from_utf8(data).ok()).and_then(Members::parse);
        match members {
            Some(members) if self.broken => {
                let mut out = Vec::with_capacity(told.len());
                items.clone().join(&members, &mut Said::default(), self.earlier, &mut out);
                out.into()
            }
            _ => told,
        }
    }

    /// Events, or lines, which the piece holds whole.
    fn each(&mut self, piece: &Bytes, mut each: impl FnMut(&mut Self, &[u8])) {
        if matches!(self.form, Form::Lines(_)) {
            return piece.split_inclusive(|byte| *byte == b'\n').for_each(|line| each(self, line));
        }
        let mut splitter = Splitter::new(usize::MAX);
        splitter.push(piece.clone());
        while let Ok(Some(event)) = splitter.next_event() {
            each(self, &event);
        }
    }

    /// The JSON of an event or line.
    fn data<'e>(&self, event: &'e [u8]) -> Option<Cow<'e, [u8]>> {
        match self.form {
            Form::Lines(_) => Some(Cow::Borrowed(event.trim_ascii_end())),
            Form::Chunks(_) | Form::Events(_) | Form::Items(_) => sse::data(event),
        }
    }

    /// Nothing that still comes can change whether the answer can be gone on with, unless it is joined to another.
    fn is_settled(&self) -> bool {
        !self.broken && self.said.begun && (self.demand.is_some() || self.said.obstacle.is_some())
    }

    fn follow(&mut self, event: &[u8]) {
        let Some(data) = self.data(event) else { return };
        let Some(members) = str::from_utf8(&data).ok().and_then(Members::parse) else { return };
        match &mut self.form {
            Form::Chunks(chunks) => chunks.follow(&members, &mut self.said),
            Form::Events(events) => events.follow(&members, &mut self.said),
            Form::Items(items) => items.follow(&members, &mut self.said),
            Form::Lines(lines) => lines.follow(&members, &mut self.said),
        }
    }

    fn join(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let data = self.data(event);
        let Some(members) = data.as_deref().and_then(|data| str::from_utf8(data).ok()).and_then(Members::parse) else {
            // `[DONE]`, a comment, or what the client may judge.
            out.extend_from_slice(event);
            return;
        };
        match &mut self.form {
            Form::Chunks(chunks) => chunks.join(&members, &mut self.said, self.earlier, out),
            Form::Events(events) => events.join(&members, &mut self.said, self.earlier, out),
            Form::Items(items) => items.join(&members, &mut self.said, self.earlier, out),
            Form::Lines(lines) => lines.join(&members, &mut self.said, self.earlier, out),
        }
    }
}

/// The numbers of a usage object, with those of the attempts before. `input` is what they have of `input_tokens`, which
/// Anthropic counts beside the cached ones, and OpenAI with them.
pub(super) fn added(usage: &Members<'_>, earlier: Usage, input: u32) -> Object {
    let prompt = earlier.prompt_tokens.unwrap_or(0);
    let cached = earlier.cached_tokens.unwrap_or(0);
    let output = earlier.completion_tokens.unwrap_or(0);
    let mut out = Object::new();
    for (key, value) in usage.all() {
        let more = match key {
            "prompt_tokens" => prompt,
            "completion_tokens" | "output_tokens" => output,
            "total_tokens" => prompt.saturating_add(output),
            "input_tokens" => input,
            "cache_read_input_tokens" => cached,
            "prompt_tokens_details" | "input_tokens_details" => {
                let details = Members::of(value).filter(|_| cached > 0);
                let details = details.map(|details| {
                    details.with(|key, count| if key == "cached_tokens" { sum(count, cached) } else { None })
                });
                out.put(key, details.as_deref().unwrap_or(value.get()));
                continue;
            }
            _ => 0,
        };
        out.put(key, sum(value, more).as_deref().unwrap_or(value.get()));
    }
    out
}

/// Of the attempts before, the input that was not cached.
pub(super) fn fresh(earlier: Usage) -> u32 {
    earlier.prompt_tokens.unwrap_or(0).saturating_sub(earlier.cached_tokens.unwrap_or(0))
}

/// A count and so many more; `None` where it is none, or there are no more.
pub(super) fn sum(count: &RawValue, more: u32) -> Option<String> {
    let count = count.get().parse::<u64>().ok().filter(|_| more > 0)?;
    Some((count + u64::from(more)).to_string())
}

/// Bytes of text that are kept; the longest answers of today's models are shorter.
const LONGEST: usize = 1 << 20;
