//! A client that sees every byte of an answer, and each event of a stream when it comes.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::in_time;
use crate::wire::{Framing, Head, Wire};

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// To a gateway at this address.
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self { address, method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// This body, announced as JSON.
    #[must_use]
    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// This body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Answer {
        self.try_send().await.expect("an answer")
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// When the connection fails or the answer breaks off.
    pub async fn try_send(self) -> io::Result<Answer> {
        in_time(async {
            let mut wire = Wire::new(TcpStream::connect(self.address).await?)?;
            wire.send(&self.bytes()).await?;
            answer(&mut wire, &self.method).await
        })
        .await
    }

    /// Sends it and reads the head of the answer; the rest comes event by event.
    pub async fn stream(self) -> EventStream {
        in_time(async {
            let mut wire = Wire::new(TcpStream::connect(self.address).await.expect("a connection")).expect("a socket");
            wire.send(&self.bytes()).await.expect("the request is taken");
            let head = wire.head().await.expect("an answer").expect("an answer");
            let framing = Framing::of(&head, Framing::Close);
            EventStream { status: status(&head), head, wire, framing, text: String::new() }
        })
        .await
    }

    /// Sends it and does not wait for anything; the connection closes when the value is dropped.
    pub async fn begin(self) -> Begun {
        let mut wire = Wire::new(TcpStream::connect(self.address).await.expect("a connection")).expect("a socket");
        wire.send(&self.bytes()).await.expect("the request is taken");
        Begun { wire, method: self.method }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", self.method, self.path, self.address);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() || self.method == "POST" {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// A request whose answer has not been read.
#[derive(Debug)]
pub struct Begun {
    wire: Wire,
    method: String,
}

impl Begun {
    /// Reads so many bytes of the answer, and forgets them; gives how many there were.
    pub async fn take(&mut self, bytes: usize) -> usize {
        in_time(self.wire.pass_over(bytes)).await.expect("an answer")
    }

    /// Reads the whole answer.
    pub async fn answer(mut self) -> Answer {
        in_time(answer(&mut self.wire, &self.method)).await.expect("an answer")
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As a number.
    pub status: u16,
    /// First line and headers.
    pub head: Head,
    /// Every byte.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The deployment that the receipt names.
    pub fn deployment(&self) -> Option<&str> {
        self.header("x-witgate-deployment")
    }

    /// Attempts that the receipt names.
    pub fn attempts(&self) -> Option<&str> {
        self.header("x-witgate-attempts")
    }

    /// The policy that the receipt names, without its revision.
    pub fn policy(&self) -> Option<&str> {
        self.header("x-witgate-policy").map(|policy| policy.split('/').next().unwrap_or_default())
    }

    /// The body, read as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body_text()))
    }

    /// The body as text.
    pub fn body_text(&self) -> &str {
        str::from_utf8(&self.body).expect("the answer is UTF-8")
    }

    /// What the model said.
    pub fn text(&self) -> String {
        let text = &self.json()["choices"][0]["message"]["content"];
        text.as_str().unwrap_or_else(|| panic!("no chat completion: {} {}", self.status, self.body_text())).to_owned()
    }

    /// The message of an error; the other three keys must be there too.
    pub fn error_message(&self) -> String {
        let error = &self.json()["error"];
        let keys: Vec<&String> = error.as_object().into_iter().flat_map(|error| error.keys()).collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{} {}", self.status, self.body_text());
        error["message"].as_str().expect("a text").to_owned()
    }
}

/// A streamed answer.
#[derive(Debug)]
pub struct EventStream {
    /// As a number.
    pub status: u16,
    /// First line and headers.
    pub head: Head,
    wire: Wire,
    framing: Framing,
    text: String,
}

impl EventStream {
    /// The next event with its blank line, as soon as it is there; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks before the end of the body.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        in_time(async {
            loop {
                if let Some(end) = self.text.find("\n\n") {
                    return Ok(Some(self.text.drain(..end + 2).collect()));
                }
                match self.wire.piece(&mut self.framing).await? {
                    Some(piece) => self.text += str::from_utf8(&piece).expect("events are UTF-8"),
                    None if self.text.is_empty() => return Ok(None),
                    None => return Ok(Some(std::mem::take(&mut self.text))),
                }
            }
        })
        .await
    }

    /// The next event, which must come.
    pub async fn event(&mut self) -> String {
        self.next().await.expect("the stream goes on").expect("one more event")
    }

    /// All events up to the proper end of the body.
    pub async fn rest(mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await.expect("the body ends properly") {
            events.push(event);
        }
        events
    }
}

/// A chat request.
pub fn chat_request(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// A chat request for a stream.
pub fn stream_request(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}], "stream": true})
}

/// Sends bytes that need not be HTTP, and gives whatever comes back until the connection is closed.
pub async fn send_raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    in_time(async {
        let mut wire = Wire::new(TcpStream::connect(address).await?)?;
        wire.send(bytes).await?;
        wire.body(Framing::Close).await
    })
    .await
    .expect("the gateway closes the connection in order")
}

async fn answer(wire: &mut Wire, method: &str) -> io::Result<Answer> {
    let head = wire.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let without_body = method == "HEAD" || status(&head) == 204;
    let framing = if without_body { Framing::Ended } else { Framing::of(&head, Framing::Close) };
    let body = wire.body(framing).await?;
    Ok(Answer { status: status(&head), head, body })
}

fn status(head: &Head) -> u16 {
    head.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}
