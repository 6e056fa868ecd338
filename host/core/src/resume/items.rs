//! The thread of the events of Responses, which are numbered, and of which the last tells the whole answer.

use super::Obstacle;
use super::thread::{Said, added};
use crate::dialect::json::{Members, Object, array, is_neutral, quoted};
use crate::dialect::write_event;
use crate::openai::Usage;

/// What the client knows of the response.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
    head: Option<Head>,
    /// The number of the next event.
    number: u64,
    /// Output items so far.
    items: u64,
    /// The last one, if it is a message that has not ended.
    open: Option<Message>,
    later: Later,
}

/// What is the same in all events, as JSON.
#[derive(Clone, Debug)]
struct Head {
    id: Option<Box<str>>,
    created: Option<Box<str>>,
    model: Option<Box<str>>,
}

#[derive(Clone, Debug)]
struct Message {
    id: String,
    index: u64,
    text: String,
}

/// How a later stream's items stand to the client's.
#[derive(Clone, Debug, Default)]
struct Later {
    /// Its first item will show whether the client's open message goes on with it.
    undecided: bool,
    /// Its item that the open message goes on with.
    joined: Option<u64>,
    /// Added to the indices of the others.
    shift: u64,
    /// Messages that the client has, and the later stream does not.
    closed: Vec<String>,
}

impl Items {
    pub(super) fn follow(&mut self, event: &Members<'_>, said: &mut Said) {
        self.number = event.count("sequence_number").map_or(self.number, |number| number + 1);
        match &*event.text("type").unwrap_or_default() {
            "response.created" if self.head.is_none() => {
                let response = event.object("response");
                let raw = |key| response.get(key).map(|value| value.get().into());
                self.head = Some(Head { id: raw("id"), created: raw("created_at"), model: raw("model") });
            }
            "response.output_item.added" => self.item(event, said),
            "response.content_part.added" if event.object("part").text("type").as_deref() != Some("output_text") => {
                said.keeps_from(Obstacle::Content);
            }
            "response.output_text.delta" => {
                let delta = event.text("delta").unwrap_or_default();
                said.text(&delta);
                if let Some(open) = &mut self.open {
                    open.text.push_str(&delta);
                }
                if event.get("logprobs").is_some_and(|value| !is_neutral(value)) {
                    said.keeps_from(Obstacle::Logprobs);
                }
            }
            "response.output_text.annotation.added" => said.keeps_from(Obstacle::Content),
            "response.output_text.done" => said.completed(),
            "response.output_item.done" => self.open = None,
            "response.completed" | "response.incomplete" | "response.failed" => said.completed(),
            _ => {}
        }
    }

    fn item(&mut self, event: &Members<'_>, said: &mut Said) {
        let (item, index) = (event.object("item"), event.count("output_index").unwrap_or(self.items));
        self.items = index + 1;
        self.open = None;
        match item.text("type").as_deref() {
            Some("message") => {
                let id = item.text("id").unwrap_or_default().into_owned();
                self.open = Some(Message { id, index, text: String::new() });
            }
            Some("reasoning") => said.keeps_from(Obstacle::Reasoning),
            Some("function_call") => said.keeps_from(Obstacle::Tools),
            _ => said.keeps_from(Obstacle::Content),
        }
    }

    /// The stream that comes now broke off.
    pub(super) fn breaks(&mut self) {
        let closed = std::mem::take(&mut self.later.closed);
        self.later = Later { undecided: self.open.is_some(), joined: None, shift: self.items, closed };
    }

    /// Writes what the client is to get of a later stream's event, which may be nothing.
    pub(super) fn join(&mut self, event: &Members<'_>, said: &mut Said, earlier: Usage, out: &mut Vec<u8>) {
        let name = event.text("type").unwrap_or_default();
        if name == "response.output_item.added" && self.goes_on(event, out) {
            return;
        }
        let index = event.count("output_index");
        let is_joined = self.open.is_some() && index.is_some() && index == self.later.joined;
        match (&*name, is_joined) {
            ("response.created" | "response.in_progress" | "response.queued", _) if self.head.is_some() => {}
            ("response.content_part.added", true) => {}
            ("response.completed" | "response.incomplete" | "response.failed", _) => {
                self.end_open(out);
                let response = self.response(&event.object("response"), earlier);
                self.write(&name, event, &[("response", response)], out);
            }
            (name, true) => self.go_on(name, event, said, out),
            (name, false) => {
                let shifted = index.map(|index| ("output_index", (index + self.later.shift).to_string()));
                self.write(name, event, shifted.as_slice(), out);
            }
        }
    }

    /// Whether the later stream's new item goes on with the client's open message, which else ends here.
    fn goes_on(&mut self, event: &Members<'_>, out: &mut Vec<u8>) -> bool {
        let goes_on = self.later.undecided && event.object("item").text("type").as_deref() == Some("message");
        if goes_on {
            self.later.undecided = false;
            self.later.joined = event.count("output_index");
            self.later.shift = self.later.shift.saturating_sub(1);
        } else {
            self.end_open(out);
        }
        goes_on
    }

