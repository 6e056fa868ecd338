//! Sockets: accepts connections, serves HTTP/1.1 and HTTP/2 on them, and lets them end in peace.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::future::RouteFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::drain::Drain;

mod listen;
mod stall;

pub use listen::{Listener, probe};
use stall::Unstalled;

/// Times that end a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a request's head.
    pub read_timeout: Duration,
    /// Longest time in which a client takes nothing of what is there for it.
    pub write_timeout: Duration,
    /// For requests in flight after the shutdown began.
    pub grace: Duration,
}

/// Serves until `shutdown` completes; then accepts no more, lets the requests in flight end within the grace time,
/// lets those that are left say their last word, and closes what is open even then.
pub async fn serve(
    listener: Listener,
    router: Router,
    limits: Limits,
    drain: Arc<Drain>,
    shutdown: impl Future<Output = ()>,
) {
    let stopping = CancellationToken::new();
    let connections = TaskTracker::new();
    let builder = Arc::new(builder(limits, &drain));
    let spawn = |stream: TcpStream| {
        let peer = Peer(stream.peer_addr().unwrap_or(NOBODY));
        let service = HyperService {
            router: router.clone(),
            peer,
            drain: Arc::clone(&drain),
            asked: Arc::default(),
            write_timeout: limits.write_timeout,
        };
        let stream = Unstalled::new(stream, limits.write_timeout);
        let connection = connection(stream, Arc::clone(&builder), service, stopping.clone());
        connections.spawn(drain.waking(connection))
    };
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok(stream) => drop(spawn(stream)),
            Err(error) => pause_after(&error).await,
        }
    }
    for stream in listener.last().await {
        drop(spawn(stream));
    }
    connections.close();
    let open = connections.len();
    if open > 0 {
        tracing::info!(connections = open, grace_s = limits.grace.as_secs(), "shutting down: waiting for requests");
    }
    stopping.cancel();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(connections = connections.len(), "the grace time is over; ending the requests that are left");
    drain.end_requests();
    if tokio::time::timeout(LAST_WORDS, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing what is left");
    }
}

fn builder(limits: Limits, drain: &Arc<Drain>) -> auto::Builder<Executor> {
    let mut builder = auto::Builder::new(Executor(Arc::clone(drain)));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.read_timeout).max_headers(MOST_HEADERS);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEADER_BYTES).keep_alive_interval(None);
    builder
}

/// Serves one connection to its end; once the gateway is `stopping`, that is the end of the requests on it.
async fn connection(
    stream: Unstalled,
    builder: Arc<auto::Builder<Executor>>,
    service: HyperService,
    stopping: CancellationToken,
) {
    let asked = Arc::clone(&service.asked);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = stopping.cancelled() => None,
    };
    if ended.is_none() && !asked.load(Relaxed) {
        // It was made to ask something, and closing it now would reset the request that is on its way.
        ended = tokio::time::timeout(FIRST_REQUEST, &mut connection).await.ok();
    }
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A client that breaks off is no error of ours, and its requests have logged themselves.
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Out of file descriptors, for example: trying again at once would only burn the processor.
async fn pause_after(error: &io::Error) {
    tracing::error!(%error, "a connection could not be accepted");
    let of_one_connection = matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !of_one_connection {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of a client that has gone already; not a loopback address, so that nothing is trusted to it.
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// Whom a connection is from; each request of it carries this as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Runs the streams of HTTP/2, each of which is a task of its own.
#[derive(Clone)]
struct Executor(Arc<Drain>);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(self.0.waking(stream));
    }
}

/// axum's router as hyper's service.
#[derive(Clone)]
struct HyperService {
    router: Router,
    peer: Peer,
    drain: Arc<Drain>,
    /// Whether a request has come on this connection.
    asked: Arc<AtomicBool>,
    write_timeout: Duration,
}

impl hyper::service::Service<hyper::Request<Incoming>> for HyperService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        self.asked.store(true, Relaxed);
        request.extensions_mut().insert(self.peer);
        let http1 = request.version() <= Version::HTTP_11;
        // The router is always ready; cloning it is two reference counts.
        let response = self.router.clone().call(request.map(Body::new));
        Responding { response, drain: Arc::clone(&self.drain), http1, write_timeout: self.write_timeout }
    }
}

pin_project! {
    /// A response with what belongs to its connection: that it ends, or that the client must take it in time.
    struct Responding {
        #[pin]
        response: RouteFuture<Infallible>,
        drain: Arc<Drain>,
        http1: bool,
        write_timeout: Duration,
    }
}

impl Future for Responding {
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        if !*this.http1 {
            // That the gateway ends, HTTP/2 says in a frame, once no more connections are accepted.
            return Poll::Ready(Ok(response.map(|body| stall::watched(body, *this.write_timeout, this.drain))));
        }
        if this.drain.has_begun() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

/// OpenAI's own limit for all request headers is 64 KiB.
const HEADER_BYTES: u32 = 64 << 10;
const MOST_HEADERS: usize = 128;
/// For the first request on a connection that had just been made.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// For an error that is ready to go out; a client that does not read it is not waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);
