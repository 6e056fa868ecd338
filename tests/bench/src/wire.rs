//! As much HTTP/1.1 as the mock and the load need: heads, bodies by length, and chunked bodies.
//!
//! What a gateway sends is decoded in full, because a proxy may cut a stream anywhere; nothing is searched for in
//! bytes that still have their framing.

use std::io;

/// The head of a request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes, the empty line included.
    pub(crate) length: usize,
    /// How the body ends.
    pub(crate) body: Framing,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(usize),
    /// With a chunk of size 0.
    Chunked,
}

impl Head {
    /// The head at the start of `bytes`; `None` while it is not complete.
    ///
    /// # Errors
    /// When a length is no number.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let head = &bytes[..end + 4];
        let chunked = header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let body = match header(head, "content-length") {
            _ if chunked => Framing::Chunked,
            Some(text) => Framing::Length(text.parse().map_err(|_| bad("content-length is not a number"))?),
            None => Framing::Length(0),
        };
        Ok(Some(Self { length: head.len(), body }))
    }
}

/// The status of an answer.
pub(crate) fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

/// The value of a header, by its name in lower case.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (key, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        let found = key.eq_ignore_ascii_case(name.as_bytes());
        found.then(|| std::str::from_utf8(&value[1..]).map(str::trim).ok()).flatten()
    })
}

/// Takes the framing off a chunked body, however it is cut.
#[derive(Debug)]
pub(crate) struct Chunks {
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    /// The line with a chunk's size; `true` once the extension after it has begun.
    Size(usize, bool),
    /// So many bytes of data.
    Data(usize),
    /// The end of the line after the data.
    AfterData,
    /// The lines after the last chunk; the length of the line so far.
    Trailer(usize),
    /// Nothing.
    End,
}

impl Chunks {
    pub(crate) const fn new() -> Self {
        Self { next: Next::Size(0, false) }
    }

    /// Appends the data in `bytes`, and says whether the body is complete.
    ///
    /// # Errors
    /// When the framing is broken.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], data: &mut Vec<u8>) -> io::Result<bool> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Next::Data(left) = self.next {
                let (now, later) = bytes.split_at(left.min(bytes.len()));
                data.extend_from_slice(now);
                bytes = later;
                self.next = if left == now.len() { Next::AfterData } else { Next::Data(left - now.len()) };
                continue;
            }
            self.next = self.next.after(byte)?;
            bytes = rest;
        }
        Ok(matches!(self.next, Next::End))
    }
}

impl Next {
    fn after(self, byte: u8) -> io::Result<Self> {
        Ok(match (self, byte) {
            (Self::Size(0, _), b'\n') => Self::Trailer(0),
            (Self::Size(size, _), b'\n') => Self::Data(size),
            (Self::Size(size, _), b'\r' | b';') => Self::Size(size, true),
            (Self::Size(size, true), _) => Self::Size(size, true),
            (Self::Size(size, false), _) => {
                let digit = char::from(byte).to_digit(16).ok_or_else(|| bad("a chunk's size is not a number"))?;
                Self::Size(size * 16 + digit as usize, false)
            }
            (Self::AfterData, b'\r') => Self::AfterData,
            (Self::AfterData, b'\n') => Self::Size(0, false),
            (Self::Trailer(length), b'\r') => Self::Trailer(length),
            (Self::Trailer(0), b'\n') => Self::End,
            (Self::Trailer(_), b'\n') => Self::Trailer(0),
            (Self::Trailer(length), _) => Self::Trailer(length + 1),
            (Self::AfterData, _) => return Err(bad("a chunk is longer than it says")),
            (Self::End | Self::Data(_), _) => return Err(bad("there are bytes after the last chunk")),
        })
    }
}

pub(crate) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn a_head_says_how_its_body_ends() {
        let parse = |text: &str| Head::parse(text.as_bytes()).unwrap();
        assert_eq!(parse("POST / HTTP/1.1\r\ncontent-length: 3\r\n"), None);
        assert_eq!(
            parse("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
            Some(Head { length: 38, body: Framing::Length(3) })
        );
        let chunked = parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(chunked.body, Framing::Chunked);
        let error = Head::parse(b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n").unwrap_err();
        assert_eq!(error.to_string(), "content-length is not a number");
    }

    #[test]
    fn status_and_headers_are_found() {
        let head = b"HTTP/1.1 429 Too Many\r\nX-A: one\r\nx-b:two\r\n\r\n";
        assert_eq!(status(head), Some(429));
        assert_eq!((header(head, "x-a"), header(head, "x-b"), header(head, "x-c")), (Some("one"), Some("two"), None));
    }

    #[test]
    fn chunks_are_decoded_wherever_they_are_cut() {
        let body = b"5;x=y\r\nhello\r\n1\r\n \r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nT: 1\r\n\r\n";
        for cut in 0..body.len() {
            let (mut chunks, mut data) = (Chunks::new(), Vec::new());
            assert!(!chunks.feed(&body[..cut], &mut data).unwrap());
            assert!(chunks.feed(&body[cut..], &mut data).unwrap());
            assert_eq!(data, b"hello abcdefghijklmnopqrstuvwxyz");
        }
    }

    #[test]
    fn broken_framing_is_an_error() {
        let message = |body: &[u8]| Chunks::new().feed(body, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(message(b"g\r\n"), "a chunk's size is not a number");
        assert_eq!(message(b"1\r\nab"), "a chunk is longer than it says");
        assert_eq!(message(b"0\r\n\r\nx"), "there are bytes after the last chunk");
    }
}
