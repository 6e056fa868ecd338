//! One of three providers fails in different ways: what clients notice, what upstreams get, how soon it is noticed and
//! how soon it is used again. And all of them fail; and all of them fail a little.

mod upstream;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{self, CHAT, Load};
use crate::cores::Precedence;
use crate::free_address;
use crate::gateway::{Launch, Place, Process, Site};
use crate::report::{Section, Table, number, progress};
use upstream::{Mood, Moody};

/// Settings of a run.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "failures")]
pub(crate) struct Options {
    /// Requests a second to the gateway whose providers fail
    #[arg(long = "failures-rate", value_name = "RATE", default_value_t = 500.0)]
    rate: f64,
}

/// Before the fault begins.
const BEFORE: Duration = Duration::from_secs(5);
/// How long it lasts.
const FAULT: Duration = Duration::from_secs(15);
/// And how long the load goes on after it.
const AFTER: Duration = Duration::from_secs(20);
/// How long all fail a little.
const NOISE: Duration = Duration::from_secs(40);
/// The retry budget's window.
const WINDOW: Duration = Duration::from_secs(10);
/// From one look at the gateway to the next.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_A_SECOND: usize = 20;
/// Of all requests: a server that fails is noticed when it gets less, of which a third would be its part.
const NOTICED: f64 = 0.05;
/// And is back when it gets more.
const BACK: f64 = 0.15;
/// Of a thousand requests.
const NOISE_THOUSANDTHS: u32 = 10;

/// Measures all of it.
///
/// # Errors
/// When the gateway does not run.
pub(crate) async fn run(options: &Options, place: &Place, quick: bool) -> anyhow::Result<Section> {
    place.pin()?;
    let _first = Precedence::of_session();
    let folder = tempfile::tempdir()?;
    let rate = options.rate;
    let shorter = |time: Duration| if quick { time / 4 } else { time };
    let times = Times { before: shorter(BEFORE), fault: shorter(FAULT), after: shorter(AFTER) };

    let mut one = Table::new(
        "One of three fails",
        &["it is", "requests", "failed", "success %", "upstream requests × clients'", "noticed s", "back s", "opened"],
    );
    for (name, mood) in [
        ("down (connection refused)", Mood::Down),
        ("failing fast (500)", Mood::Failing),
        ("browned out (half 502, half slow)", Mood::Brown),
        ("hung (no answer)", Mood::Hung),
    ] {
        progress(&format!("one of three is {name}"));
        let fleet = Fleet::start(folder.path(), place, rate).await?;
        one.push(fleet.one_fails(name, mood, times).await?);
    }

    progress("all of them fail");
    let mut all = Table::new(
        "All fail (500)",
        &["", "requests", "upstream requests", "× clients'", "allowed: 1.2 × + 10/s", "back s"],
    );
    all.push(Fleet::start(folder.path(), place, rate).await?.all_fail(times).await?);

    progress("all of them fail a little");
    let mut noise = Table::new("Noise", &["", "requests", "failed", "breakers opened", "upstream requests × clients'"]);
    noise.push(Fleet::start(folder.path(), place, rate).await?.noisy(shorter(NOISE)).await?);

    let about = format!(
        "Three scripted servers that answer in 5 ms, the default chain of policies, {rate} requests a second at random \
         moments. A server is well for {BEFORE:?}, fails for {FAULT:?} and is well again; all requests of that time \
         count. A hung server is given up after 1s. `noticed` is from the fault's beginning to the end of the last \
         second in which it got more than 5 % of all upstream requests, `back` from its end to the end of the first in \
         which it got more than 15 % again; `opened` is how often its breaker opened: routers keep away from who fails \
         before that. When all fail, requests are counted from {WINDOW:?} on, since those before the fault pay for \
         retries that long. In the last table each server says 500 to {NOISE_THOUSANDTHS} in 1000 requests for \
         {NOISE:?}."
    );
    Ok(Section { name: "failures", about, tables: vec![one, all, noise] })
}

