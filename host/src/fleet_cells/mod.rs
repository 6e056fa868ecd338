//! Carries the cells that gateways share to Redis and back, in the background.
//!
//! Once a second each shared table tells what has changed here and takes over what has changed elsewhere. No request and
//! no policy ever waits for it. While Redis does not answer, each gateway goes on with what it has; what changes meanwhile
//! is told when Redis is back. A Redis that has lost everything is given what the gateways know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use witgate_core::config;
use witgate_wasm::{CellStore, CellValue, SharedTable};

use crate::telemetry::metrics::Metrics;

/// The task that exchanges cells.
pub struct FleetCells {
    client: Client,
    prefix: String,
    cells: Arc<CellStore>,
    metrics: Arc<Metrics>,
    script: Script,
    /// This gateway's, among those that use the store.
    gateway: String,
    connection: Option<MultiplexedConnection>,
    tables: HashMap<u64, Progress>,
    /// The last round failed, and that was told.
    is_down: bool,
}

/// How far a table's exchange has come.
#[derive(Default)]
struct Progress {
    /// Of the store's content; empty before the first exchange.
    epoch: String,
    /// The last change of the store that was taken over.
    seen: String,
    /// Of the batch that is on its way or was last.
    number: u64,
    /// Not known to be in the store yet.
    batch: Option<Vec<CellValue>>,
    /// The store has lost what it held: the next cell of which it is to be told what is known here.
    seeds: Option<u32>,
}

/// What the script answers.
struct Answer {
    lost: bool,
    epoch: String,
    seen: String,
    values: Vec<CellValue>,
}

impl FleetCells {
    /// Ready to exchange the shared tables of `cells`; connects when there are any.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(config: &config::Redis, cells: Arc<CellStore>, metrics: Arc<Metrics>) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(config.url.expose())?,
            prefix: format!("{}cells:", config.prefix),
            cells,
            metrics,
            script: Script::new(include_str!("exchange.lua")),
            gateway: unique(),
            connection: None,
            tables: HashMap::new(),
            is_down: false,
        })
    }

    /// Exchanges every second, and once more when it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.round().await;
        }
        self.round().await;
    }

    /// One exchange of every table.
    async fn round(&mut self) {
        let tables = self.cells.shared_tables();
        self.tables.retain(|id, _| tables.iter().any(|table| table.id() == *id));
        if tables.is_empty() {
            return;
        }
        match self.exchange_all(&tables).await {
            Ok(()) => {
                self.metrics.fleet_exchange("ok");
                if std::mem::take(&mut self.is_down) {
                    tracing::info!("the cells of the fleet are shared again");
                }
            }
            Err(error) => {
                self.connection = None;
                self.metrics.fleet_exchange("failed");
                if !std::mem::replace(&mut self.is_down, true) {
                    let error = format!("{error:#}");
                    tracing::warn!(
                        error,
                        "the cells of the fleet are not shared for now; each gateway goes on with its own"
                    );
                }
            }
        }
    }

    async fn exchange_all(&mut self, tables: &[SharedTable]) -> anyhow::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => timeout(PATIENCE, open(&self.client)).await.context("Redis does not answer")??,
        };
        for table in tables {
            let mut progress = self.tables.remove(&table.id()).unwrap_or_default();
            let exchanged = self.exchange(&mut connection, table, &mut progress).await;
            self.tables.insert(table.id(), progress);
            exchanged?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Tells and takes over until there is nothing more on either side.
    async fn exchange(
        &self,
        connection: &mut MultiplexedConnection,
        table: &SharedTable,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        for _ in 0..BATCHES {
            let seeds = progress.seeds.map(|from| table.known(from, BATCH));
            if progress.batch.is_none() {
                progress.batch = Some(table.changes(BATCH));
                progress.number += 1;
            }
            let told = seeds.as_ref().or(progress.batch.as_ref()).map_or(&[][..], Vec::as_slice);
            let rule = if seeds.is_some() { "seed" } else { table.rule().name() };
            let answer = timeout(PATIENCE, self.ask(connection, table.name(), rule, progress, told)).await;
            let answer = answer.context("Redis does not answer")??;
            progress.epoch = answer.epoch;
            progress.seen = answer.seen;
            if answer.lost {
                progress.seeds = Some(0);
                continue;
            }
            let full = told.len() == BATCH || answer.values.len() == BATCH;
            match seeds {
                Some(seeds) => progress.seeds = seeds.last().map(|(cell, _)| cell + 1),
                None => table.told(&progress.batch.take().unwrap_or_default()),
            }
            table.take_over(&answer.values);
            if !full && progress.batch.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        table: &str,
        rule: &str,
        progress: &Progress,
        told: &[CellValue],
    ) -> anyhow::Result<Answer> {
        let mut call = self.script.prepare_invoke();
        for part in ["values", "order", "state", &self.gateway] {
            // In braces is what a cluster goes by, so that all four are in one place.
            call.key(format!("{}{{{table}}}:{part}", self.prefix));
        }
        let seen = if progress.seen.is_empty() { "0" } else { &progress.seen };
        call.arg(rule).arg(&progress.epoch).arg(unique()).arg(seen).arg(BATCH);
        call.arg(progress.number).arg(KEPT.as_millis() as u64);
        for (cell, value) in told {
            call.arg(cell).arg(format!("{value:e}"));
        }
        Answer::read(call.invoke_async::<Vec<String>>(connection).await?)
    }
}

impl Answer {
    fn read(parts: Vec<String>) -> anyhow::Result<Self> {
        let mut parts = parts.into_iter();
        let (Some(state), Some(epoch), Some(seen)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("Redis gave an answer that is too short");
        };
        let mut values = Vec::with_capacity(parts.len() / 2);
        while let (Some(cell), Some(value)) = (parts.next(), parts.next()) {
            values.push((cell.parse()?, value.parse()?));
        }
        Ok(Self { lost: state == "lost", epoch, seen, values })
    }
}

async fn open(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    // Timeouts are kept here, around whole commands.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// A name that nobody else has.
fn unique() -> String {
    format!("{:016x}", fastrand::u64(..))
}

const PERIOD: Duration = Duration::from_secs(1);
/// For one command or for connecting; nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Cells told or taken over in one command, so that Redis serves others in between.
const BATCH: usize = 4096;
/// In one round: enough for the largest table that a policy may have by default, told and taken over.
const BATCHES: usize = 64;
/// A table that no gateway has used for so long is forgotten.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
