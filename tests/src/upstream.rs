//! A fake upstream on a real socket, which remembers what it was asked.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::reply::{End, Reply, Script, Start};
use crate::wire::{Framing, Head, Wire};

/// A running fake upstream; it ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// First line and headers.
    pub head: Head,
    /// Every byte.
    pub body: Vec<u8>,
}

impl Received {
    /// The body, read as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the upstream was sent JSON")
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the upstream was sent UTF-8")
    }
}

#[derive(Debug)]
struct Shared {
    reply: Mutex<Reply>,
    received: Mutex<Vec<Received>>,
    permits: Semaphore,
    open: AtomicUsize,
    accepted: AtomicUsize,
    abandoned: AtomicUsize,
}

impl Upstream {
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            reply: Mutex::new(reply),
            received: Mutex::default(),
            permits: Semaphore::new(0),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a provider's `base_url` must be.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Answers like this from now on.
    pub fn becomes(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    /// Requests that came.
    pub fn hits(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// Requests that came for this path.
    pub fn hits_at(&self, path: &str) -> usize {
        self.shared.received.lock().unwrap().iter().filter(|received| received.head.path() == path).count()
    }

    /// Requests that came with this key.
    pub fn hits_with(&self, key: &str) -> usize {
        let bearer = format!("Bearer {key}");
        let received = self.shared.received.lock().unwrap();
        received.iter().filter(|received| received.head.header("authorization") == Some(&bearer)).count()
    }

    /// The request that came last.
    pub fn last(&self) -> Received {
        self.shared.received.lock().unwrap().last().expect("the upstream was asked").clone()
    }

    /// Lets so many events go, with [`Reply::by_permit`].
    pub fn let_go(&self, events: usize) {
        self.shared.permits.add_permits(events);
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Relaxed)
    }

    /// Connections that were ever opened.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Relaxed)
    }

    /// Answers that the other side did not wait for.
    pub fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the upstream: the tasks are owned here.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            shared.accepted.fetch_add(1, Relaxed);
            shared.open.fetch_add(1, Relaxed);
            let _open = OnDrop(|| _ = shared.open.fetch_sub(1, Relaxed));
            // A connection that breaks is what many tests are about; they look at its effects.
            let _ = serve(stream, &shared).await;
        });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    while let Some(head) = wire.head().await? {
        let body = wire.body(Framing::of(&head, Framing::Ended)).await?;
        let reply = shared.reply.lock().unwrap().clone();
        let reply = {
            let mut received = shared.received.lock().unwrap();
            let reply = reply.for_request(&head, &body, received.len() + 1).clone();
            received.push(Received { head, body: body.clone() });
            reply
        };
        let script = reply.script(&body);
        match answer(&mut wire, &reply, script, shared).await {
            Ok(Then::KeepAlive) => {}
            Ok(Then::Close) => return Ok(()),
            Ok(Then::Reset) => return wire.reset(),
            Err(error) => {
                shared.abandoned.fetch_add(1, Relaxed);
                return Err(error);
            }
        }
    }
    Ok(())
}

enum Then {
    KeepAlive,
    Close,
    Reset,
}

/// An error means that the other side went away.
async fn answer(wire: &mut Wire, reply: &Reply, script: Script, shared: &Shared) -> io::Result<Then> {
    if !reply.delay.is_zero() {
        unless_closed(wire, tokio::time::sleep(reply.delay)).await?;
    }
    match reply.start {
        Start::Answer => {}
        Start::Silence => return Err(gone(wire).await),
        Start::Reset => return Ok(Then::Reset),
    }
    wire.send(head(reply, &script).as_bytes()).await?;
    match script {
        Script::Whole(body) if reply.end == End::Complete => wire.send(&body).await?,
        Script::Whole(body) => wire.send(&body[..body.len() / 2]).await?,
        Script::Events(events) => {
            for event in events {
                if reply.by_permit {
                    let permit = unless_closed(wire, shared.permits.acquire()).await?;
                    permit.expect("the semaphore is never closed").forget();
                }
                wire.send(&[format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n"].concat()).await?;
            }
            if reply.end == End::Complete {
                wire.send(b"0\r\n\r\n").await?;
            }
        }
    }
    match reply.end {
        End::Complete if reply.announced.is_some() => Ok(Then::Close),
        End::Complete => Ok(Then::KeepAlive),
        End::Cut => Ok(Then::Close),
        End::Stall => Err(gone(wire).await),
    }
}

fn head(reply: &Reply, script: &Script) -> String {
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    let (content_type, framing) = match script {
        Script::Whole(body) => {
            ("application/json", format!("content-length: {}\r\n", reply.announced.unwrap_or(body.len())))
        }
        Script::Events(_) => ("text/event-stream", "transfer-encoding: chunked\r\n".to_owned()),
    };
    if !reply.headers.iter().any(|(name, _)| name == "content-type") {
        head += &format!("content-type: {content_type}\r\n");
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + &framing + "\r\n"
}

async fn unless_closed<T>(wire: &mut Wire, what: impl Future<Output = T>) -> io::Result<T> {
    tokio::select! {
        biased;
        value = what => Ok(value),
        error = gone(wire) => Err(error),
    }
}

async fn gone(wire: &mut Wire) -> io::Error {
    wire.closed().await;
    io::Error::new(io::ErrorKind::ConnectionAborted, "the other side went away")
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
