//! The tier that gateways share. Redis being slow or down only costs hits: no request waits longer than the
//! configured time, after a failure none waits at all until the server is back, and nothing waits for it at start-up.
//!
//! Answers are written in the background, at most [`ON_THEIR_WAY`] bytes at a time; what is above stays in memory only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::link::{Link, Step};
use super::CacheError;
use super::entry::Entry;
use super::key::Key;
use crate::telemetry::metrics::CacheMetrics;

mod link;
#[cfg(test)]
mod tests;

/// The shared tier.
#[derive(Clone)]
pub(super) struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    prefix: String,
    timeout: Duration,
    metrics: CacheMetrics,
    link: Mutex<Link<MultiplexedConnection>>,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    runtime: Handle,
    complained: Mutex<Option<Instant>>,
}

impl Redis {
    /// Begins to connect, and does not wait for it.
    ///
    /// # Errors
    /// When the URL cannot be used, or outside a runtime.
    pub(super) fn new(config: &witgate_core::config::Redis, metrics: CacheMetrics) -> Result<Self, CacheError> {
        let client = Client::open(config.url.expose()).map_err(CacheError::url)?;
        let redis = Self(Arc::new(Inner {
            client,
            prefix: config.prefix.clone(),
            timeout: config.timeout,
            metrics,
            link: Mutex::new(Link::new()),
            room: Arc::new(Semaphore::new(ON_THEIR_WAY / PERMIT)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime: Handle::try_current().map_err(|_| CacheError::NoRuntime)?,
            complained: Mutex::new(None),
        }));
        // The first step of a new link is always to connect.
        redis.connection();
        Ok(redis)
    }

    /// The answer under `key`, if Redis has it and says so in time.
    pub(super) async fn get(&self, key: &Key) -> Option<Entry> {
        let metrics = &self.0.metrics;
        let Some((connection, epoch)) = self.connection() else {
            metrics.redis_unavailable.inc();
            return None;
        };
        let mut command = redis::cmd("GET");
        command.arg(self.name(key));
        let Ok(value) = self.ask::<Option<Vec<u8>>>(connection, epoch, &command).await else {
            metrics.redis_unavailable.inc();
            return None;
        };
        let Some(bytes) = value else {
            metrics.redis_misses.inc();
            return None;
        };
        let entry = Entry::decode(key, Bytes::from(bytes));
        match &entry {
            Some(_) => metrics.redis_hits.inc(),
            None => metrics.corrupt.inc(),
        }
        entry
    }

    /// Writes an answer in the background, if there is room for it on the way.
    pub(super) fn put(&self, key: Key, entry: Arc<Entry>) {
        let permits = u32::try_from(entry.weight().div_ceil(PERMIT)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0.room).try_acquire_many_owned(permits);
        let (Ok(room), Some((connection, epoch))) = (room, self.connection()) else {
            self.0.metrics.not_shared.inc();
            return;
        };
        let redis = self.clone();
        self.0.tasks.spawn_on(
            async move {
                let mut command = redis::cmd("SET");
                let ttl = u64::try_from(entry.ttl.as_millis()).unwrap_or(u64::MAX).max(1);
                command.arg(redis.name(&key)).arg(entry.encode(&key)).arg("PX").arg(ttl);
                drop(entry);
                if redis.ask::<()>(connection, epoch, &command).await.is_err() {
                    redis.0.metrics.not_shared.inc();
                }
                drop(room);
            },
            &self.0.runtime,
        );
    }

    /// Waits for what is on its way: no longer than one command may take.
    pub(super) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The connection to ask over; `None` while there is none.
    fn connection(&self) -> Option<(MultiplexedConnection, u64)> {
        let step = self.0.link.lock().step(Instant::now());
        match step {
            Step::Ask(connection, epoch) => return Some((connection, epoch)),
            Step::Skip => {}
            Step::Connect => {
                let redis = self.clone();
                let connect = async move { redis.connect().await };
                self.0.tasks.spawn_on(self.0.stop.clone().run_until_cancelled_owned(connect), &self.0.runtime);
            }
        }
        None
    }

    async fn connect(&self) {
        let inner = &self.0;
        match tokio::time::timeout(CONNECT_TIMEOUT, inner.open()).await {
            Ok(Ok(connection)) => {
                inner.link.lock().connected(connection);
                tracing::info!("the shared cache is connected");
            }
            Ok(Err(error)) => inner.is_down(inner.link.lock().not_connected(Instant::now()), &error),
            Err(elapsed) => inner.is_down(inner.link.lock().not_connected(Instant::now()), &elapsed),
        }
    }

    /// One command within its time.
    async fn ask<T: FromRedisValue>(
        &self,
        mut connection: MultiplexedConnection,
        epoch: u64,
        command: &Cmd,
    ) -> Result<T, ()> {
        let inner = &self.0;
        match tokio::time::timeout(inner.timeout, command.query_async(&mut connection)).await {
            Ok(Ok(value)) => {
                inner.link.lock().worked(epoch);
                return Ok(value);
            }
            Ok(Err(error)) if is_an_answer(&error) => inner.complain(&error),
            Ok(Err(error)) => inner.fell_silent(epoch, &error),
            Err(elapsed) => inner.fell_silent(epoch, &elapsed),
        }
        inner.metrics.redis_errors.inc();
        Err(())
    }

    fn name(&self, key: &Key) -> String {
        format!("{}cache:{key}", self.0.prefix)
    }
}

impl Inner {
    async fn open(&self) -> Result<MultiplexedConnection, RedisError> {
        // Timeouts are kept here, around whole commands.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let () = redis::cmd("PING").query_async(&mut connection).await?;
        Ok(connection)
    }

    fn fell_silent(&self, epoch: u64, error: &(dyn std::error::Error + 'static)) {
        let wait = self.link.lock().failed(epoch, Instant::now());
        if let Some(wait) = wait {
            self.is_down(wait, error);
        }
    }

    fn is_down(&self, wait: Duration, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(error, retry_in_s = wait.as_secs(), "the shared cache does not answer; requests do without it");
    }

    /// Redis answers, but with errors (read-only, out of memory, no permission): a line now and then will do.
    fn complain(&self, error: &RedisError) {
        let now = Instant::now();
        let mut complained = self.complained.lock();
        if complained.is_none_or(|before| now - before >= BETWEEN_COMPLAINTS) {
            *complained = Some(now);
            tracing::warn!(%error, "the shared cache refuses a command");
        }
    }
}

/// Whether the server said so itself: it is there and quick, and only this command failed.
fn is_an_answer(error: &RedisError) -> bool {
    let silent = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
    !silent && !error.is_unrecoverable_error()
}

/// Bytes of answers that may be on their way to Redis.
const ON_THEIR_WAY: usize = 32 << 20;
/// Bytes that one permit stands for.
const PERMIT: usize = 1 << 10;
/// Nobody waits for it, so it may be generous: TLS to another region.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(60);
