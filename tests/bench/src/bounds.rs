//! What the bounds cost and hold: how soon a policy that runs away is stopped, what others notice of it, and how much
//! memory a stream takes.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use witgate_core::config::PolicyRules;
use witgate_core::vocabulary::Fact;
use witgate_wasm::{Binding, CellStore, Engine, EngineOptions, FailureCause};

use crate::client::{self, CHAT, Load, RUNAWAY, STREAM};
use crate::cores::Precedence;
use crate::decision::{Busy, Nobody, offer};
use crate::free_address;
use crate::gateway::{self, Launch, Place, Process, Site};
use crate::report::{Section, Table, number, progress};
use crate::stats::Times;
use crate::upstream::CHUNKS;

/// `max_tokens` of the one request that makes the policy run away; it behaves in its trial.
const TRIGGER: u32 = 666;
/// The default deadline of a policy.
const DEADLINE: Duration = Duration::from_millis(5);
/// Calls that are stopped, two for each policy: a third one would suspend it.
const RUNAWAYS: u32 = 100;
/// Requests a second to the route that behaves.
const RATE: f64 = 200.0;
/// Requests a second to the one that does not.
const RUNAWAY_RATE: f64 = 2.0;
/// Streams at a time.
const STREAMS: usize = 400;
/// In which all streams begin; shorter than a stream, so that each connection asks once.
const ARRIVAL: Duration = Duration::from_secs(1);
/// Between the chunks of a stream.
const CHUNK_DELAY: Duration = Duration::from_millis(80);

/// Measures the bounds.
///
/// # Errors
/// When the gateway does not run, or a policy is not stopped.
pub(crate) async fn run(place: &Place, quick: bool) -> anyhow::Result<Section> {
    place.pin()?;
    let _first = Precedence::of_session();
    progress("stopping a policy that runs away");
    let stopped = stopping(if quick { RUNAWAYS / 10 } else { RUNAWAYS })?;
    progress("the same beside a route that behaves");
    let folder = tempfile::tempdir()?;
    let time = Duration::from_secs(if quick { 2 } else { 6 });
    let beside = beside(folder.path(), place, time).await?;
    progress("memory of streams");
    let streams = if quick { STREAMS / 4 } else { STREAMS };
    let memory = memory_of_streams(folder.path(), place, streams).await?;
    let about = format!(
        "A policy with the default deadline of {DEADLINE:?} loops for ever: `stopped after` is the time of such a call \
         ({RUNAWAYS} calls), with the clock of the engine ticking every millisecond. `other route` are requests at \
         {RATE} a second to a route of its own, on the gateway's one worker, while the looping one is asked \
         {RUNAWAY_RATE} times a second; after three missed deadlines it is suspended. `a stream` is the resident \
         memory that {streams} open streams of {CHUNKS} chunks add, divided by their number, both of their sockets' \
         buffers in the process included."
    );
    Ok(Section { name: "bounds", about, tables: vec![stopped, beside, memory] })
}

fn stopping(calls: u32) -> anyhow::Result<Table> {
    let engine = Engine::new(EngineOptions { workers: 1, ..EngineOptions::default() })?;
    let component = engine.load("runaway", witgate_guests::MISBEHAVE)?;
    let busy = Busy::new(16);
    let mut question = offer(16);
    question.facts.set(Fact::MaxOutputTokens, f64::from(TRIGGER));
    let mut times = Times::new();
    for _ in 0..calls / 2 {
        let policy = engine.bind(&component, binding(&busy))?;
        for _ in 0..2 {
            let started = Instant::now();
            let answer = policy.route(&question, &question.candidates, None);
            times.record(started.elapsed());
            let stopped = matches!(&answer, Err(failure) if matches!(failure.cause, FailureCause::Deadline { .. }));
            ensure!(stopped, "the policy that runs away was not stopped: {answer:?}");
        }
    }
    let mut table = Table::new("A policy that runs away", &["", "deadline ms", "stopped after ms p50", "p99"]);
    let millis = |quantile| number(times.quantile(quantile).map(|nanos| nanos / 1e6), 2);
    let deadline = number(Some(DEADLINE.as_secs_f64() * 1000.0), 0);
    table.push(vec!["endless loop".into(), deadline, millis(0.5), millis(0.99)]);
    Ok(table)
}

