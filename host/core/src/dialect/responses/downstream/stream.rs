//! From chat completion chunks to Responses events.

use std::mem;

use super::errors::failure;
use super::response::{
    Counts, Echo, Ending, Frame, call_item, message_item, reasoning_item, reasoning_part, refusal_part, sealed,
    text_part,
};
use crate::dialect::chat::{content, reasoning};
use crate::dialect::json::{Members, Object, quoted};
use crate::dialect::{StreamTranslator, data_or_comment, write_event};
use crate::openai::UpstreamError;

/// Makes `response.created` and `response.in_progress` of the first chunk, items and their parts of the deltas, and at
/// the end one `response.completed`, `response.incomplete` or `response.failed` with all of it.
#[derive(Debug)]
pub struct ToEvents {
    echo: Option<Echo>,
    now: u64,
    frame: Option<Frame>,
    /// Events so far.
    sequence: u64,
    items: Vec<Item>,
    /// The reasoning or message that deltas are added to; calls are open until the end, since their deltas may mix.
    open: Option<usize>,
    counts: Option<Counts>,
    ending: Option<Ending>,
    /// Bytes that are kept for the events at the end.
    kept: usize,
    ended: bool,
}

/// One item of the output.
#[derive(Debug)]
struct Item {
    id: String,
    kind: Kind,
    status: &'static str,
}

#[derive(Debug)]
enum Kind {
    Reasoning { text: String, blocks: String },
    Message { text: String, logprobs: String },
    Refusal(String),
    Call { index: u64, call_id: String, name: String, arguments: String },
}

/// What a delta is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Reasoning,
    Text,
    Refusal,
}

impl ToEvents {
    /// At the beginning of a stream. `request` is what the client asked, of which a response repeats a part; `now`, in
    /// seconds since 1970, is its time where the answer does not say one.
    pub fn new(request: &str, now: u64) -> Self {
        Self {
            echo: Some(Echo::of(request)),
            now,
            frame: None,
            sequence: 0,
            items: Vec::new(),
            open: None,
            counts: None,
            ending: None,
            kept: 0,
            ended: false,
        }
    }

    fn read(&mut self, chunk: &Members<'_>, out: &mut Vec<u8>) {
        if let Some(told) = chunk.get("error") {
            return self.fail(&UpstreamError::parse(told.get().as_bytes()), out);
        }
        self.start(chunk, out);
        if let Some(usage) = chunk.get("usage").and_then(Members::of) {
            self.counts = Some(self.counts.unwrap_or_default().with(&usage));
        }
        for choice in chunk.list("choices") {
            let Some(choice) = Members::of(choice) else { continue };
            // One choice was asked for.
            if choice.count("index").unwrap_or(0) > 0 {
                continue;
            }
            self.choice(&choice, out);
            if self.kept > LARGEST {
                let message = format!("the answer is larger than {LARGEST} bytes, and must be translated");
                return self.fail(&UpstreamError { message, ..UpstreamError::default() }, out);
            }
        }
    }

    fn start(&mut self, chunk: &Members<'_>, out: &mut Vec<u8>) {
        let Some(echo) = self.echo.take() else { return };
        self.frame = Some(Frame::new(echo, chunk, self.now));
        for name in ["response.created", "response.in_progress"] {
            self.tell_response(name, Ending::IN_PROGRESS, None, out);
        }
    }

    fn choice(&mut self, choice: &Members<'_>, out: &mut Vec<u8>) {
        let delta = choice.object("delta");
        if let Some(thought) = reasoning(&delta) {
            self.told(Told::Reasoning, &thought, "", out);
        }
        for block in delta.list("thinking_blocks") {
            self.sealed(block.get(), out);
        }
        if let Some(text) = content(&delta) {
            let logprobs: Vec<&str> = choice.object("logprobs").list("content").iter().map(|item| item.get()).collect();
            self.told(Told::Text, &text, &logprobs.join(","), out);
        }
        if let Some(refusal) = delta.text("refusal").filter(|refusal| !refusal.is_empty()) {
            self.told(Told::Refusal, &refusal, "", out);
        }
        for call in delta.list("tool_calls") {
            if let Some(call) = Members::of(call) {
                self.call(&call, out);
            }
        }
        if let Some(reason) = choice.text("finish_reason") {
            self.ending = Some(Ending::of(&reason));
        }
    }

