//! One HTTP/1.1 connection, driven by the task that uses it.
//!
//! hyper's client hands each request to a task of the connection and waits to be woken by it. Here the request's own
//! task drives the connection, which saves two wake-ups a request, and dropping the request closes the connection,
//! which is how an upstream is told to stop.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use witgate_core::openai::RequestBody;

use super::connect::Stream;
use super::pool::Pool;
use crate::upload::{Fault, Upload};

/// An open connection.
pub(super) struct Connection {
    sender: http1::SendRequest<Pieces>,
    /// `None` when it has ended.
    driver: Option<http1::Connection<Stream, Pieces>>,
    /// When it was last put aside.
    pub(super) idle_since: Instant,
}

impl Connection {
    /// HTTP over a fresh connection.
    pub(super) async fn handshake(stream: Stream) -> Result<Self, hyper::Error> {
        let (sender, driver) = http1::Builder::new().max_buf_size(BUFFER).handshake(stream).await?;
        Ok(Self { sender, driver: Some(driver), idle_since: Instant::now() })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&mut self, request: Request<Pieces>) -> Result<Response<Incoming>, hyper::Error> {
        let mut answer = pin!(self.sender.send_request(request));
        let driver = &mut self.driver;
        std::future::poll_fn(|cx| {
            drive(driver, cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Whether it can take another request now. Also notices that the other side has closed it.
    pub(super) fn is_usable(&mut self) -> bool {
        // Nobody waits for it: what is known now is enough.
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// Lets the connection read and write as far as it can; drops it when it has ended, so that whoever waits for an
/// answer on it learns that there will be none.
fn drive(driver: &mut Option<http1::Connection<Stream, Pieces>>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        // Its error, if any, has gone to the one who waits for the answer.
        *driver = None;
    }
}

/// The body of an answer, with the connection that it comes from. At its end the connection goes back to the pool;
/// dropped before, the connection is closed.
pub(super) struct Body {
    incoming: Incoming,
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
}

impl Body {
    pub(super) fn new(incoming: Incoming, connection: Box<Connection>, pool: Arc<Pool>) -> Self {
        let mut body = Self { incoming, connection: Some(connection), pool };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    /// The next chunk of data.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        loop {
            let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
                    drive(&mut connection.driver, cx);
                    ready!(Pin::new(&mut self.incoming).poll_frame(cx))
                }
            };
            match frame {
                Some(Ok(frame)) => {
                    if self.incoming.is_end_stream() {
                        self.give_back();
                    }
                    // Trailers say nothing that we use.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    self.connection = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.give_back();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn give_back(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_usable()
        {
            self.pool.put(connection);
        }
    }
}

/// A request body in pieces, none of them copied; after them may come what the client has still to send.
pub(super) struct Pieces {
    rest: <RequestBody as IntoIterator>::IntoIter,
    bytes: u64,
    upload: Option<Upload>,
}

impl Pieces {
    /// The same pieces, and after them this.
    pub(super) fn before(self, upload: Upload) -> Self {
        Self { upload: Some(upload), ..self }
    }
}

impl From<RequestBody> for Pieces {
    fn from(body: RequestBody) -> Self {
        Self { bytes: body.len() as u64, rest: body.into_iter(), upload: None }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if let Some(piece) = self.rest.next() {
            self.bytes -= piece.len() as u64;
            return Poll::Ready(Some(Ok(http_body::Frame::data(piece))));
        }
        let Some(upload) = &self.upload else { return Poll::Ready(None) };
        upload.poll_next(cx).map(|piece| piece.map(|piece| piece.map(http_body::Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes == 0 && self.upload.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.upload {
            None => http_body::SizeHint::with_exact(self.bytes),
            // Asked once, before anything is sent.
            Some(upload) => upload
                .length()
                .map_or_else(http_body::SizeHint::default, |rest| http_body::SizeHint::with_exact(self.bytes + rest)),
        }
    }
}

/// The largest read buffer, and so the largest head of an answer: what a stream may cost in memory.
const BUFFER: usize = 64 << 10;