#[derive(Clone, Copy)]
struct Times {
    before: Duration,
    fault: Duration,
    after: Duration,
}

/// Three servers and a gateway in front of them.
struct Fleet {
    servers: Vec<Moody>,
    address: SocketAddr,
    rate: f64,
    _gateway: Process,
}

impl Fleet {
    async fn start(folder: &Path, place: &Place, rate: f64) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Moody::start().await?);
        }
        let upstreams = servers.iter().map(|server| server.address).collect();
        let site = Site { folder: folder.to_owned(), witgate: place.binary()?, upstreams };
        let address = free_address()?;
        // The default chain.
        let routes = "  bench: {deployments: '*', first_byte_timeout: 1s}\n";
        let command = site.witgate_with(address, "failures", routes)?;
        let log = folder.join("failures.log");
        let core = place.gateway_core;
        let launch = Launch { name: "witgate", command, core, address, log: &log, ready: CHAT };
        Ok(Self { servers, address, rate, _gateway: Process::start(&launch).await? })
    }

    async fn one_fails(&self, name: &str, mood: Mood, times: Times) -> anyhow::Result<Vec<String>> {
        let server = &self.servers[0];
        let before = self.hits();
        let load = self.load(times.before + times.fault + times.after);
        tokio::time::sleep(times.before).await;
        server.becomes(mood).await?;
        let noticed = self.traffic(times.fault).await.last(|share| share > NOTICED);
        server.becomes(Mood::Well).await?;
        let back = self.traffic(times.after).await.first(|share| share > BACK);
        let load = load.await.context("the load ended early")??;
        let opened = self.metric("witgate_breaker_opened_total{deployment=\"bench@mock0\"}").await?;
        tell_first_failure(&load);
        Ok(vec![
            name.to_owned(),
            requests(&load).to_string(),
            load.failures.len().to_string(),
            number(Some(100.0 * load.answers.len() as f64 / requests(&load) as f64), 3),
            number(Some((self.hits() - before) as f64 / requests(&load) as f64), 3),
            seconds(noticed),
            seconds(back),
            number(Some(opened), 0),
        ])
    }

    async fn all_fail(&self, times: Times) -> anyhow::Result<Vec<String>> {
        let settled = self.load(times.before).await.context("the load ended early")??;
        ensure!(settled.failures.is_empty(), "servers that are well fail: {:?}", settled.failures.first());
        for server in &self.servers {
            server.becomes(Mood::Failing).await?;
        }
        // What came before the fault pays for retries as long as the window looks back.
        asked_in_vain(self.address, self.rate, WINDOW).await;
        let before = self.hits();
        let began = Instant::now();
        // The load's own first requests must succeed, so this one asks by itself.
        let asked = asked_in_vain(self.address, self.rate, times.fault).await;
        let took = began.elapsed().as_secs_f64();
        let hits = self.hits() - before;
        for server in &self.servers {
            server.becomes(Mood::Well).await?;
        }
        let ended = Instant::now();
        let mut back = None;
        while back.is_none() && ended.elapsed() < times.after {
            let answered = asked_in_vain(self.address, self.rate, LOOK).await;
            if answered.failed == 0 {
                back = Some(ended.elapsed());
            }
        }
        let requests = asked.requests as f64;
        Ok(vec![
            "three of three".to_owned(),
            asked.requests.to_string(),
            hits.to_string(),
            number(Some(hits as f64 / requests), 3),
            number(Some((1.2 * requests + 10.0 * took) / requests), 3),
            seconds(back),
        ])
    }

    async fn noisy(&self, time: Duration) -> anyhow::Result<Vec<String>> {
        let settled = self.load(Duration::from_secs(1)).await.context("the load ended early")??;
        ensure!(settled.failures.is_empty(), "servers that are well fail: {:?}", settled.failures.first());
        for server in &self.servers {
            server.becomes(Mood::Noisy(NOISE_THOUSANDTHS)).await?;
        }
        let before = self.hits();
        let load = self.load(time).await.context("the load ended early")??;
        let mut opened = 0.0;
        for place in 0..3 {
            opened += self.metric(&format!("witgate_breaker_opened_total{{deployment=\"bench@mock{place}\"}}")).await?;
        }
        tell_first_failure(&load);
        Ok(vec![
            "1 % of 500 at each".to_owned(),
            requests(&load).to_string(),
            load.failures.len().to_string(),
            number(Some(opened), 0),
            number(Some((self.hits() - before) as f64 / requests(&load) as f64), 3),
        ])
    }

    fn load(&self, time: Duration) -> tokio::task::JoinHandle<std::io::Result<Load>> {
        tokio::task::spawn_local(client::open_loop(self.address, CHAT, self.rate, time))
    }

    /// Watches for so long.
    async fn traffic(&self, time: Duration) -> Traffic {
        let started = Instant::now();
        let (mut counts, mut shares) = (Vec::new(), Vec::new());
        while started.elapsed() < time {
            counts.push((self.servers[0].hits(), self.hits()));
            if let Some((first, all)) = counts.len().checked_sub(1 + LOOKS_A_SECOND).map(|place| counts[place]) {
                let (of_first, of_all) = (self.servers[0].hits() - first, self.hits() - all);
                shares.push((started.elapsed(), of_first as f64 / of_all.max(1) as f64));
            }
            tokio::time::sleep(LOOK).await;
        }
        Traffic(shares)
    }

    fn hits(&self) -> u64 {
        self.servers.iter().map(Moody::hits).sum()
    }

    async fn metric(&self, series: &str) -> anyhow::Result<f64> {
        metric(self.address, series).await
    }
}

