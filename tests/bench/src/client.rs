//! The load: requests one after the other on a connection, and open-loop arrivals that do not wait for answers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::wire::{self, Chunks, Framing, Head, bad};

/// A chat request of 0.27 kB, whole.
pub(crate) const CHAT: Request = Request::to_gateway(CHAT_BODY);
/// The same, asking for a stream.
pub(crate) const STREAM: Request = Request::to_gateway(STREAM_BODY);

/// To the route whose policy runs away.
pub(crate) const RUNAWAY: Request = Request::to_gateway(RUNAWAY_BODY);
/// For the embedding of one sentence.
pub(crate) const EMBEDDING: Request = Request { path: "/v1/embeddings", body: EMBEDDING_BODY, status: 200 };

/// 270 bytes.
pub(crate) const CHAT_BODY: &str = r#"{"model":"bench","messages":[{"role":"system","content":"You are a helpful assistant. Answer briefly and say when you are not sure."},{"role":"user","content":"What is the quickest way to find out which of several servers will answer first?"}],"max_tokens":256,"temperature":0.7}"#;
const CHAT_PATH: &str = "/v1/chat/completions";
const EMBEDDING_BODY: &str =
    r#"{"model":"bench","input":"What is the quickest way to find out which of several servers will answer first?"}"#;
const STREAM_BODY: &str = r#"{"model":"bench","stream":true,"messages":[{"role":"system","content":"You are a helpful assistant. Answer briefly and say when you are not sure."},{"role":"user","content":"What is the quickest way to find out which of several servers will answer first?"}],"max_tokens":256}"#;

const RUNAWAY_BODY: &str =
    r#"{"model":"runaway","max_tokens":666,"messages":[{"role":"user","content":"How long is for ever?"}]}"#;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    /// What is a good answer.
    pub(crate) status: u16,
}

impl Request {
    pub(crate) const fn to_gateway(body: &'static str) -> Self {
        Self { path: CHAT_PATH, body, status: 200 }
    }

    fn bytes(self) -> Vec<u8> {
        let Self { path, body, .. } = self;
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// One answer, as the client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// When the request was sent.
    pub(crate) sent: Instant,
    /// To the first byte of the body.
    pub(crate) first: Duration,
    /// To the last.
    pub(crate) whole: Duration,
    /// Events of a stream, the closing one not counted.
    pub(crate) events: usize,
    /// The answer's `x-witgate-policy`.
    pub(crate) policy: Option<Box<str>>,
}

/// A connection that is used for one request after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
    body: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, received: Vec::with_capacity(16 * 1024), body: Vec::with_capacity(16 * 1024) })
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// When the answer is not a complete one with the status that is wanted.
    pub(crate) async fn ask(&mut self, request: Request) -> io::Result<Answer> {
        let bytes = request.bytes();
        self.received.clear();
        self.body.clear();
        let sent = Instant::now();
        self.socket.write_all(&bytes).await?;
        let head = loop {
            self.read().await?;
            if let Some(head) = Head::parse(&self.received)? {
                break head;
            }
        };
        let first = match head.body {
            Framing::Length(length) => self.read_length(&head, length, sent).await?,
            Framing::Chunked => self.read_chunks(&head, sent).await?,
        };
        let whole = sent.elapsed();
        let lines = &self.received[..head.length];
        if wire::status(lines) != Some(request.status) {
            return Err(bad(&String::from_utf8_lossy(&self.received)));
        }
        let policy = wire::header(lines, "x-witgate-policy").map(Box::from);
        Ok(Answer { sent, first, whole, events: self.events()?, policy })
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn read_length(&mut self, head: &Head, length: usize, sent: Instant) -> io::Result<Duration> {
        while self.received.len() == head.length && length > 0 {
            self.read().await?;
        }
        let first = sent.elapsed();
        while self.received.len() < head.length + length {
            self.read().await?;
        }
        Ok(first)
    }

    async fn read_chunks(&mut self, head: &Head, sent: Instant) -> io::Result<Duration> {
        let (mut chunks, mut first, mut fed) = (Chunks::new(), None, head.length);
        loop {
            let complete = chunks.feed(&self.received[fed..], &mut self.body)?;
            fed = self.received.len();
            if !self.body.is_empty() {
                first.get_or_insert_with(|| sent.elapsed());
            }
            if complete {
                return Ok(first.unwrap_or_else(|| sent.elapsed()));
            }
            self.read().await?;
        }
    }

    /// A stream that does not end with `[DONE]` was cut.
    fn events(&self) -> io::Result<usize> {
        match memchr::memmem::find_iter(&self.body, b"data: ").count() {
            0 => Ok(0),
            lines if self.body.ends_with(b"data: [DONE]\n\n") => Ok(lines - 1),
            _ => Err(bad("the stream ended without [DONE]")),
        }
    }
}