    /// Writes an event of the item that the client's open message goes on with.
    fn go_on(&mut self, name: &str, event: &Members<'_>, said: &mut Said, out: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        if let Some(changed) = self.later.changed(name, event, &open, said) {
            self.write(name, event, &changed, out);
        }
        self.open = Some(open);
    }

    /// Ends the client's message where the later stream does not go on with it.
    fn end_open(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.later.undecided) {
            return;
        }
        let Some(open) = self.open.take() else { return };
        let place =
            || Object::new().text("item_id", &open.id).plain("output_index", open.index).plain("content_index", 0);
        let part =
            Object::of_type("output_text").raw("annotations", "[]").raw("logprobs", "[]").text("text", &open.text);
        let part = part.finish();
        let item = Object::new().text("id", &open.id).text("type", "message").text("status", "completed");
        let item = item.text("role", "assistant").raw("content", &array(std::slice::from_ref(&part))).finish();
        let ended = Object::new().plain("output_index", open.index).raw("item", &item);
        for (name, event) in [
            ("response.output_text.done", place().text("text", &open.text).raw("logprobs", "[]")),
            ("response.content_part.done", place().raw("part", &part)),
            ("response.output_item.done", ended),
        ] {
            let head = Object::of_type(name).plain("sequence_number", 0).finish();
            let event = format!("{},{}", &head[..head.len() - 1], &event.finish()[1..]);
            if let Some(event) = Members::parse(&event) {
                self.write(name, &event, &[], out);
            }
        }
        self.later.closed.push(item);
    }

    /// The whole answer: in the first one's name, with what the client has of it and the usage of all attempts.
    fn response(&self, response: &Members<'_>, earlier: Usage) -> String {
        let head = self.head.as_ref();
        response.with(|key, value| match key {
            "id" => head?.id.as_deref().map(str::to_owned),
            "created_at" => head?.created.as_deref().map(str::to_owned),
            "model" => head?.model.as_deref().map(str::to_owned),
            "output" => {
                let own = response.list(key).into_iter().zip(0_u64..);
                let own = own.filter_map(|(item, place)| match &self.open {
                    _ if Some(place) != self.later.joined => Some(item.get().to_owned()),
                    Some(open) => Members::of(item).map(|item| whole_item(&item, open)),
                    // It has ended, and is among the others.
                    None => None,
                });
                Some(array(&self.later.closed.iter().cloned().chain(own).collect::<Vec<_>>()))
            }
            "usage" => {
                let input = earlier.prompt_tokens.unwrap_or(0);
                Members::of(value).map(|usage| added(&usage, earlier, input).finish())
            }
            _ => None,
        })
    }

    /// The event with the next number, and with other values of some members.
    fn write(&mut self, name: &str, event: &Members<'_>, changed: &[(&str, String)], out: &mut Vec<u8>) {
        let written = event.with(|key, _| match changed.iter().find(|(changed, _)| *changed == key) {
            Some((_, value)) => Some(value.clone()),
            None => (key == "sequence_number").then(|| self.number.to_string()),
        });
        self.number += 1;
        write_event(out, name, &written);
    }
}

impl Later {
    /// What is another in an event of the item that goes on with `open`; `None` where nothing is left of it.
    fn changed(
        &mut self,
        name: &str,
        event: &Members<'_>,
        open: &Message,
        said: &mut Said,
    ) -> Option<Vec<(&'static str, String)>> {
        let mut changed = vec![("item_id", quoted(&open.id)), ("output_index", open.index.to_string())];
        match name {
            "response.output_text.delta" => {
                let delta = event.text("delta").unwrap_or_default();
                let new = said.without_overlap(&delta);
                if new.is_empty() {
                    return None;
                }
                changed.push(("delta", quoted(new)));
            }
            "response.output_text.done" => changed.push(("text", quoted(&open.text))),
            "response.content_part.done" => changed.push(("part", whole_part(&event.object("part"), open))),
            "response.output_item.done" => {
                let item = whole_item(&event.object("item"), open);
                self.closed.push(item.clone());
                changed.push(("item", item));
            }
            _ => {}
        }
        Some(changed)
    }
}

/// A part with all of the text.
fn whole_part(part: &Members<'_>, open: &Message) -> String {
    part.with(|key, _| (key == "text").then(|| quoted(&open.text)))
}

/// A message with all of the text.
fn whole_item(item: &Members<'_>, open: &Message) -> String {
    item.with(|key, _| match key {
        "id" => Some(quoted(&open.id)),
        "content" => {
            let parts = item.list(key).into_iter().enumerate().map(|(place, part)| match Members::of(part) {
                Some(part) if place == 0 => whole_part(&part, open),
                _ => part.get().to_owned(),
            });
            Some(array(&parts.collect::<Vec<_>>()))
        }
        _ => None,
    })
}