    /// A piece of reasoning, text or refusal.
    fn told(&mut self, told: Told, piece: &str, logprobs: &str, out: &mut Vec<u8>) {
        let open = self.open.filter(|place| self.items[*place].kind.told() == Some(told));
        let place = match open {
            Some(place) => place,
            None => self.begin(told.item(), out),
        };
        self.kept += piece.len() + logprobs.len();
        let item = &mut self.items[place];
        let name = item.kind.push(piece, logprobs);
        let mut event = place_of(item, place).plain("content_index", 0).text("delta", piece);
        if told == Told::Text {
            event.put("logprobs", &format!("[{logprobs}]"));
        }
        self.tell(name, event, out);
    }

    /// A thinking block with its signature, which comes after its text.
    fn sealed(&mut self, block: &str, out: &mut Vec<u8>) {
        let open = self.open.filter(|place| self.items[*place].kind.told() == Some(Told::Reasoning));
        let place = match open {
            Some(place) => place,
            None => self.begin(Told::Reasoning.item(), out),
        };
        self.kept += block.len();
        if let Kind::Reasoning { blocks, .. } = &mut self.items[place].kind {
            if !blocks.is_empty() {
                blocks.push(',');
            }
            blocks.push_str(block);
        }
    }

    fn call(&mut self, call: &Members<'_>, out: &mut Vec<u8>) {
        let index = call.count("index").unwrap_or(0);
        let function = call.object("function");
        let known = self.items.iter().position(|item| matches!(&item.kind, Kind::Call { index: i, .. } if *i == index));
        let place = match known {
            Some(place) => place,
            None => {
                let call_id = call.text("id").unwrap_or_default().into_owned();
                let name = function.text("name").unwrap_or_default().into_owned();
                self.begin(Kind::Call { index, call_id, name, arguments: String::new() }, out)
            }
        };
        if let Some(piece) = function.text("arguments").filter(|piece| !piece.is_empty()) {
            self.kept += piece.len();
            let item = &mut self.items[place];
            let name = item.kind.push(&piece, "");
            let event = place_of(item, place).text("delta", &piece);
            self.tell(name, event, out);
        }
    }

    /// The next item begins, and with it its only part, if it has parts.
    fn begin(&mut self, kind: Kind, out: &mut Vec<u8>) -> usize {
        if let Some(open) = self.open.take() {
            self.finish(open, "completed", out);
        }
        let place = self.items.len();
        let prefix = kind.prefix();
        let before = self.items.iter().filter(|item| item.kind.prefix() == prefix).count();
        let id = self.frame.as_ref().map_or_else(String::new, |frame| frame.item_id(prefix, before));
        let item = Item { id, kind, status: IN_PROGRESS };
        let added = Object::new().plain("output_index", place).raw("item", &item.json(&[]));
        self.tell("response.output_item.added", added, out);
        if let Some(part) = item.kind.empty_part() {
            let event = place_of(&item, place).plain("content_index", 0).raw("part", &part);
            self.tell("response.content_part.added", event, out);
            self.open = Some(place);
        }
        self.items.push(item);
        place
    }

    /// The item is whole, or as much of it as comes.
    fn finish(&mut self, place: usize, status: &'static str, out: &mut Vec<u8>) {
        let item = &mut self.items[place];
        if item.status != IN_PROGRESS {
            return;
        }
        item.status = status;
        let (name, key, text) = item.kind.whole();
        let mut event = place_of(item, place);
        let part = item.kind.part();
        if part.is_some() {
            event = event.plain("content_index", 0);
        }
        event.put(key, &quoted(text));
        match &item.kind {
            Kind::Message { logprobs, .. } => event.put("logprobs", &format!("[{logprobs}]")),
            Kind::Call { name, .. } => event.put("name", &quoted(name)),
            Kind::Reasoning { .. } | Kind::Refusal(_) => {}
        }
        let part = part.map(|part| place_of(item, place).plain("content_index", 0).raw("part", &part));
        let done = Object::new().plain("output_index", place).raw("item", &item.to_json());
        self.tell(name, event, out);
        if let Some(part) = part {
            self.tell("response.content_part.done", part, out);
        }
        self.tell("response.output_item.done", done, out);
    }

    fn tell_response(&mut self, name: &str, ending: Ending, error: Option<&str>, out: &mut Vec<u8>) {
        let output: Vec<String> = self.items.iter().map(Item::to_json).collect();
        let usage = self.counts.filter(|_| ending != Ending::IN_PROGRESS);
        let Some(frame) = &self.frame else { return };
        let event = Object::new().raw("response", &frame.response(&ending, error, &output, usage));
        self.tell(name, event, out);
    }

    fn tell(&mut self, name: &str, event: Object, out: &mut Vec<u8>) {
        let head = Object::of_type(name).plain("sequence_number", self.sequence).finish();
        self.sequence += 1;
        // The head goes on where the event's own members begin, of which there always are some.
        write_event(out, name, &format!("{},{}", &head[..head.len() - 1], &event.finish()[1..]));
    }
}

