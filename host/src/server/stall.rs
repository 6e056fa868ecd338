//! A client's connection that is given up when the client takes nothing of what is there for it.
//!
//! An answer is read from the upstream only as fast as the client takes it, so a client that stops reading would keep
//! the upstream's slot for ever. Any progress counts: a slow client is served, as long as its request has time.
//!
//! A stream of HTTP/2 can stand still while its connection moves, so there each answer that flows is watched itself.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::drain::Drain;

/// The connection.
pub(super) struct Unstalled {
    tcp: TcpStream,
    longest: Duration,
    /// Since when nothing could be written; `None` while all can.
    since: Option<Instant>,
    /// Made when something has to wait, and then kept.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Unstalled {
    pub(super) fn new(tcp: TcpStream, longest: Duration) -> Self {
        // Without it a stream's first event can wait 40 ms for the client's delayed ACK.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        Self { tcp, longest, since: None, timer: None }
    }

    /// What came of writing, unless it has waited for too long.
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.since = None;
            return written;
        }
        let now = Instant::now();
        let due = *self.since.get_or_insert(now) + self.longest;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx).map(|()| Err(stalled(self.longest)))
    }
}

impl AsyncRead for Unstalled {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Unstalled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write(cx, bytes);
        this.watch(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, pieces);
        this.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

/// The same answer, read ahead by one piece: when the client does not take it in time, the upstream is let go and the
/// stream is reset.
pub(super) fn watched(mut body: Body, longest: Duration, drain: &Drain) -> Body {
    if body.size_hint().exact().is_some() {
        // It is here already, and holds nobody up.
        return body;
    }
    let (pieces, mut taken) = mpsc::channel::<Result<Frame<Bytes>, axum::Error>>(1);
    let given_up = Arc::new(AtomicBool::new(false));
    let gives_up = Arc::clone(&given_up);
    tokio::spawn(drain.waking(async move {
        loop {
            let piece = tokio::select! {
                piece = body.frame() => piece,
                () = pieces.closed() => return,
            };
            let Some(piece) = piece else { return };
            match tokio::time::timeout(longest, pieces.send(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => return gives_up.store(true, Relaxed),
            }
        }
    }));
    Body::new(StreamBody::new(stream::poll_fn(move |cx| {
        let piece = ready!(taken.poll_recv(cx));
        if piece.is_none() && given_up.swap(false, Relaxed) {
            // An end would make half an answer look whole.
            return Poll::Ready(Some(Err(axum::Error::new(stalled(longest)))));
        }
        Poll::Ready(piece)
    })))
}

fn stalled(longest: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the client took nothing for {longest:?}"))
}
