//! Wires all parts together, from top to bottom, and takes them apart again in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use witgate_core::config::{Config, Loaded};
use witgate_wasm::{CellStore, Compiling, Engine, EngineError, EngineOptions};

use crate::api::paths;
use crate::cache::{Cache, CacheError};
use crate::config_files::ConfigFiles;
use crate::facts;
use crate::fleet_cells::FleetCells;
use crate::gateway::{Assembly, Gateway};
use crate::learning;
use crate::names::ModelNames;
use crate::pipeline::record::Observers;
use crate::probing;
use crate::reload::revisions::Revisions;
use crate::reload::store::PolicyStore;
use crate::reload::{Published, Reloader, Waiting, Work};
use crate::server;
use crate::snapshot::{Parts, Snapshot, StageProblem, prepare};
use crate::supply::Supplies;
use crate::telemetry::metrics::Metrics;
use crate::watching;

/// A gateway that serves.
pub struct App {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    probing: JoinHandle<()>,
    facts: JoinHandle<()>,
    watching: JoinHandle<()>,
    learning: JoinHandle<()>,
    /// With what ends it.
    fleet_cells: Option<(JoinHandle<()>, CancellationToken)>,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would answer anybody.
    #[error(
        "{listen} can be reached from other machines, and no API keys are configured: anybody could spend your \
         providers' money. Add keys under `auth.keys`, listen on 127.0.0.1, or say `server.allow_unauthenticated: true`"
    )]
    Unprotected {
        /// Where it would listen.
        listen: SocketAddr,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The response cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Policies that the routes need.
    #[error("{}", lines(.0))]
    Policies(Vec<StageProblem>),
    /// The policy folder or the socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A start-up task died.
    #[error("start-up panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl App {
    /// Compiles the policies, opens the socket, and serves. `on_config` is told about every configuration that is
    /// put into service later.
    ///
    /// # Errors
    /// Whatever keeps the gateway from serving; nothing is left behind then.
    pub async fn start(
        files: ConfigFiles,
        loaded: Loaded,
        on_config: impl Fn(&Config) + Send + 'static,
    ) -> Result<Self, StartError> {
        let config = Arc::new(loaded.config);
        check_exposure(&config, config.server.listen)?;
        let metrics = Arc::new(Metrics::new());
        let parts = Arc::new(Parts {
            cells: Arc::new(cells(&config)),
            models: Arc::new(ModelNames::default()),
            metrics: Arc::clone(&metrics),
        });
        let supplies = Supplies::start(&config.policies, Arc::clone(&metrics)).await;
        let (store, snapshot) = tokio::task::spawn_blocking({
            let (config, parts) = (Arc::clone(&config), Arc::clone(&parts));
            move || load_policies(&config, &parts, supplies)
        })
        .await??;
        let cache = Cache::new(&config.cache, &metrics)?;
        let fleet_cells = config.cache.redis.as_ref().map(|redis| {
            FleetCells::new(redis, Arc::clone(&parts.cells), Arc::clone(&metrics)).map_err(CacheError::url)
        });
        let fleet_cells = fleet_cells.transpose()?;
        // Late: where the port is shared, the kernel sends connections from now on.
        let listener = server::Listener::open(&config.server)?;
        let address = listener.address()?;
        check_exposure(&config, address)?;
        if listener.is_inherited() {
            tracing::info!(%address, "the socket was handed over; `server.listen` does not count");
        }

        snapshot.take_effect();
        let current = Arc::new(ArcSwap::from_pointee(snapshot));
        let published = Arc::new(Published::default());
        let found = files.found();
        let mut work = Work {
            store,
            files,
            parts: Arc::clone(&parts),
            current: Arc::clone(&current),
            published: Arc::clone(&published),
            on_config: Box::new(on_config),
            started: Arc::clone(&config),
            address,
            waiting: Waiting::default(),
        };
        work.publish(Vec::new());
        let gateway = Arc::new(Gateway::new(Assembly {
            cache,
            observers: Observers::start(metrics.outcomes_dropped()),
            reloader: Reloader::start(work)?,
            parts,
            published,
            current,
        }));
        let shutdown = CancellationToken::new();
        let limits = server::Limits {
            read_timeout: config.server.read_timeout,
            write_timeout: config.server.write_timeout,
            grace: config.server.shutdown_grace,
        };
        let server = tokio::spawn(server::serve(
            listener,
            paths::router(Arc::clone(&gateway)),
            limits,
            Arc::clone(gateway.drain()),
            shutdown.clone().cancelled_owned(),
        ));
        let housekeeping = tokio::spawn(keep_house(Arc::clone(&gateway)));
        let probing = tokio::spawn(probing::run(Arc::clone(&gateway)));
        let facts = tokio::spawn(facts::run(Arc::clone(&gateway)));
        let watching = tokio::spawn(watching::run(Arc::clone(&gateway), found));
        let learning = tokio::spawn(learning::run(Arc::clone(&gateway)));
        let fleet_cells = fleet_cells.map(|cells| {
            let stop = CancellationToken::new();
            (tokio::spawn(cells.run(stop.clone())), stop)
        });
        Ok(Self { address, gateway, shutdown, server, housekeeping, probing, facts, watching, learning, fleet_cells })
    }

    /// Where it listens; the port is the true one when the configuration says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The running gateway.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Shuts down in phases: readiness turns false; after `server.drain_delay`, no more connections are accepted;
    /// requests in flight end within the grace time, or are ended then; last, the background work ends.
    pub async fn stop(self) {
        self.gateway.drain().begin();
        let delay = self.gateway.snapshot().config.server.drain_delay;
        if !delay.is_zero() {
            tracing::info!(delay_s = delay.as_secs_f64(), "not ready any more; requests are still taken for a while");
            tokio::time::sleep(delay).await;
        }
        self.stop_now().await;
    }

    /// As [`App::stop`], without the delay.
    pub async fn stop_now(self) {
        self.gateway.drain().begin();
        self.shutdown.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the server task panicked");
        }
        self.housekeeping.abort();
        self.probing.abort();
        self.facts.abort();
        self.watching.abort();
        self.learning.abort();
        if let Some((exchange, stop)) = self.fleet_cells {
            // What the last requests changed is told, if that is possible at once.
            stop.cancel();
            if tokio::time::timeout(STOP_PATIENCE, exchange).await.is_err() {
                tracing::warn!("the last cells of the fleet were not told in time");
            }
        }
        // Requests that were cut hold the gateway for a moment longer.
        if tokio::time::timeout(STOP_PATIENCE, self.gateway.stop()).await.is_err() {
            tracing::warn!("the background work did not end in time");
        }
    }
}