/// What came of some load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// In the order of their ends.
    pub(crate) answers: Vec<Answer>,
    /// Requests without a good answer, by what went wrong.
    pub(crate) failures: Vec<String>,
}

impl Load {
    fn note(&mut self, answer: io::Result<Answer>) {
        match answer {
            Ok(answer) => self.answers.push(answer),
            Err(error) => self.failures.push(error.to_string()),
        }
    }
}

/// Asks at random moments, `rate` times a second on average, for `time`, whether earlier answers have come or not.
/// Random, because a fixed rhythm can fall in step with a timer of the gateway.
///
/// # Errors
/// When no connection can be opened at the start.
pub(crate) async fn open_loop(address: SocketAddr, request: Request, rate: f64, time: Duration) -> io::Result<Load> {
    let idle = Rc::new(RefCell::new(VecDeque::new()));
    for _ in 0..WARM {
        let mut connection = Connection::open(address).await?;
        connection.ask(request).await?;
        idle.borrow_mut().push_back(connection);
    }
    let load = Rc::new(RefCell::new(Load::default()));
    let mut running = JoinSet::new();
    let started = Instant::now();
    let mut due = Duration::ZERO;
    while due < time {
        tokio::time::sleep_until((started + due).into()).await;
        while due <= started.elapsed() {
            running.spawn_local(ask_once(address, request, Rc::clone(&idle), Rc::clone(&load)));
            due += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    Ok(load.take())
}

async fn ask_once(
    address: SocketAddr,
    request: Request,
    idle: Rc<RefCell<VecDeque<Connection>>>,
    load: Rc<RefCell<Load>>,
) {
    let kept = idle.borrow_mut().pop_front();
    let answer = async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        let answer = connection.ask(request).await?;
        idle.borrow_mut().push_back(connection);
        Ok(answer)
    };
    let answer = answer.await;
    load.borrow_mut().note(answer);
}

/// Keeps `connections` busy for `time`, each with one request after the other.
pub(crate) async fn closed_loop(address: SocketAddr, request: Request, connections: usize, time: Duration) -> Load {
    let load = Rc::new(RefCell::new(Load::default()));
    let mut running = JoinSet::new();
    let end = Instant::now() + time;
    for _ in 0..connections {
        let load = Rc::clone(&load);
        running.spawn_local(async move {
            while Instant::now() < end {
                if let Err(error) = keep_asking(address, request, end, &load).await {
                    load.borrow_mut().note(Err(error));
                    // An address where nobody listens is not hammered.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    while running.join_next().await.is_some() {}
    load.take()
}

async fn keep_asking(address: SocketAddr, request: Request, end: Instant, load: &RefCell<Load>) -> io::Result<()> {
    let mut connection = Connection::open(address).await?;
    while Instant::now() < end {
        let answer = connection.ask(request).await?;
        load.borrow_mut().note(Ok(answer));
    }
    Ok(())
}

/// Connections that are open before the first arrival.
const WARM: usize = 8;
