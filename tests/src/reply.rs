//! What a fake upstream answers, and how badly.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Head, Speech, Upstream};

/// A scripted answer. As it comes it says `ok`, to streams and others.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) start: Start,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    pub(crate) end: End,
    pub(crate) delay: Duration,
    pub(crate) by_permit: bool,
    pub(crate) announced: Option<usize>,
    pub(crate) pace: Pace,
    pub(crate) once_per_connection: bool,
    speech: Speech,
    cases: Vec<(Case, Reply)>,
}

/// Requests that get another answer.
#[derive(Clone, Debug)]
enum Case {
    /// Each of so many.
    Every(usize),
    /// Those that come with this key.
    Key(String),
    /// Those for this path.
    Path(String),
    /// Those that ask for a stream.
    Streamed,
    /// Those that hold this text.
    Body(String),
}

/// Before the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Answer,
    Silence,
    Reset,
}

/// After the body, or in the middle of one that is not a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Cut,
    Reset,
    Stall,
}

/// How the last piece goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    /// Byte by byte, and again from the beginning, for ever.
    Trickle(Duration),
    /// Again and again, as fast as it goes, up to a gigabyte.
    Endless,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A chat completion; a stream if that was asked for.
    Chat(String),
    Whole(Vec<u8>),
    Events(Vec<Vec<u8>>),
    /// After the head, as it is: the headers say how it is framed, or do not.
    Unframed(Vec<u8>),
    /// Instead of an answer.
    Raw(Vec<u8>),
    /// An embedding for each input: how long it is.
    Embeddings,
    /// The same in Ollama's own dialect.
    OllamaEmbeddings,
}

/// A fake upstream: describe what it answers, then [`start`](Reply::start) it.
pub fn upstream() -> Reply {
    Reply {
        start: Start::Answer,
        status: 200,
        headers: Vec::new(),
        body: Body::Chat("ok".to_owned()),
        end: End::Complete,
        delay: Duration::ZERO,
        by_permit: false,
        announced: None,
        pace: Pace::AtOnce,
        once_per_connection: false,
        speech: Speech::Chat,
        cases: Vec::new(),
    }
}

impl Reply {
    /// This status; with an error body where it is one and nothing else is said.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        if status >= 400 {
            self.body = Body::Whole(self.speech.error(&format!("upstream says {status}")).into_bytes());
        }
        self
    }

    /// Answers in these words, and so do the errors that are named after this.
    #[must_use]
    pub fn speaking(mut self, speech: Speech) -> Self {
        self.speech = speech;
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A chat completion with this text; to a request for a stream, one event for each word.
    #[must_use]
    pub fn chat(mut self, text: &str) -> Self {
        self.body = Body::Chat(text.to_owned());
        self
    }

    /// An embedding for each input: its length, and its place among the inputs of the request.
    #[must_use]
    pub fn embeddings(mut self) -> Self {
        self.body = Body::Embeddings;
        self
    }

    /// The same in Ollama's own dialect.
    #[must_use]
    pub fn ollama_embeddings(mut self) -> Self {
        self.body = Body::OllamaEmbeddings;
        self
    }

    /// These bytes, as JSON unless a header says otherwise.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Whole(body.into());
        self
    }

    /// A stream of these bytes, each item in a chunk of its own, usually an event.
    #[must_use]
    pub fn events<T: Into<Vec<u8>>>(mut self, events: impl IntoIterator<Item = T>) -> Self {
        self.body = Body::Events(events.into_iter().map(Into::into).collect());
        self
    }

    /// These bytes after the head, without a word about where they end, unless a header says so.
    #[must_use]
    pub fn unframed(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Unframed(bytes.into());
        self
    }

    /// These bytes instead of an answer.
    #[must_use]
    pub fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Raw(bytes.into());
        self
    }

    /// Sends the last event, or all of another body, byte by byte with these pauses, again and again.
    #[must_use]
    pub fn trickle(mut self, pause: Duration) -> Self {
        self.pace = Pace::Trickle(pause);
        self
    }

    /// Sends the last event, or all of another body, again and again, up to a gigabyte.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.pace = Pace::Endless;
        self
    }

    /// Closes a connection when a second request comes on it.
    #[must_use]
    pub fn once_per_connection(mut self) -> Self {
        self.once_per_connection = true;
        self
    }

    /// Sends each event only when the test says so: [`Upstream::let_go`].
    #[must_use]
    pub fn by_permit(mut self) -> Self {
        self.by_permit = true;
        self
    }

    /// Breaks off after the events, or in the middle of another body.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Resets the connection after the events, or in the middle of another body.
    #[must_use]
    pub fn reset_after(mut self) -> Self {
        self.end = End::Reset;
        self
    }

    /// Falls silent after the events, or in the middle of another body.
    #[must_use]
    pub fn stall(mut self) -> Self {
        self.end = End::Stall;
        self
    }

    /// Never answers.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.start = Start::Silence;
        self
    }

    /// Resets the connection instead of answering.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.start = Start::Reset;
        self
    }

    /// Announces this length whatever the body has.
    #[must_use]
    pub fn content_length(mut self, length: usize) -> Self {
        self.announced = Some(length);
        self
    }

    /// Waits before it answers.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Each `n`-th request gets this instead.
    #[must_use]
    pub fn every(self, n: usize, reply: Self) -> Self {
        self.case(Case::Every(n), reply)
    }

    /// Requests with this key get this instead.
    #[must_use]
    pub fn to_key(self, key: &str, reply: Self) -> Self {
        self.case(Case::Key(key.to_owned()), reply)
    }

    /// Requests for this path get this instead.
    #[must_use]
    pub fn at(self, path: &str, reply: Self) -> Self {
        self.case(Case::Path(path.to_owned()), reply)
    }

    /// Requests for a stream get this instead.
    #[must_use]
    pub fn to_streams(self, reply: Self) -> Self {
        self.case(Case::Streamed, reply)
    }

    /// Requests whose body holds this text get this instead.
    #[must_use]
    pub fn to_body(self, text: &str, reply: Self) -> Self {
        self.case(Case::Body(text.to_owned()), reply)
    }

    fn case(mut self, case: Case, reply: Self) -> Self {
        self.cases.push((case, reply));
        self
    }

    /// Whether it closes the connection instead of answering.
    pub(crate) fn says_nothing(&self) -> bool {
        self.end == End::Cut && matches!(&self.body, Body::Raw(bytes) if bytes.is_empty())
    }

    /// The answer to the request of this number, from 1.
    pub(crate) fn for_request(&self, head: &Head, body: &[u8], number: usize) -> &Self {
        let applies = |case: &Case| match case {
            Case::Every(n) => number.is_multiple_of(*n),
            Case::Key(key) => head.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) == Some(key),
            Case::Path(path) => head.path() == path,
            Case::Streamed => wants_stream(body),
            Case::Body(text) => String::from_utf8_lossy(body).contains(text),
        };
        self.cases.iter().find(|(case, _)| applies(case)).map_or(self, |(_, reply)| reply)
    }

    /// Opens the socket.
    pub async fn start(self) -> Upstream {
        Upstream::start(self).await
    }

    pub(crate) fn script(&self, request: &[u8]) -> Script {
        match &self.body {
            Body::Chat(text) if wants_stream(request) => {
                Script::Events(self.speech.events(text).into_iter().map(String::into_bytes).collect())
            }
            Body::Chat(text) => Script::Whole(self.speech.whole(text).into_bytes()),
            Body::Whole(body) => Script::Whole(body.clone()),
            Body::Events(events) => Script::Events(events.clone()),
            Body::Unframed(bytes) => Script::Unframed(bytes.clone()),
            Body::Raw(bytes) => Script::Raw(bytes.clone()),
            Body::Embeddings => Script::Whole(embeddings_body(request).into_bytes()),
            Body::OllamaEmbeddings => Script::Whole(ollama_embeddings_body(request).into_bytes()),
        }
    }
}

