//! Sockets: accepts connections, serves HTTP/1.1 and HTTP/2 on them, and lets them end in peace.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// Times that end a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a request's head.
    pub read_timeout: Duration,
    /// For requests in flight after the shutdown began.
    pub grace: Duration,
}

/// Opens the listening socket; must be called within the runtime.
///
/// # Errors
/// When the address is taken or not ours; the text says which.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(bind(address)?)
}

/// Opens the listening socket and closes it again.
///
/// # Errors
/// As [`listen`].
pub fn probe(address: SocketAddr) -> io::Result<()> {
    bind(address).map(drop)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let explain = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another process listens there: stop it, or choose another `server.listen`",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another `server.listen`",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
    };
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(explain)?;
    // A restart must not wait for connections of the process before.
    socket.set_reuse_address(true).map_err(explain)?;
    socket.set_nonblocking(true).map_err(explain)?;
    socket.bind(&address.into()).map_err(explain)?;
    socket.listen(BACKLOG).map_err(explain)?;
    Ok(socket.into())
}

/// Serves until `shutdown` completes; then accepts no more, lets the requests in flight end within the grace time,
/// and closes what is left.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let builder = Arc::new(builder(limits));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let service = HyperService { router: router.clone(), peer: Peer(peer) };
                let connection = connection(stream, Arc::clone(&builder), service, &graceful);
                connections.spawn(connection);
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    connections.close();
    let open = connections.len();
    if open > 0 {
        tracing::info!(connections = open, grace_s = limits.grace.as_secs(), "shutting down: waiting for requests");
    }
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "the grace time is over; closing what is left");
    }
}

fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.read_timeout).max_headers(MOST_HEADERS);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEADER_BYTES).keep_alive_interval(None);
    builder
}

fn connection(
    stream: TcpStream,
    builder: Arc<auto::Builder<TokioExecutor>>,
    service: HyperService,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Without it a stream's first event can wait 40 ms for the client's delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let watcher = graceful.watcher();
    async move {
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // A client that breaks off is no error of ours, and its requests have logged themselves.
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended");
        }
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

/// Whom a connection is from; each request of it carries this as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// axum's router as hyper's service.
#[derive(Clone)]
struct HyperService {
    router: Router,
    peer: Peer,
}

impl hyper::service::Service<hyper::Request<Incoming>> for HyperService {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = axum::routing::future::RouteFuture<std::convert::Infallible>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        // The router is always ready; cloning it is two reference counts.
        self.router.clone().call(request.map(Body::new))
    }
}

const BACKLOG: i32 = 4096;
/// OpenAI's own limit for all request headers is 64 KiB.
const HEADER_BYTES: u32 = 64 << 10;
const MOST_HEADERS: usize = 128;