/// Refuses to serve everybody by mistake.
///
/// # Errors
/// When `listen` can be reached from other machines and there are no keys.
pub fn check_exposure(config: &Config, listen: SocketAddr) -> Result<(), StartError> {
    let open = config.auth.keys.is_empty() && !config.server.allow_unauthenticated;
    if open && !listen.ip().is_loopback() { Err(StartError::Unprotected { listen }) } else { Ok(()) }
}

/// An engine for the policies of `config`; it compiles aside where requests are served.
///
/// # Errors
/// When the engine cannot run on this machine.
pub fn engine(config: &Config, meter: Option<Arc<Metrics>>, compiling: Compiling) -> Result<Engine, EngineError> {
    Engine::new(EngineOptions {
        code_cache: config.policies.code_cache.clone(),
        workers: workers(config),
        meter: meter.map(|metrics| metrics as _),
        compiling,
    })
}

/// Where policies keep their numbers; what they share with other gateways goes through the shared tier of the cache.
pub fn cells(config: &Config) -> CellStore {
    if config.cache.redis.is_some() { CellStore::shared() } else { CellStore::default() }
}

/// Worker threads of the runtime.
pub fn workers(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    config.server.workers.map_or_else(cores, usize::from)
}

fn load_policies(
    config: &Arc<Config>,
    parts: &Parts,
    supplies: Supplies,
) -> Result<(PolicyStore, Snapshot), StartError> {
    let engine = engine(config, Some(Arc::clone(&parts.metrics)), Compiling::Aside)?;
    let mut store = PolicyStore::new(engine, config.policies.directory.clone()).with_supplies(supplies);
    if let Some(folder) = &config.policies.revisions {
        store = store.with_revisions(Revisions::open(folder, &config.policies.directory));
    }
    for (policy, problem) in store.look(false)?.refused {
        tracing::error!(policy = &*policy, problem, "policy file refused");
    }
    let snapshot = prepare(&mut store, config, None, parts).map_err(StartError::Policies)?;
    for warning in snapshot.warnings() {
        tracing::warn!(problem = %warning, "configuration");
    }
    store.commit(&snapshot.policies_in_use());
    Ok((store, snapshot))
}

/// Upstream connections that nobody uses are closed before their servers do it.
async fn keep_house(gateway: Arc<Gateway>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        ticks.tick().await;
        gateway.snapshot().upstreams.close_old_connections();
    }
}

fn lines(problems: &[StageProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const HOUSEKEEPING: Duration = Duration::from_secs(1);
const STOP_PATIENCE: Duration = Duration::from_secs(5);