fn binding(busy: &Busy) -> Binding {
    Binding {
        settings: Arc::new(json!({"how": "loop", "on_max_tokens": TRIGGER})),
        rules: PolicyRules { deadline: DEADLINE, memory: 64 << 20, calls: NonZeroU32::MAX, ..PolicyRules::default() },
        fleet: Arc::clone(&busy.fleet),
        names: Arc::new(Nobody),
        cells: Arc::new(CellStore::default()),
    }
}

async fn beside(folder: &Path, place: &Place, time: Duration) -> anyhow::Result<Table> {
    let site = gateway::site(folder, place.binary()?)?;
    let _mock = gateway::start_mock(&site, place.load_core, Duration::ZERO).await?;
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies)?;
    std::fs::write(policies.join("runaway.wasm"), witgate_guests::MISBEHAVE)?;
    let routes = format!(
        "  bench: {{deployments: '*', policies: [peak-ewma]}}\n  runaway: {{deployments: '*', policies: \
         [{{use: runaway, settings: {{how: loop, on_max_tokens: {TRIGGER}}}}}]}}\n"
    );
    let address = free_address()?;
    let _gateway = start(&site, address, place, "beside", &routes).await?;
    let alone = client::open_loop(address, CHAT, RATE, time).await?;
    let runaways = tokio::task::spawn_local(client::open_loop(address, RUNAWAY, RUNAWAY_RATE, time));
    let together = client::open_loop(address, CHAT, RATE, time).await?;
    let runaways = runaways.await??;
    let mut table =
        Table::new("A route beside one that runs away", &["other route", "p50 µs", "p99 µs", "requests", "failed"]);
    for (name, load) in [("alone", &alone), ("beside it", &together), ("the looping one itself", &runaways)] {
        table.push(latencies(name, load));
    }
    Ok(table)
}

fn latencies(name: &str, load: &Load) -> Vec<String> {
    let mut times = Times::new();
    load.answers.iter().for_each(|answer| times.record(answer.whole));
    let micros = |quantile| number(times.quantile(quantile).map(|nanos| nanos / 1000.0), 0);
    let (answered, failed) = (load.answers.len().to_string(), load.failures.len().to_string());
    vec![name.into(), micros(0.5), micros(0.99), answered, failed]
}

async fn memory_of_streams(folder: &Path, place: &Place, streams: usize) -> anyhow::Result<Table> {
    let site = gateway::site(folder, place.binary()?)?;
    let _mock = gateway::start_mock(&site, place.load_core, CHUNK_DELAY).await?;
    let address = free_address()?;
    let routes = "  bench: {deployments: '*', policies: [peak-ewma]}\n";
    let gateway = start(&site, address, place, "streams", routes).await?;
    // The first streams bring what is there once and for all.
    let warm = client::closed_loop(address, STREAM, 8, ARRIVAL).await;
    ensure!(warm.failures.is_empty(), "streams fail: {:?}", warm.failures);
    let before = gateway.memory()?;
    let open = tokio::task::spawn_local(client::closed_loop(address, STREAM, streams, ARRIVAL));
    tokio::time::sleep(CHUNK_DELAY * (CHUNKS as u32) / 2).await;
    let during = gateway.memory()?;
    let load = open.await.context("the load ended early")?;
    ensure!(load.failures.is_empty(), "streams fail: {:?}", load.failures.first());
    ensure!(load.answers.len() == streams, "{} streams were opened, not {streams}", load.answers.len());
    let each = (during - before) * 1e6 / 1024.0 / streams as f64;
    let mut table = Table::new("Memory of streams", &["", "streams", "MB before", "MB with them", "KiB a stream"]);
    let row = [number(Some(before), 1), number(Some(during), 1), number(Some(each), 1)];
    table.push([vec!["peak-ewma".to_owned(), load.answers.len().to_string()], row.to_vec()].concat());
    Ok(table)
}

async fn start(site: &Site, address: SocketAddr, place: &Place, name: &str, routes: &str) -> anyhow::Result<Process> {
    let command = site.witgate_with(address, name, routes)?;
    let log = site.folder.join(format!("{name}.log"));
    Process::start(&Launch { name: "witgate", command, core: place.gateway_core, address, log: &log, ready: CHAT })
        .await
}