/// What goes over the wire, after the head where there is one.
pub(crate) enum Script {
    Whole(Vec<u8>),
    Events(Vec<Vec<u8>>),
    Unframed(Vec<u8>),
    Raw(Vec<u8>),
}

/// A chat completion with this text.
pub fn chat_body(text: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "real",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    })
    .to_string()
}

/// The events of a streamed chat completion, one for each word, the last is `[DONE]`.
pub fn chat_events(text: &str) -> Vec<String> {
    let words = text.split_inclusive(' ').map(|word| chunk(&json!({"content": word}), None));
    words.chain([chunk(&json!({}), Some("stop")), DONE.to_owned()]).collect()
}

/// The event that ends every stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// An error in OpenAI's shape.
pub fn error_body(message: &str) -> String {
    json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}}).to_string()
}

fn texts_of(request: &[u8]) -> Vec<Value> {
    let request: Value = serde_json::from_slice(request).expect("the upstream was sent JSON");
    match &request["input"] {
        Value::Array(texts) => texts.clone(),
        text => vec![text.clone()],
    }
}

fn length(text: &Value) -> usize {
    text.as_str().map_or(0, str::len)
}

/// As Ollama's docs/api.md has it.
fn ollama_embeddings_body(request: &[u8]) -> String {
    let texts = texts_of(request);
    let vectors: Vec<Value> = texts.iter().enumerate().map(|(index, text)| json!([length(text), index])).collect();
    let tokens: usize = texts.iter().map(length).sum();
    json!({"model": "real", "embeddings": vectors, "total_duration": 14_143_917, "prompt_eval_count": tokens})
        .to_string()
}

fn embeddings_body(request: &[u8]) -> String {
    let texts = texts_of(request);
    let embedding = |(index, text): (usize, &Value)| json!({"object": "embedding", "index": index, "embedding": [length(text), index]});
    let data: Vec<Value> = texts.iter().enumerate().map(embedding).collect();
    let tokens: usize = texts.iter().map(length).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    json!({"object": "list", "model": "real", "data": data, "usage": usage}).to_string()
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    let chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "real",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    });
    format!("data: {chunk}\n\n")
}

fn wants_stream(request: &[u8]) -> bool {
    serde_json::from_slice::<Value>(request).is_ok_and(|request| request["stream"] == true)
}
