//! Sends a request to one provider and gives the head of the answer and its body.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Uri, response};
use witgate_core::vocabulary::FailureKind;

use super::connect::{ConnectError, Connector, ConnectorError, chain};
use super::connection::{Body, Connection, Pieces};
use super::failure::AttemptFailure;
use super::pool::Pool;

/// How a provider is connected to; two providers for which this is the same may share connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) base: Uri,
    pub(super) connect_timeout: Duration,
    pub(super) pool_idle_timeout: Duration,
    pub(super) pool_max_idle: usize,
}

/// Connections to one provider.
pub(super) struct Client {
    origin: Origin,
    connector: Connector,
    pool: Arc<Pool>,
}

impl Client {
    pub(super) fn new(origin: Origin) -> Result<Self, ConnectorError> {
        let connector = Connector::new(&origin.base, origin.connect_timeout)?;
        let pool = Arc::new(Pool::new(origin.pool_idle_timeout, origin.pool_max_idle));
        Ok(Self { origin, connector, pool })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Sends what `request` makes, on an unused connection if there is one.
    ///
    /// A server may close a connection while a request is on its way to it; then the request has not been carried
    /// out, and it is sent once more on a new connection. That is assumed only if the connection had been used before
    /// and broke [at once](STALE), without a byte of an answer: a server that breaks off later may have begun. It is
    /// an assumption all the same, so it is not made where a request must not be carried out twice (`twice`).
    pub(super) async fn send(
        &self,
        request: impl Fn() -> Request<Pieces>,
        twice: bool,
    ) -> Result<(response::Parts, Body), AttemptFailure> {
        if let Some(mut connection) = self.pool.take() {
            let sent = Instant::now();
            match connection.send(request()).await {
                Ok(answer) => return Ok(self.answered(answer, connection)),
                Err(error) if error.is_parse() || !twice || sent.elapsed() > STALE => return Err(broken(&error)),
                Err(_) => {}
            }
        }
        // In a box: connecting is rare and takes room, which every request would carry around.
        Box::pin(self.send_once(request())).await
    }

    /// Sends a request that can be sent only once, so on a new connection.
    pub(super) async fn send_once(&self, request: Request<Pieces>) -> Result<(response::Parts, Body), AttemptFailure> {
        let stream = self.connector.connect().await?;
        let mut connection = Box::new(Connection::handshake(stream).await.map_err(|error| broken(&error))?);
        let answer = connection.send(request).await.map_err(|error| broken(&error))?;
        Ok(self.answered(answer, connection))
    }

    fn answered(
        &self,
        answer: http::Response<hyper::body::Incoming>,
        connection: Box<Connection>,
    ) -> (response::Parts, Body) {
        let (head, incoming) = answer.into_parts();
        (head, Body::new(incoming, connection, Arc::clone(&self.pool)))
    }
}

impl From<ConnectError> for AttemptFailure {
    fn from(error: ConnectError) -> Self {
        let kind = match error {
            ConnectError::Tcp { .. } | ConnectError::Tls { .. } => FailureKind::Connect,
            ConnectError::Timeout { .. } => FailureKind::ConnectTimeout,
        };
        Self::new(kind, error.to_string())
    }
}

fn broken(error: &hyper::Error) -> AttemptFailure {
    if error.is_parse() {
        return AttemptFailure::new(FailureKind::Malformed, format!("the answer is not HTTP: {}", chain(error)));
    }
    let message = format!("the connection broke before the answer began: {}", chain(error));
    AttemptFailure::new(FailureKind::Reset, message)
}

/// A connection that the server had closed before it saw the request breaks after one round trip.
const STALE: Duration = Duration::from_secs(1);