impl StreamTranslator for ToEvents {
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let Some(data) = data_or_comment(event, out) else { return };
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
        let ending = self.ending.unwrap_or(Ending::of("stop"));
        for place in 0..self.items.len() {
            self.finish(place, ending.status, out);
        }
        self.tell_response(ending.event(), ending, None, out);
    }

    fn fail(&mut self, told: &UpstreamError, out: &mut Vec<u8>) {
        if mem::replace(&mut self.ended, true) {
            return;
        }
        // Nothing has begun that could have failed.
        if self.frame.is_none() {
            out.extend_from_slice(&super::error_event(told, self.sequence));
            return;
        }
        for item in self.items.iter_mut().filter(|item| item.status == IN_PROGRESS) {
            item.status = "incomplete";
        }
        self.tell_response(Ending::FAILED.event(), Ending::FAILED, Some(&failure(told)), out);
    }
}

impl Told {
    /// An item for it.
    fn item(self) -> Kind {
        match self {
            Self::Reasoning => Kind::Reasoning { text: String::new(), blocks: String::new() },
            Self::Text => Kind::Message { text: String::new(), logprobs: String::new() },
            Self::Refusal => Kind::Refusal(String::new()),
        }
    }
}

impl Kind {
    fn told(&self) -> Option<Told> {
        match self {
            Self::Reasoning { .. } => Some(Told::Reasoning),
            Self::Message { .. } => Some(Told::Text),
            Self::Refusal(_) => Some(Told::Refusal),
            Self::Call { .. } => None,
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Reasoning { .. } => "rs",
            Self::Message { .. } | Self::Refusal(_) => "msg",
            Self::Call { .. } => "fc",
        }
    }

    /// Adds a piece; the name of the event that tells of it.
    fn push(&mut self, piece: &str, more: &str) -> &'static str {
        match self {
            Self::Reasoning { text, .. } => {
                text.push_str(piece);
                "response.reasoning_text.delta"
            }
            Self::Message { text, logprobs } => {
                text.push_str(piece);
                if !logprobs.is_empty() && !more.is_empty() {
                    logprobs.push(',');
                }
                logprobs.push_str(more);
                "response.output_text.delta"
            }
            Self::Refusal(text) => {
                text.push_str(piece);
                "response.refusal.delta"
            }
            Self::Call { arguments, .. } => {
                arguments.push_str(piece);
                "response.function_call_arguments.delta"
            }
        }
    }

    /// The event that tells all of it at once, the member that it is in, and it.
    fn whole(&self) -> (&'static str, &'static str, &str) {
        match self {
            Self::Reasoning { text, .. } => ("response.reasoning_text.done", "text", text),
            Self::Message { text, .. } => ("response.output_text.done", "text", text),
            Self::Refusal(text) => ("response.refusal.done", "refusal", text),
            Self::Call { arguments, .. } => ("response.function_call_arguments.done", "arguments", arguments),
        }
    }

    fn part(&self) -> Option<String> {
        match self {
            Self::Reasoning { text, .. } => Some(reasoning_part(text)),
            Self::Message { text, logprobs } => Some(text_part(text, logprobs)),
            Self::Refusal(text) => Some(refusal_part(text)),
            Self::Call { .. } => None,
        }
    }

    fn empty_part(&self) -> Option<String> {
        match self {
            Self::Reasoning { .. } => Some(reasoning_part("")),
            Self::Message { .. } => Some(text_part("", "")),
            Self::Refusal(_) => Some(refusal_part("")),
            Self::Call { .. } => None,
        }
    }
}

impl Item {
    /// With its part as far as it has come.
    fn to_json(&self) -> String {
        let parts: Vec<String> = self.kind.part().into_iter().collect();
        self.json(&parts)
    }

    fn json(&self, parts: &[String]) -> String {
        let status = self.status;
        match &self.kind {
            Kind::Reasoning { blocks, .. } => reasoning_item(&self.id, status, parts, &sealed(blocks)),
            Kind::Message { .. } | Kind::Refusal(_) => message_item(&self.id, status, parts),
            Kind::Call { call_id, name, arguments, .. } => call_item(&self.id, status, call_id, name, arguments),
        }
    }
}

/// Where an event belongs.
fn place_of(item: &Item, place: usize) -> Object {
    Object::new().text("item_id", &item.id).plain("output_index", place)
}

const IN_PROGRESS: &str = Ending::IN_PROGRESS.status;
/// An answer with a few images in it; what is larger is no answer of a chat.
const LARGEST: usize = 32 << 20;
