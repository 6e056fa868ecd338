//! Cuts a byte stream into server-sent events, however it arrives, and leaves every byte as it was.
//!
//! Lines may end in `\n`, `\r` or `\r\n`, also mixed. An event ends with its blank line. A comment between events is
//! handed out as soon as its own line is complete, because it is there to keep the connection alive. Nothing is copied
//! unless an event is spread over several chunks. Events above the limit are an error, so that an upstream cannot fill
//! the memory with one.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// One event's limit where nothing else is said: an image as base64 fits.
pub const DEFAULT_LIMIT: usize = 16 << 20;

/// Cuts one stream.
#[derive(Debug)]
pub struct Splitter {
    /// Of this chunk, what has not been handed out.
    chunk: Bytes,
    /// The beginning of an event whose end has not come.
    partial: BytesMut,
    line: Line,
    /// Whether the event has a field: a comment or a blank line alone is none.
    in_event: bool,
    /// Whether the last byte was a `\r`, so that a `\n` now belongs to the same line end.
    after_return: bool,
    limit: usize,
}

/// An event that is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct TooLarge {
    /// The limit.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing of it has been seen.
    Start,
    /// It begins with a colon.
    Comment,
    /// It begins with anything else.
    Field,
}

impl Splitter {
    /// A splitter at the start of a stream.
    pub fn new(limit: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            line: Line::Start,
            in_event: false,
            after_return: false,
            limit,
        }
    }

    /// Takes the next chunk. All events of the one before must have been taken out.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "events of the last chunk were left behind");
        self.chunk = chunk;
    }

    /// The next whole event (or comment line, or stray blank line), with its line ends; `None` when the next chunk is
    /// needed.
    ///
    /// # Errors
    /// When an event is above the limit. Nothing more comes then.
    pub fn next_event(&mut self) -> Result<Option<Bytes>, TooLarge> {
        let end = self.scan();
        let length = self.partial.len() + end.unwrap_or(self.chunk.len());
        if length > self.limit {
            self.chunk.clear();
            self.partial.clear();
            return Err(TooLarge { limit: self.limit });
        }
        let Some(end) = end else {
            self.partial.extend_from_slice(&self.chunk);
            self.chunk.clear();
            return Ok(None);
        };
        let tail = self.chunk.split_to(end);
        if self.partial.is_empty() {
            return Ok(Some(tail));
        }
        self.partial.extend_from_slice(&tail);
        Ok(Some(self.partial.split().freeze()))
    }

    /// All events that are whole and that `keep` wants, as one piece where they lie in one; it is asked about each of
    /// them once, in order, and one that it does not want ends the piece. `None` when there is none.
    ///
    /// # Errors
    /// When an event is above the limit. Nothing more comes then.
    pub fn next_run(&mut self, mut keep: impl FnMut(&[u8]) -> bool) -> Result<Option<Bytes>, TooLarge> {
        let (mut whole, mut joined, mut first);
        loop {
            whole = self.chunk.clone();
            joined = !self.partial.is_empty();
            let Some(event) = self.next_event()? else { return Ok(None) };
            first = event;
            if keep(&first) {
                break;
            }
        }
        if joined {
            return Ok(Some(first));
        }
        let mut length = first.len();
        while !self.chunk.is_empty() {
            let Some(event) = self.next_event()? else { break };
            if !keep(&event) {
                break;
            }
            length += event.len();
        }
        Ok(Some(whole.slice(..length)))
    }

    /// Whether the stream stands within an event: at its end, whether it was cut off.
    pub fn within_event(&self) -> bool {
        self.in_event || self.line != Line::Start
    }

    /// Goes on from where the last call stopped; the end of the event that is complete first.
    fn scan(&mut self) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = self.chunk.get(at).copied() {
            if self.line == Line::Start {
                if std::mem::take(&mut self.after_return) && byte == b'\n' {
                    at += 1;
                    continue;
                }
                self.line = match byte {
                    b'\n' | b'\r' => {
                        self.in_event = false;
                        return Some(self.line_end(at));
                    }
                    b':' => Line::Comment,
                    _ => {
                        self.in_event = true;
                        Line::Field
                    }
                };
            }
            let end = memchr::memchr2(b'\n', b'\r', &self.chunk[at..])?;
            at = self.line_end(at + end);
            let comment = self.line == Line::Comment;
            self.line = Line::Start;
            if comment && !self.in_event {
                return Some(at);
            }
        }
        None
    }

    /// The place after the line end that begins at `at`.
    fn line_end(&mut self, at: usize) -> usize {
        let after = at + 1;
        if self.chunk[at] == b'\n' {
            return after;
        }
        match self.chunk.get(after) {
            Some(b'\n') => after + 1,
            Some(_) => after,
            None => {
                self.after_return = true;
                after
            }
        }
    }
}

/// Makes events out of a stream of lines, as Ollama's are, so that one cutter does for all: each line is the data of one.
#[derive(Debug, Default)]
pub struct Lines {
    within: bool,
}

impl Lines {
    /// The next chunk as it would be if it were of events. A line that is not whole gives an event that is not.
    pub fn push(&mut self, chunk: &[u8]) -> Bytes {
        let mut events = BytesMut::with_capacity(chunk.len() + PREFIX.len() + 2);
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            // A line may end in `\r\n`; within JSON no bare `\r` matters.
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if !text.is_empty() && !std::mem::replace(&mut self.within, true) {
                events.extend_from_slice(PREFIX);
            }
            events.extend_from_slice(text);
            if ends && std::mem::take(&mut self.within) {
                events.extend_from_slice(b"\n\n");
            }
        }
        events.freeze()
    }

    /// What ends the last line where the stream does not.
    pub fn end(&mut self) -> Bytes {
        Bytes::from_static(if std::mem::take(&mut self.within) { b"\n\n" } else { b"" })
    }
}

const PREFIX: &[u8] = b"data: ";

/// The data of an event: its `data` lines, joined by newlines. `None` when it has none.
pub fn data(event: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut values = lines(event).filter_map(|line| value(line, b"data"));
    let first = values.next()?;
    let mut joined = Cow::Borrowed(first);
    for next in values {
        let joined = joined.to_mut();
        joined.push(b'\n');
        joined.extend_from_slice(next);
    }
    Some(joined)
}

/// Whether it is a comment, which is handed out line by line.
pub fn is_comment(event: &[u8]) -> bool {
    lines(event).next().is_some_and(|line| line.starts_with(b":")) && lines(event).nth(1).is_none()
}

/// Whether the event has this name (`event: name`).
pub fn is_named(event: &[u8], name: &[u8]) -> bool {
    lines(event).any(|line| value(line, b"event") == Some(name))
}

fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    event.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty())
}

fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(field)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
