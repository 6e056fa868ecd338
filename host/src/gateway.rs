//! What outlives every request and every reload, and where a request finds the snapshot of the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use arc_swap::ArcSwap;
use witgate_core::decision::INTEGER_LIMIT;

use crate::admission::{Bodies, Gate};
use crate::cache::Cache;
use crate::drain::Drain;
use crate::kept::KeptResponses;
use crate::pipeline::record::Observers;
use crate::reload::command::{Command, CommandError};
use crate::reload::{Published, Reloader, Report};
use crate::snapshot::{Parts, Snapshot};
use crate::telemetry::metrics::{OverloadMetrics, RouteMetrics, Standing};

/// The running gateway.
pub struct Gateway {
    /// State of policies, names, metrics.
    pub parts: Arc<Parts>,
    /// Kept answers.
    pub cache: Cache,
    /// Where outcomes go for policies that learn.
    pub observers: Observers,
    /// What the reload thread shows.
    pub published: Arc<Published>,
    /// Where requests wait when `server.max_in_flight` run.
    pub gate: Arc<Gate>,
    /// What is told about it.
    pub overload: OverloadMetrics,
    /// What the bodies of requests in flight take.
    pub bodies: Arc<Bodies>,
    /// Which provider keeps which response.
    pub kept: KeptResponses,
    /// When the process started, seconds since 1970.
    pub started_at: u64,
    /// For requests that find no route.
    pub unrouted: RouteMetrics,
    current: Arc<ArcSwap<Snapshot>>,
    reloader: Reloader,
    decisions: AtomicU32,
    drain: Arc<Drain>,
}

/// The parts of a gateway.
pub struct Assembly {
    /// See [`Gateway`].
    pub parts: Arc<Parts>,
    /// See [`Gateway`].
    pub cache: Cache,
    /// See [`Gateway`].
    pub observers: Observers,
    /// See [`Gateway`].
    pub published: Arc<Published>,
    /// The snapshot in service; shared with the reload thread.
    pub current: Arc<ArcSwap<Snapshot>>,
    /// The reload thread.
    pub reloader: Reloader,
}

impl Gateway {
    /// A gateway that is ready to serve.
    pub fn new(assembly: Assembly) -> Self {
        let Assembly { parts, cache, observers, published, current, reloader } = assembly;
        Self {
            unrouted: parts.metrics.route(""),
            overload: parts.metrics.overload("gateway"),
            parts,
            cache,
            observers,
            published,
            gate: Arc::default(),
            bodies: Arc::default(),
            kept: KeptResponses::new(),
            started_at: (crate::clock::wall_ms() / 1000.0) as u64,
            current,
            reloader,
            decisions: AtomicU32::new(0),
            drain: Arc::default(),
        }
    }

    /// The snapshot of this moment; a request takes it once and keeps it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// What the metrics show of this moment.
    pub fn standing(&self) -> Standing {
        Standing {
            running: self.gate.running(),
            waiting: self.gate.depth(),
            body_bytes: self.bodies.bytes(),
            draining: self.drain.has_begun(),
        }
    }

    /// A new decision's number.
    pub fn next_decision(&self) -> u32 {
        self.decisions.fetch_add(1, Relaxed) & (INTEGER_LIMIT - 1)
    }

    /// Reads configuration and policies again; `None` when the reload thread has ended.
    pub async fn reload_now(&self) -> Option<Report> {
        self.reloader.now().await
    }

    /// Does something with a policy; `None` when the reload thread has ended.
    pub async fn command(&self, policy: Arc<str>, command: Command) -> Option<Result<(), CommandError>> {
        self.reloader.command(policy, command).await
    }

    /// How far the gateway's end has come.
    pub fn drain(&self) -> &Arc<Drain> {
        &self.drain
    }

    /// Ends the background work and waits for it.
    pub async fn stop(self: Arc<Self>) {
        let gateway = Arc::clone(&self);
        // A compilation that is under way may take seconds.
        let stopped = tokio::task::spawn_blocking(move || gateway.reloader.stop());
        if let Err(error) = stopped.await {
            tracing::error!(%error, "the reload thread was not stopped");
        }
        self.observers.stop().await;
        self.cache.stop().await;
    }
}