/// Asks a gateway that cannot answer.
struct InVain {
    requests: u64,
    failed: u64,
}

async fn asked_in_vain(address: SocketAddr, rate: f64, time: Duration) -> InVain {
    let end = Instant::now() + time;
    let counted = Rc::new((Cell::new(0), Cell::new(0)));
    let mut running = tokio::task::JoinSet::new();
    while Instant::now() < end {
        let counted = Rc::clone(&counted);
        running.spawn_local(async move {
            let answered = async { client::Connection::open(address).await?.ask(CHAT).await };
            let failed = answered.await.is_err();
            counted.0.set(counted.0.get() + 1);
            counted.1.set(counted.1.get() + u64::from(failed));
        });
        tokio::time::sleep(Duration::from_secs_f64(1.0 / rate)).await;
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    InVain { requests: counted.0.get(), failed: counted.1.get() }
}

/// The share of the requests that the first server gets, second by second, over and over.
struct Traffic(Vec<(Duration, f64)>);

impl Traffic {
    /// The end of the last second in which it was so; 0 when it never was, `None` when it was to the end.
    fn last(&self, wanted: impl Fn(f64) -> bool) -> Option<Duration> {
        let is_last = self.0.last().is_some_and(|(_, share)| wanted(*share));
        let last = self.0.iter().rev().find(|(_, share)| wanted(*share)).map_or(Duration::ZERO, |(at, _)| *at);
        (!is_last).then_some(last)
    }

    /// The end of the first second in which it was so.
    fn first(&self, wanted: impl Fn(f64) -> bool) -> Option<Duration> {
        self.0.iter().find(|(_, share)| wanted(*share)).map(|(at, _)| *at)
    }
}

/// One metric of the gateway; 0 when it is not there.
async fn metric(address: SocketAddr, series: &str) -> anyhow::Result<f64> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await?;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(Ok(0.0), |value| value.parse().with_context(|| format!("{series} is {value}")))
}

fn requests(load: &Load) -> usize {
    load.answers.len() + load.failures.len()
}

fn tell_first_failure(load: &Load) {
    if let Some(failure) = load.failures.first() {
        progress(&format!("first failure: {failure}"));
    }
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "not in time".to_owned(), |time| number(Some(time.as_secs_f64()), 1))
}
