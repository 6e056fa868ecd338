//! A server that does to each connection what a test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Runs `script` on every connection.
    pub(super) async fn start<F>(script: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let number = counted.fetch_add(1, SeqCst);
                tokio::spawn(script(Peer { socket, number }));
            }
        });
        Self { address, connections }
    }

    /// Answers every request on every connection with this.
    pub(super) async fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |mut peer| {
            let answer = answer.clone();
            async move {
                while peer.request().await.is_some() {
                    peer.send(&answer).await;
                }
            }
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// The other side of one connection.
pub(super) struct Peer {
    socket: TcpStream,
    /// 0 for the first connection.
    pub(super) number: usize,
}

impl Peer {
    /// The next request, head and body; `None` when the connection was closed.
    pub(super) async fn request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return Some(text.into_owned());
                }
            }
            if self.socket.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        // A client that has gone away is part of some stories.
        let _ = self.socket.write_all(text.as_bytes()).await;
    }

    /// Ends the connection with a reset instead of an end.
    pub(super) fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }

    /// Keeps the connection open and says nothing, until the client closes it.
    pub(super) async fn wait_for_close(&mut self) {
        let mut rest = Vec::new();
        let _ = self.socket.read_to_end(&mut rest).await;
    }
}

pub(super) async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// An answer with a JSON body.
pub(super) fn json(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub(super) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One chunk of a chunked body.
pub(super) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// A stream of these chunks that ends as it should.
pub(super) fn chunked(chunks: &[&str]) -> String {
    let chunks: String = chunks.iter().map(|data| chunk(data)).collect();
    format!("{STREAM_HEAD}{chunks}0\r\n\r\n")
}
