//! What a failover before the first byte costs: the same request with and without a first attempt that fails, beside the
//! time that the attempt takes by itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::net::TcpStream;

use crate::client::{CHAT, CHAT_BODY, Connection, Request};
use crate::cores::Precedence;
use crate::free_address;
use crate::gateway::{self, Launch, Place, Process, Site};
use crate::report::{Section, Table, number, progress};
use crate::stats::Times;
use crate::upstream::FAIL;

/// Rounds; in each, every row is measured.
const ROUNDS: usize = 40;
/// Requests of a row in a round.
const REQUESTS: usize = 100;

/// The body of [`CHAT_BODY`] for a route of this name.
const BUSY_BODY: &str = r#"{"model":"busy","messages":[{"role":"system","content":"You are a helpful assistant. Answer briefly and say when you are not sure."},{"role":"user","content":"What is the quickest way to find out which of several servers will answer first?"}],"max_tokens":256,"temperature":0.7}"#;
const GONE_BODY: &str = r#"{"model":"gone","messages":[{"role":"system","content":"You are a helpful assistant. Answer briefly and say when you are not sure."},{"role":"user","content":"What is the quickest way to find out which of several servers will answer first?"}],"max_tokens":256,"temperature":0.7}"#;

/// Measures failover.
///
/// # Errors
/// When the gateway does not run, or a request fails that must not.
pub(crate) async fn run(place: &Place, quick: bool) -> anyhow::Result<Section> {
    place.pin()?;
    let _first = Precedence::of_session();
    progress("failover before the first byte");
    let folder = tempfile::tempdir()?;
    let site = gateway::site(folder.path(), place.binary()?)?;
    let _mock = gateway::start_mock(&site, place.load_core, Duration::ZERO).await?;
    let (address, nobody) = (free_address()?, free_address()?);
    let _gateway = start(&site, address, nobody, place).await?;
    let table = measure(address, site.upstreams[0], nobody, if quick { ROUNDS / 10 } else { ROUNDS }).await?;
    let about = format!(
        "A route whose first deployment fails and whose second answers, beside one whose first answers; one request at \
         a time, {ROUNDS} rounds of {REQUESTS}. `attempt alone` is what the failing attempt takes when it is made by \
         itself, without a gateway; `added` is what the failover costs beyond that: the time with the failure, less \
         the time without it, less the attempt's own. The policy is `in-order`, and budget and breaker are out of the \
         way."
    );
    Ok(Section { name: "failover", about, tables: vec![table] })
}

async fn start(site: &Site, address: SocketAddr, nobody: SocketAddr, place: &Place) -> anyhow::Result<Process> {
    let folder = site.folder.display();
    std::fs::create_dir_all(site.folder.join("policies"))?;
    let mock = site.upstreams[0];
    let text = format!(
        "server: {{listen: '{address}', workers: 1}}\n\
         log: {{filter: error, requests: false}}\n\
         providers:\n\
         \x20 good: {{dialect: openai, base_url: 'http://{mock}/v1', probe: {{enabled: false}}}}\n\
         \x20 busy: {{dialect: openai, base_url: 'http://{mock}{FAIL}', probe: {{enabled: false}}}}\n\
         \x20 gone: {{dialect: openai, base_url: 'http://{nobody}/v1', probe: {{enabled: false}}}}\n\
         deployments: {{bench@good: {{}}, bench@busy: {{}}, bench@gone: {{}}}}\n\
         routes:\n\
         \x20 bench: {{deployments: bench@good, policies: [in-order]}}\n\
         \x20 busy: {{deployments: [bench@busy, bench@good], policies: [in-order]}}\n\
         \x20 gone: {{deployments: [bench@gone, bench@good], policies: [in-order]}}\n\
         retries: {{share: 10, per_second: 100000}}\n\
         breaker: {{consecutive_failures: 10000, min_requests: 1000000}}\n\
         policies: {{directory: '{folder}/policies', code_cache: '{folder}/code'}}\n"
    );
    let file = site.write("failover.yaml", &text)?;
    let command = vec![site.witgate.display().to_string(), "serve".into(), "--config".into(), file];
    let log = site.folder.join("failover.log");
    Process::start(&Launch { name: "witgate", command, core: place.gateway_core, address, log: &log, ready: CHAT })
        .await
}

/// What is measured in turn.
struct Row {
    times: Times,
    connection: Connection,
    request: Request,
}

impl Row {
    async fn new(address: SocketAddr, request: Request) -> anyhow::Result<Self> {
        let mut connection = Connection::open(address).await?;
        connection.ask(request).await?;
        Ok(Self { times: Times::new(), connection, request })
    }

    async fn ask(&mut self) -> anyhow::Result<()> {
        for _ in 0..REQUESTS {
            self.times.record(self.connection.ask(self.request).await?.whole);
        }
        Ok(())
    }

    fn micros(&self, quantile: f64) -> f64 {
        micros(&self.times, quantile)
    }
}

async fn measure(gateway: SocketAddr, mock: SocketAddr, nobody: SocketAddr, rounds: usize) -> anyhow::Result<Table> {
    let mut plain = Row::new(gateway, Request::to_gateway(CHAT_BODY)).await?;
    let mut busy = Row::new(gateway, Request::to_gateway(BUSY_BODY)).await?;
    let mut gone = Row::new(gateway, Request::to_gateway(GONE_BODY)).await?;
    let failing = Request { path: "/fail/chat/completions", body: CHAT_BODY, status: 503 };
    let mut busy_alone = Row::new(mock, failing).await?;
    let mut gone_alone = Times::new();
    for _ in 0..rounds {
        plain.ask().await?;
        busy.ask().await?;
        gone.ask().await?;
        busy_alone.ask().await?;
        for _ in 0..REQUESTS {
            let started = Instant::now();
            ensure!(TcpStream::connect(nobody).await.is_err(), "somebody listens at {nobody}");
            gone_alone.record(started.elapsed());
        }
    }
    let mut table = Table::new(
        "Failover before the first byte, µs",
        &["the first attempt", "", "attempt alone", "without it", "with it", "added"],
    );
    for (name, alone, with) in [("503 at once", &busy_alone.times, &busy), ("nobody listens", &gone_alone, &gone)] {
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let (alone, without, with) = (micros(alone, quantile), plain.micros(quantile), with.micros(quantile));
            let figures = [alone, without, with, with - without - alone].map(|figure| number(Some(figure), 0));
            table.push([vec![name.to_owned(), label.to_owned()], figures.to_vec()].concat());
        }
    }
    Ok(table)
}

fn micros(times: &Times, quantile: f64) -> f64 {
    times.quantile(quantile).unwrap_or(f64::NAN) / 1000.0
}
