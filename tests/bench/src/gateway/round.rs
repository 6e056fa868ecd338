//! One contender, started afresh, through all loads, and stopped.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::contender::{Contender, Site};
use super::process::{CoreTime, Launch, Process};
use super::wrk::{Throughput, Wrk};
use crate::client::{self, CHAT, Load, STREAM};
use crate::free_address;

/// How long each load lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) warm_up: Duration,
    pub(crate) saturation: Duration,
    pub(crate) fixed_rate: Duration,
    pub(crate) streams: Duration,
    pub(crate) first_chunks: Duration,
}

impl Lengths {
    /// For results that are kept.
    pub(crate) const FULL: Self = Self {
        warm_up: Duration::from_secs(1),
        saturation: Duration::from_secs(3),
        fixed_rate: Duration::from_secs(3),
        streams: Duration::from_millis(2500),
        // at 10 a second: 100 streams in four rounds
        first_chunks: Duration::from_millis(2500),
    };
    /// For a look.
    pub(crate) const QUICK: Self = Self {
        warm_up: Duration::from_millis(500),
        saturation: Duration::from_secs(1),
        fixed_rate: Duration::from_secs(1),
        streams: Duration::from_secs(1),
        first_chunks: Duration::from_secs(1),
    };
}

/// Requests a second of the fixed rate.
pub(crate) const RATE: f64 = 200.0;
/// Streams a second whose first chunk is timed.
pub(crate) const STREAM_RATE: f64 = 10.0;
/// Streams at a time.
pub(crate) const STREAMS: usize = 32;

/// What one contender did in one round. Times in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) start: Duration,
    /// MB.
    pub(crate) memory_idle: f64,
    /// MB.
    pub(crate) memory_after: f64,
    pub(crate) few: Saturated,
    pub(crate) many: Saturated,
    /// At [`RATE`].
    pub(crate) latencies: Vec<f64>,
    /// At [`STREAM_RATE`].
    pub(crate) first_chunks: Vec<f64>,
    pub(crate) events_per_second: f64,
    /// Microseconds.
    pub(crate) cpu_per_event: f64,
    /// Requests that went wrong, in all loads.
    pub(crate) errors: f64,
    /// What the first of them said, where we know.
    pub(crate) error: Option<String>,
}

/// wrk at full speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saturated {
    pub(crate) throughput: Throughput,
    /// Milliseconds of CPU for 1000 requests.
    pub(crate) cpu: f64,
    /// Share of the core that the contender used.
    pub(crate) own: f64,
    /// Share of the core that nobody used; what is left was taken by others.
    pub(crate) idle: f64,
}

/// What a run needs besides the contender.
#[derive(Debug)]
pub(crate) struct Track<'a> {
    pub(crate) site: &'a Site,
    pub(crate) wrk: &'a Wrk,
    pub(crate) core: usize,
    pub(crate) lengths: Lengths,
}

impl Track<'_> {
    /// Starts the contender, measures it, and stops it.
    ///
    /// # Errors
    /// When it does not run; requests that fail are counted instead.
    pub(crate) async fn run(&self, contender: Contender) -> anyhow::Result<Run> {
        let Self { site, wrk, core, lengths } = self;
        let address = free_address()?;
        let command = site.prepare(contender, address)?;
        let name = contender.to_string();
        let log = site.folder.join(format!("{name}.log"));
        let process =
            Process::start(&Launch { name: &name, command, core: *core, address, log: &log, ready: CHAT }).await?;
        tokio::time::sleep(lengths.warm_up / 2).await;
        let memory_idle = process.memory()?;

        let warm = wrk.run(address, 32, Duration::from_secs(1)).await?;
        let few = self.saturate(&process, address, 32).await?;
        let many = self.saturate(&process, address, 256).await?;
        let fixed = client::open_loop(address, CHAT, RATE, lengths.fixed_rate).await?;

        let warm_streams = client::closed_loop(address, STREAM, STREAMS, lengths.warm_up).await;
        let (before, started) = (process.cpu()?, Instant::now());
        let streams = client::closed_loop(address, STREAM, STREAMS, lengths.streams).await;
        let (cpu, elapsed) = (process.cpu()? - before, started.elapsed());
        let events: usize = streams.answers.iter().map(|answer| answer.events).sum();
        let first = client::open_loop(address, STREAM, STREAM_RATE, lengths.first_chunks).await?;

        let counted = [warm.errors, few.throughput.errors, many.throughput.errors];
        let loads = [&fixed, &warm_streams, &streams, &first];
        Ok(Run {
            start: process.start,
            memory_idle,
            memory_after: process.memory()?,
            few,
            many,
            latencies: nanos(&fixed, |answer| answer.whole),
            first_chunks: nanos(&first, |answer| answer.first),
            events_per_second: events as f64 / elapsed.as_secs_f64(),
            cpu_per_event: cpu * 1000.0 / events as f64,
            errors: counted.iter().sum::<f64>() + loads.iter().map(|load| load.failures.len() as f64).sum::<f64>(),
            error: loads.iter().find_map(|load| load.failures.first().cloned()),
        })
    }

    async fn saturate(&self, process: &Process, address: SocketAddr, connections: u32) -> anyhow::Result<Saturated> {
        let (core, cpu, started) = (CoreTime::now(self.core)?, process.cpu()?, Instant::now());
        let throughput = self.wrk.run(address, connections, self.lengths.saturation).await?;
        let (cpu, elapsed) = (process.cpu()? - cpu, started.elapsed());
        Ok(Saturated {
            throughput,
            cpu: cpu * 1000.0 / throughput.requests,
            own: cpu / 1000.0 / elapsed.as_secs_f64(),
            idle: CoreTime::now(self.core)?.idle_since(core),
        })
    }
}

fn nanos(load: &Load, time: impl Fn(&client::Answer) -> Duration) -> Vec<f64> {
    load.answers.iter().map(|answer| time(answer).as_nanos() as f64).collect()
}
