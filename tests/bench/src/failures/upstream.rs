//! A model server whose mood can be changed while it runs: well, down, failing, browned out, hung.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::free_address;
use crate::wire::{Framing, Head, bad};

/// What a server does with requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    /// Answers.
    Well,
    /// Nobody listens.
    Down,
    /// Says 500 at once.
    Failing,
    /// Fails every second request, and takes its time for the others.
    Brown,
    /// Takes requests and says nothing.
    Hung,
    /// Says 500 to so many of a thousand requests, at random.
    Noisy(u32),
}

/// A running server; it ends with the value.
pub(super) struct Moody {
    pub(super) address: SocketAddr,
    shared: Rc<Shared>,
    running: RefCell<Option<JoinSet<()>>>,
}

struct Shared {
    mood: Cell<Mood>,
    hits: Cell<u64>,
}

impl Moody {
    /// A server that is well.
    ///
    /// # Errors
    /// When there is no free port.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let shared = Rc::new(Shared { mood: Cell::new(Mood::Well), hits: Cell::new(0) });
        let moody = Self { address: free_address()?, shared, running: RefCell::default() };
        moody.listen().await?;
        Ok(moody)
    }

    /// Behaves like this from now on.
    ///
    /// # Errors
    /// When its port has been taken by somebody else.
    pub(super) async fn becomes(&self, mood: Mood) -> io::Result<()> {
        self.shared.mood.set(mood);
        if mood == Mood::Down {
            // The listener and all connections go with their tasks.
            self.running.take();
            return Ok(());
        }
        if self.running.borrow().is_none() { self.listen().await } else { Ok(()) }
    }

    /// Requests for an answer that have come.
    pub(super) fn hits(&self) -> u64 {
        self.shared.hits.get()
    }

    async fn listen(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let shared = Rc::clone(&self.shared);
        let mut running = JoinSet::new();
        running.spawn_local(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Rc::clone(&shared);
                // A connection that the gateway closes is no error here.
                connections.spawn_local(async move { converse(socket, &shared).await });
                while connections.try_join_next().is_some() {}
            }
        });
        *self.running.borrow_mut() = Some(running);
        Ok(())
    }
}

async fn converse(mut socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let request = loop {
            if let Some(head) = Head::parse(&buffer)? {
                let Framing::Length(body) = head.body else { return Err(bad("the server takes no chunked requests")) };
                if buffer.len() >= head.length + body {
                    break head.length + body;
                }
            }
            if socket.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let asked = buffer.starts_with(b"POST ");
        buffer.drain(..request);
        shared.hits.set(shared.hits.get() + u64::from(asked));
        let (status, wait) = match shared.mood.get() {
            Mood::Well => (200, Duration::ZERO),
            Mood::Down => return Ok(()),
            Mood::Failing => (500, Duration::ZERO),
            Mood::Brown if fastrand::bool() => (502, Duration::ZERO),
            Mood::Brown => (200, Duration::from_millis(200)),
            Mood::Hung => {
                // Until the gateway gives up.
                while socket.read_buf(&mut buffer).await? > 0 {}
                return Ok(());
            }
            Mood::Noisy(thousandths) => (if fastrand::u32(..1000) < thousandths { 500 } else { 200 }, Duration::ZERO),
        };
        tokio::time::sleep(PACE + wait).await;
        let body = if status == 200 { ANSWER } else { ERROR };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(head.as_bytes()).await?;
    }
}

/// A server that is well takes so long.
const PACE: Duration = Duration::from_millis(5);
const ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":42,"completion_tokens":1,"total_tokens":43}}"#;
const ERROR: &str = r#"{"error":{"message":"out of memory","type":"server_error","param":null,"code":null}}"#;
