//! Everything that a provider may do wrong, as a script for a fake upstream.

use std::time::Duration;

use crate::{Reply, Speech, upstream};

macro_rules! faults {
    ($($name:ident = $text:literal;)*) => {
        /// One way to fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $(#[doc = $text] $name,)* }

        impl Fault {
            /// All of them, from the connection to the end of the answer.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// For people.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    Well = "none";
    Refused = "connection refused";
    ResetAtOnce = "reset before the headers";
    ClosedAtOnce = "closed before the headers";
    Expired = "expired keep-alive connection";
    Silent = "silence instead of headers";
    SlowHeaders = "slow-loris: headers byte by byte";
    NotHttp = "garbage instead of HTTP";
    LongHeader = "1 GB header line";
    Redirects = "redirect loop";
    KeyRefused = "401";
    Limited = "429";
    Broken = "500";
    Overloaded = "503";
    StalledError = "500 whose body stalls";
    SlowError = "500 whose body comes byte by byte";
    ErrorInside = "200 with an error body";
    Html = "200 with a page of HTML";
    Empty = "200 with nothing in it";
    ResetAfterHeaders = "reset after the headers";
    ClosedAfterHeaders = "closed after the headers";
    StalledAfterHeaders = "stall after the headers";
    GarbageFirst = "garbage instead of the first event";
    KeepAlivesOnly = "keep-alive comments and nothing else";
    LongLine = "1 GB line instead of the first event";
    Cut = "cut in the middle";
    Reset = "reset in the middle";
    HalfCharacterCut = "cut within a UTF-8 character";
    HalfCharacter = "half a UTF-8 character";
    Stalled = "stall in the middle";
    SlowBody = "slow-loris: the rest byte by byte";
    TruncatedChunk = "truncated chunk";
    WrongChunk = "chunk size that is no number";
    LengthTooLong = "content-length too long";
    LengthTooShort = "content-length too short";
    Garbage = "garbage among the events";
    LongLineLater = "1 GB line after the first event";
    ErrorEvent = "error event in the middle";
    NoEnd = "end without a finish reason";
    LongCut = "cut in a long answer";
}

/// What the model would have said.
const TEXT: &str = "one \u{1f600} two";

/// What of it a client may have got before the answer broke off: so many words, the longest first.
pub fn beginnings() -> impl Iterator<Item = &'static str> {
    let ends = TEXT.match_indices(' ').map(|(at, _)| at + 1).chain([TEXT.len()]);
    ends.map(|end| &TEXT[..end]).collect::<Vec<_>>().into_iter().rev()
}

impl Fault {
    /// Whether a stream has begun when it strikes, so that nobody can answer instead.
    pub fn strikes_begun_streams(self) -> bool {
        matches!(
            self,
            Self::Cut
                | Self::Reset
                | Self::HalfCharacterCut
                | Self::HalfCharacter
                | Self::Stalled
                | Self::SlowBody
                | Self::TruncatedChunk
                | Self::WrongChunk
                | Self::LengthTooLong
                | Self::LengthTooShort
                | Self::Garbage
                | Self::LongLineLater
                | Self::ErrorEvent
                | Self::NoEnd
        )
    }

    /// What the upstream does; `None`: nobody listens.
    pub fn reply(self, speech: Speech, stream: bool) -> Option<Reply> {
        let well = upstream().speaking(speech);
        let answer = Answer { speech, whole: speech.whole(TEXT), events: speech.events(TEXT), stream };
        Some(match self {
            Self::Well => well.chat("ok"),
            Self::Refused => return None,
            Self::ResetAtOnce => well.reset(),
            Self::ClosedAtOnce => well.raw("").cut(),
            Self::Expired => well.once_per_connection(),
            Self::Silent => well.silent(),
            Self::SlowHeaders => well.raw("HTTP/1.1 200 OK\r\nx-slow: ").trickle(TRICKLE),
            Self::NotHttp => well.raw("SSH-2.0-OpenSSH_9.6\r\n").cut(),
            Self::LongHeader => well.raw("x".repeat(LONG)).endless(),
            Self::Redirects => well.status(307).header("location", speech.path()),
            Self::KeyRefused => well.status(401),
            Self::Limited => well.status(429).header("retry-after", "60"),
            Self::Broken => well.status(500),
            Self::Overloaded => well.status(503),
            Self::StalledError => well.status(500).stall(),
            Self::SlowError => long(well.status(500), "x").trickle(TRICKLE),
            Self::ErrorInside => well.body(speech.error("out of memory")),
            Self::Html => well.header("content-type", "text/html").body("<!doctype html><title>Welcome</title>"),
            Self::Empty if stream => answer.up_to(0, well),
            Self::Empty => well.body(""),
            Self::ResetAfterHeaders => answer.up_to(0, well).reset_after(),
            Self::ClosedAfterHeaders => answer.up_to(0, well).cut(),
            Self::StalledAfterHeaders => answer.up_to(0, well).stall(),
            Self::GarbageFirst => well.events([GARBAGE]),
            Self::KeepAlivesOnly if stream => well.events([": alive\n\n"]).trickle(TRICKLE),
            Self::KeepAlivesOnly => long(well, "\n").trickle(TRICKLE),
            Self::LongLine => well.events(["data: {\"x\":\"", &"x".repeat(LONG)]).endless(),
            Self::Cut => answer.up_to_half(well).cut(),
            Self::Reset => answer.up_to_half(well).reset_after(),
            Self::Stalled => answer.up_to_half(well).stall(),
            Self::SlowBody => answer.up_to_half(well).trickle(TRICKLE),
            Self::HalfCharacterCut if stream => answer.begun_and(well, [up_to_character(&speech.word(WORD))]).cut(),
            Self::HalfCharacterCut => long(well, up_to_character(&answer.whole)).cut(),
            Self::HalfCharacter if stream => answer.with_among(well, &without_character(&speech.word(WORD))),
            Self::HalfCharacter => well.body(without_character(&answer.whole)),
            Self::TruncatedChunk => answer.chunked_and(well, b"500\r\ndata: {"),
            Self::WrongChunk => answer.chunked_and(well, b"oops\r\ndata: {\r\n"),
            Self::LengthTooLong => answer.with_length(well, 500),
            Self::LengthTooShort => answer.with_length(well, -100),
            Self::Garbage => answer.with_among(well, GARBAGE.as_bytes()),
            Self::LongLineLater => {
                answer.begun_and(well, [b"data: {\"x\":\"".to_vec(), "x".repeat(LONG).into_bytes()]).endless()
            }
            Self::ErrorEvent => answer.with_among(well, speech.error_event("out of memory").as_bytes()),
            Self::NoEnd => answer.begun_and(well, [[0; 0]; 0]),
            Self::LongCut => well.body(speech.whole(&"x".repeat(LONG * 4))).cut(),
        })
    }
}

/// An answer that is harmed.
struct Answer {
    speech: Speech,
    whole: String,
    events: Vec<String>,
    stream: bool,
}

impl Answer {
    /// The events up to the first word.
    fn begun(&self) -> &[String] {
        &self.events[..=self.speech.before_words()]
    }

    /// The head and so many bytes of more.
    fn up_to(&self, bytes: usize, reply: Reply) -> Reply {
        match (self.stream, bytes) {
            (true, 0) => reply.events([""; 0]),
            (true, _) => self.begun_and(reply, [&self.events[self.begun().len()].as_bytes()[..bytes]]),
            (false, _) => long(reply, &self.whole.as_bytes()[..bytes]),
        }
    }

    /// Half of the body, or the first words and a bit of the next event.
    fn up_to_half(&self, reply: Reply) -> Reply {
        self.up_to(if self.stream { 20 } else { self.whole.len() / 2 }, reply)
    }

    /// The events up to the first word, and these.
    fn begun_and<T: Into<Vec<u8>>>(&self, reply: Reply, more: impl IntoIterator<Item = T>) -> Reply {
        let begun = self.begun().iter().map(|event| event.as_bytes().to_vec());
        reply.events(begun.chain(more.into_iter().map(Into::into)))
    }

    /// All events, and this one among them.
    fn with_among(&self, reply: Reply, event: &[u8]) -> Reply {
        let rest = self.events[self.begun().len()..].iter().map(|event| event.as_bytes().to_vec());
        self.begun_and(reply, [event.to_vec()].into_iter().chain(rest))
    }

    /// A chunk that is as it should be, and then these bytes.
    fn chunked_and(&self, reply: Reply, bytes: &[u8]) -> Reply {
        let good = if self.stream { self.begun().concat() } else { self.whole[..20].to_owned() };
        let good = format!("{:x}\r\n{good}\r\n", good.len());
        self.typed(reply).header("transfer-encoding", "chunked").unframed([good.as_bytes(), bytes].concat()).cut()
    }

    /// A length that the body does not have. What is too short ends within the event before the last.
    fn with_length(&self, reply: Reply, more: isize) -> Reply {
        let body = match (self.stream, more > 0) {
            (true, true) => self.begun().concat(),
            (true, false) => self.events.concat(),
            (false, _) => self.whole.clone(),
        };
        let length = body.len().checked_add_signed(more).expect("a small difference");
        self.typed(reply).header("content-length", &length.to_string()).unframed(body).cut()
    }

    fn typed(&self, reply: Reply) -> Reply {
        reply.header("content-type", if self.stream { "text/event-stream" } else { "application/json" })
    }
}

/// A body that is announced as longer than these bytes.
fn long(reply: Reply, bytes: impl Into<Vec<u8>>) -> Reply {
    reply.header("content-type", "application/json").header("content-length", "60000").unframed(bytes)
}

/// Ends within the character that takes four bytes.
fn up_to_character(text: &str) -> Vec<u8> {
    let at = text.find(CHARACTER).expect("the character is there");
    text.as_bytes()[..at + 2].to_vec()
}

/// Of the character that takes four bytes, only two are left.
fn without_character(text: &str) -> Vec<u8> {
    let (before, after) = text.split_once(CHARACTER).expect("the character is there");
    [before.as_bytes(), &[0xf0, 0x9f], after.as_bytes()].concat()
}

/// A word with the character in it.
const WORD: &str = "\u{1f600}";
/// Takes four bytes.
const CHARACTER: char = '\u{1f600}';
const GARBAGE: &str = "data: %PDF-1.7\n\n";
/// Between two bytes: a timeout that counts from the last byte never ends.
const TRICKLE: Duration = Duration::from_millis(100);
/// Longer than a short answer is, and sent again and again where there is to be no end.
const LONG: usize = 64 << 10;
