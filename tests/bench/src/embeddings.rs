//! What it gains, or costs, to send small requests for embeddings as one: at a real llama.cpp server, by number of
//! clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::client::{self, EMBEDDING, Load};
use crate::cores::Precedence;
use crate::free_address;
use crate::gateway::{Launch, Place, Process};
use crate::report::{Section, Table, number, progress};
use crate::stats::{Spread, Times, median};

/// Settings of a run.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "embeddings")]
pub(crate) struct Options {
    /// The Python that has `xllamacpp` and `gguf` (`make setup` makes it)
    #[arg(long, value_name = "FILE", default_value = "target/venv/bin/python")]
    python: PathBuf,
}

/// Clients that ask one thing after another.
const CLIENTS: [usize; 3] = [1, 4, 16];
const ROUNDS: usize = 5;

/// Measures both ways, in turns.
///
/// # Errors
/// When the server or the gateway does not run, or a request fails.
pub(crate) async fn run(options: &Options, place: &Place, quick: bool) -> anyhow::Result<Section> {
    let python = std::path::absolute(&options.python)?;
    ensure!(python.is_file(), "{} is not there: run `make setup`, or name another with --python", python.display());
    place.pin()?;
    let _first = Precedence::of_session();
    let folder = tempfile::tempdir()?;
    let server = free_address()?;
    let _llama = llama(&python, server, place, folder.path()).await?;
    let (apart, together) = (free_address()?, free_address()?);
    let _apart = gateway(apart, server, false, place, folder.path()).await?;
    let _together = gateway(together, server, true, place, folder.path()).await?;
    let time = Duration::from_secs(if quick { 1 } else { 3 });
    let head = [
        "clients",
        "direct req/s",
        "each req/s",
        "as one req/s",
        "× each",
        "each p50 ms",
        "as one p50",
        "each p99",
        "as one p99",
    ];
    let mut table = Table::new("Requests for one embedding each", &head);
    for clients in CLIENTS {
        progress(&format!("embeddings, {clients} clients"));
        let mut ways = [(server, Way::new()), (apart, Way::new()), (together, Way::new())];
        let mut gains = Vec::new();
        for _ in 0..if quick { 1 } else { ROUNDS } {
            for (address, way) in &mut ways {
                way.note(client::closed_loop(*address, EMBEDDING, clients, time).await, time)?;
            }
            let rate = |place: usize| ways[place].1.rates.last().copied().unwrap_or(f64::NAN);
            gains.push(rate(2) / rate(1));
        }
        let gain = Spread::of(gains).context("there was no round")?;
        let rate = |place: usize| number(median(ways[place].1.rates.iter().copied()), 0);
        let millis =
            |place: usize, quantile| number(ways[place].1.times.quantile(quantile).map(|nanos| nanos / 1e6), 2);
        table.push(vec![
            clients.to_string(),
            rate(0),
            rate(1),
            rate(2),
            format!("{:.2} ({:.2}–{:.2})", gain.median, gain.low, gain.high),
            millis(1, 0.5),
            millis(2, 0.5),
            millis(1, 0.99),
            millis(2, 0.99),
        ]);
    }
    let about = "Each client asks for the embedding of one sentence after another. `each` sends every request by itself, \
                 `as one` is `embedding_batch: {enabled: true}` with its defaults, `direct` is llama.cpp without a gateway. \
                 The model is tiny, so the cost of a request is most of what is saved; on a large model the server's \
                 work is, and how much of it is saved depends on whether the server computes several inputs faster than \
                 one after the other. A single client gains nothing and waits for nobody. The range in brackets is that of \
                 the rounds."
        .to_owned();
    Ok(Section { name: "embeddings", about, tables: vec![table] })
}

/// What came of one way.
struct Way {
    rates: Vec<f64>,
    times: Times,
}

impl Way {
    fn new() -> Self {
        Self { rates: Vec::new(), times: Times::new() }
    }

    fn note(&mut self, load: Load, time: Duration) -> anyhow::Result<()> {
        ensure!(load.failures.is_empty(), "a request failed: {}", load.failures.first().map_or("", |failure| failure));
        self.rates.push(load.answers.len() as f64 / time.as_secs_f64());
        load.answers.iter().for_each(|answer| self.times.record(answer.whole));
        Ok(())
    }
}

async fn llama(python: &Path, address: SocketAddr, place: &Place, folder: &Path) -> anyhow::Result<Process> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../real");
    let model = folder.join("embedder.gguf");
    let made = std::process::Command::new(python)
        .arg(tools.join("make_tiny_gguf.py"))
        .args(["--name", "embedder", "--embedding", "--out"])
        .arg(&model)
        .output()?;
    ensure!(made.status.success(), "the model was not made: {}", String::from_utf8_lossy(&made.stderr));
    let text = |path: &Path| path.display().to_string();
    let mut command = vec![text(python), text(&tools.join("run_llama_server.py")), "--model".into(), text(&model)];
    let port = address.port().to_string();
    let options = ["--alias", "embedder", "--embedding", "--parallel", "8", "--ctx-size", "4096", "--port", &port];
    command.extend(options.map(str::to_owned));
    let (log, core) = (folder.join("llama.log"), place.load_core);
    Process::start(&Launch { name: "llama.cpp", command, core, address, log: &log, ready: EMBEDDING }).await
}

async fn gateway(
    address: SocketAddr,
    server: SocketAddr,
    enabled: bool,
    place: &Place,
    folder: &Path,
) -> anyhow::Result<Process> {
    let shown = folder.display();
    std::fs::create_dir_all(folder.join("policies"))?;
    let text = format!(
        "server: {{listen: '{address}', workers: 1}}\n\
         log: {{filter: warn, requests: false}}\n\
         providers: {{here: {{preset: llama-cpp, base_url: 'http://{server}/v1', embedding_batch: {{enabled: {enabled}}}}}}}\n\
         deployments: {{embedder@here: {{}}}}\n\
         routes: {{bench: {{deployments: '*', policies: [in-order]}}}}\n\
         policies: {{directory: '{shown}/policies', code_cache: '{shown}/code'}}\n"
    );
    let file = folder.join(format!("batch-{enabled}.yaml"));
    std::fs::write(&file, text)?;
    let program = place.binary()?.display().to_string();
    let command = vec![program, "serve".into(), "--config".into(), file.display().to_string()];
    let (log, core) = (folder.join(format!("gateway-{enabled}.log")), place.gateway_core);
    Process::start(&Launch { name: "witgate", command, core, address, log: &log, ready: EMBEDDING }).await
}
