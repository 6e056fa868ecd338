//! HTTP/1.1 by hand: a test must see every byte, and be able to send wrong ones.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The lines of a request or an answer before its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub start: String,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// What the first line asks for.
    pub fn path(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The names of all headers, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("no header: {line:?}")))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Self { start, headers: headers.collect::<io::Result<_>>()? })
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This many bytes are still to come.
    Length(usize),
    /// `Transfer-Encoding: chunked`
    Chunked,
    /// The connection is closed.
    Close,
    /// It has come.
    Ended,
}

impl Framing {
    /// What the head says; `otherwise` when it says nothing.
    pub(crate) fn of(head: &Head, otherwise: Self) -> Self {
        if head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Self::Chunked;
        }
        head.header("content-length").and_then(|value| value.parse().ok()).map_or(otherwise, Self::Length)
    }
}

/// One connection, either side of it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// `None` when the other side closed the connection before a new message.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = Head::parse(&self.buffer[..end])?;
                self.buffer.drain(..end + 4);
                return Ok(Some(head));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut()) };
            }
        }
    }

    /// The next bytes of a body as they come; `None` at its end.
    pub(crate) async fn piece(&mut self, framing: &mut Framing) -> io::Result<Option<Vec<u8>>> {
        loop {
            match framing {
                Framing::Ended | Framing::Length(0) => return Ok(None),
                Framing::Length(left) if !self.buffer.is_empty() => {
                    let piece = self.take((*left).min(self.buffer.len()));
                    *left -= piece.len();
                    return Ok(Some(piece));
                }
                Framing::Close if !self.buffer.is_empty() => return Ok(Some(self.take(self.buffer.len()))),
                Framing::Chunked => {
                    if let Some(piece) = self.chunk()? {
                        if piece.is_empty() {
                            *framing = Framing::Ended;
                            return Ok(None);
                        }
                        return Ok(Some(piece));
                    }
                }
                Framing::Length(_) | Framing::Close => {}
            }
            if !self.fill().await? {
                return if *framing == Framing::Close { Ok(None) } else { Err(cut()) };
            }
        }
    }

    /// The rest of a body.
    pub(crate) async fn body(&mut self, mut framing: Framing) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut framing).await? {
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Reads so many bytes, or as many as there are, and keeps none.
    pub(crate) async fn pass_over(&mut self, bytes: usize) -> io::Result<usize> {
        let mut left = bytes;
        while left > 0 && (!self.buffer.is_empty() || self.fill().await?) {
            left -= left.min(self.buffer.len());
            self.buffer.clear();
        }
        Ok(bytes - left)
    }

    /// Waits until the other side closes the connection.
    pub(crate) async fn closed(&mut self) {
        while let Ok(true) = self.fill().await {}
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO))
    }

    /// One whole chunk, the last one is empty; `None` when it has not come whole.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(line) = find(&self.buffer, b"\r\n") else { return Ok(None) };
        let size = String::from_utf8_lossy(&self.buffer[..line]).into_owned();
        let size = usize::from_str_radix(&size, 16).map_err(|_| invalid(format!("no chunk size: {size:?}")))?;
        let end = line + 2 + size + 2;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let chunk = self.buffer[line + 2..end - 2].to_vec();
        self.buffer.drain(..end);
        Ok(Some(chunk))
    }

    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.buffer.drain(..length).collect()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed within a message")
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
