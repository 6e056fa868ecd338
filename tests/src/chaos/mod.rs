//! A gateway under mixed load while its upstreams fail in every way, real servers are killed and frozen, policies are
//! swapped and the configuration is reloaded; then everything is counted.
//!
//! What must hold: no client notices anything while one provider can answer, apart from streams that break off after
//! they have begun, where their route does not want them gone on with; nothing leaks; and the gateway's metrics, the
//! clients and the upstreams have counted the same.

mod counted;
mod load;
mod process;
pub mod schedule;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::redis::free_address;
use crate::{Fault, Folder, Reply, Request, Speech, Upstream, gateway, upstream};
use counted::Counted;
use load::{Clients, EMBEDDINGS, RESUMED, SCRIPTED_TEXT};
use process::{Holdings, Llama, Process};
use schedule::{SCRIPTED, Step, schedule};

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The same seed makes the same schedule.
    pub seed: u64,
    /// How long the load goes on.
    pub length: Duration,
    /// The gateway.
    pub program: PathBuf,
    /// A Python that can run llama.cpp's server; without it only scripted upstreams fail.
    pub python: Option<PathBuf>,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// For people.
    pub lines: Vec<String>,
    /// What must not be; empty when all is well.
    pub wrong: Vec<String>,
}

/// Runs everything, and counts.
///
/// # Panics
/// When something of the run itself does not work.
pub async fn run(options: &Options) -> Report {
    let mut world = World::start(options).await;
    let mut report = Report::default();
    // What is there once and for all comes with the first requests.
    world.load_for(options.seed ^ 1, WARM_UP, &[]).await;
    world.settle().await;
    let before = world.look().await;
    let steps = schedule(options.seed, options.length, options.python.is_some());
    world.load_for(options.seed, options.length, &steps).await;
    world.settle().await;
    let after = world.look_when_idle(&before).await;
    world.judge(steps.len(), &before, &after, &mut report);
    report
}

/// Everything that runs.
struct World {
    folder: Folder,
    config: Value,
    gateway: Process,
    clients: Arc<Clients>,
    scripted: Vec<Upstream>,
    real: Vec<Llama>,
    /// What they read, and write into; goes after them.
    _models: TempDir,
}

/// How it stands when nothing is asked.
struct Look {
    holdings: Holdings,
    counted: Counted,
}

impl World {
    async fn start(options: &Options) -> Self {
        let scripted = [
            mood(0, Fault::Well).start().await,
            mood(1, Fault::Well).start().await,
            mood(2, Fault::Well).start().await,
        ];
        let models = tempfile::tempdir().expect("a folder");
        let real: Vec<Llama> = match &options.python {
            Some(python) => {
                let start = |reply| Llama::start(python, models.path(), reply).expect("a llama.cpp server");
                REAL_TEXTS.map(start).into()
            }
            None => Vec::new(),
        };
        let address = free_address();
        let mut config = json!({
            // With limits that are never reached there are permits that could be lost.
            "server": {"listen": address, "shutdown_grace": "1s", "max_in_flight": 256},
            "log": {"requests": false, "filter": "error"},
            "routes": {
                "scripted": {"deployments": ["m@s0", "m@s1", "m@s2"], "policies": ["health", CUSTOM, "resilient"]},
                RESUMED: {
                    "deployments": ["m@s0", "m@s1", "m@s2"], "policies": ["health", CUSTOM, "resilient"], "resume": true,
                },
                "vectors": {"deployments": ["m@v0", "m@v1", "m@v2"], "policies": ["health", "round-robin", "resilient"]},
            },
        });
        for (place, upstream) in scripted.iter().enumerate() {
            let dialect = if speech(place) == Speech::Messages { "anthropic" } else { "openai" };
            config["providers"][format!("s{place}")] = provider(dialect, &upstream.base_url());
            config["providers"][format!("s{place}")]["continuation"] = json!("assistant-message");
            config["providers"][format!("v{place}")] = provider("openai", &upstream.base_url());
            config["deployments"][format!("m@s{place}")] = json!({"model": "m", "max_concurrency": 64});
            config["deployments"][format!("m@v{place}")] = json!({"model": "v"});
        }
        for (place, llama) in real.iter().enumerate() {
            config["providers"][format!("r{place}")] = provider("openai", &format!("http://{}/v1", llama.address));
            // On a busy machine a server that is well may pause for a second.
            config["providers"][format!("r{place}")]["idle_timeout"] = json!("3s");
            config["deployments"][format!("m@r{place}")] = json!({"model": "m"});
        }
        if !real.is_empty() {
            config["routes"]["real"] =
                json!({"deployments": ["m@r0", "m@r1"], "policies": ["health", "peak-ewma", "resilient"]});
        }
        let folder = gateway().config(config).policy_file(CUSTOM, &policy(0)).write();
        let config = folder.config();
        let program = options.program.display().to_string();
        let command =
            vec![program, "serve".to_owned(), "--config".to_owned(), folder.config_file().display().to_string()];
        let gateway = Process::start(command, &folder.path().join("gateway.log")).expect("the gateway is there");
        let clients = Clients::new(address, REAL_TEXTS[..real.len()].to_vec());
        let mut world = Self { folder, config, gateway, clients, scripted: scripted.into(), real, _models: models };
        world.until_up().await;
        world
    }

    async fn until_up(&mut self) {
        let addresses: Vec<_> = self.real.iter().map(|llama| llama.address).collect();
        for (address, path) in
            addresses.into_iter().map(|real| (real, "/health")).chain([(self.clients.gateway, "/health/ready")])
        {
            let started = Instant::now();
            while !answers(address, path).await {
                assert!(self.gateway.runs(), "the gateway ended: {}", self.gateway.output());
                assert!(started.elapsed() < PATIENCE, "{address}{path} is not well after {PATIENCE:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Load for so long, while all this happens.
    async fn load_for(&mut self, seed: u64, length: Duration, steps: &[(Duration, Step)]) {
        let clients = Arc::clone(&self.clients);
        clients.go();
        let mut running = JoinSet::new();
        for number in 0..CLIENTS {
            running.spawn(Arc::clone(&clients).run(seed.wrapping_mul(CLIENTS).wrapping_add(number)));
        }
        let started = tokio::time::Instant::now();
        for (at, step) in steps {
            tokio::time::sleep_until(started + *at).await;
            self.take(*step);
        }
        tokio::time::sleep_until(started + length).await;
        clients.stop();
        while let Some(ended) = running.join_next().await {
            ended.expect("a client does not panic");
        }
    }

    fn take(&mut self, step: Step) {
        let harm = &self.clients.harm;
        match step {
            Step::Mood(place, fault) => {
                harm.scripted(place, fault);
                self.scripted[place].becomes(mood(place, fault));
            }
            Step::Kill(place) => {
                harm.real(place, true);
                self.real[place].process.kill();
            }
            Step::Start(place) => {
                self.real[place].process.again().expect("a llama.cpp server");
                harm.real(place, false);
            }
            Step::Freeze(place) => {
                harm.real(place, true);
                self.real[place].process.signal("STOP");
            }
            Step::Thaw(place) => {
                self.real[place].process.signal("CONT");
                harm.real(place, false);
            }
            Step::Policy(number) => self.folder.put_policy(CUSTOM, &policy(number)),
            Step::BadPolicy => self.folder.put_policy(CUSTOM, b"\0asm, but not really"),
            Step::Configuration(number) => {
                // Prices matter to nobody here, and one more deployment that no route uses comes and goes.
                let mut config = self.config.clone();
                config["deployments"]["m@s0"]["price"] = json!({"input": f64::from(number % 100)});
                if number % 2 == 0 {
                    config["deployments"]["spare@s0"] = json!({});
                }
                self.folder.write_config(&config);
            }
            Step::BadConfiguration => self.folder.write_config_text("routes: [what, is, this"),
        }
    }

    /// Until nothing is in flight, everybody is well, and connections that nobody uses have been closed.
    async fn settle(&mut self) {
        for place in 0..SCRIPTED {
            self.take(Step::Mood(place, Fault::Well));
        }
        self.folder.write_config(&self.config);
        self.folder.put_policy(CUSTOM, &policy(0));
        self.until_up().await;
        tokio::time::sleep(SETTLE).await;
    }

    async fn look(&self) -> Look {
        let metrics = Request::new(self.clients.gateway, "GET", "/metrics").send().await;
        Look { holdings: self.gateway.holdings(), counted: Counted::of(metrics.body_text()) }
    }

    /// Once threads that nobody needs have gone.
    async fn look_when_idle(&self, before: &Look) -> Look {
        let started = Instant::now();
        loop {
            let look = self.look().await;
            if look.holdings.threads <= before.holdings.threads || started.elapsed() > IDLE_THREADS {
                return look;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn judge(&self, steps: usize, before: &Look, after: &Look, report: &mut Report) {
        let counts = &self.clients.counts;
        let [sent, good, broken_off, left, bad] =
            [&counts.sent, &counts.good, &counts.broken_off, &counts.left, &counts.bad]
                .map(|count| count.load(Relaxed));
        report.lines.push(format!(
            "{steps} steps, {sent} requests: {good} good, {broken_off} streams broken off upstream, {left} left by the \
             client, {bad} bad"
        ));
        report.lines.push(after.counted.summary());
        let (was, is) = (before.holdings, after.holdings);
        report.lines.push(format!(
            "memory {} -> {} KiB, files and sockets {} -> {}, threads {} -> {}, instances {} -> {}",
            was.memory,
            is.memory,
            was.files,
            is.files,
            was.threads,
            is.threads,
            before.counted.instances(),
            after.counted.instances(),
        ));
        let wrong = &mut report.wrong;
        wrong.extend(self.clients.wrong().into_iter().map(|what| format!("a client noticed: {what}")));
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what)
            }
        };
        must(bad == 0, format!("{bad} requests failed although somebody could have answered"));
        must(good > 0 && sent == good + broken_off + left + bad, "the clients have lost count".to_owned());
        must(is.memory <= was.memory + MEMORY_KIB, format!("memory grew from {} to {} KiB", was.memory, is.memory));
        must(is.files <= was.files + FILES, format!("open files and sockets went from {} to {}", was.files, is.files));
        must(is.threads <= was.threads + THREADS, format!("threads went from {} to {}", was.threads, is.threads));
        let [was, is] = [before, after].map(|look| look.counted.instances());
        must(is == was, format!("policy instances went from {was} to {is}"));
        wrong.extend(after.counted.at_rest());
        wrong.extend(after.counted.adds_up([sent, good, left]));
        for (place, upstream) in self.scripted.iter().enumerate() {
            let seen =
                [("s", speech(place).path()), ("v", EMBEDDINGS)].map(|(kind, path)| (kind, upstream.hits_at(path)));
            wrong.extend(after.counted.seen_by(place, seen, upstream.expired()));
        }
    }
}

/// What an upstream does in a mood, to chats and embeddings, streamed or not.
fn mood(place: usize, fault: Fault) -> Reply {
    let speech = speech(place);
    let reply = |stream| fault.reply(speech, stream).expect("it listens");
    let vectors = json!({
        "object": "list", "model": "v", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    });
    let vectors = upstream().body(vectors.to_string());
    let well = upstream().speaking(speech).chat(SCRIPTED_TEXT);
    match fault {
        Fault::Well => well.at(EMBEDDINGS, vectors),
        Fault::Expired => well.at(EMBEDDINGS, vectors.once_per_connection()).once_per_connection(),
        // Whoever is to be asked again only after the next trouble has begun is not well in it.
        Fault::Limited => well.status(429).header("retry-after", "10"),
        _ => reply(false).to_streams(reply(true)),
    }
}

/// One of the scripted upstreams is Anthropic's.
fn speech(place: usize) -> Speech {
    if place == 1 { Speech::Messages } else { Speech::Chat }
}

fn provider(dialect: &str, base_url: &str) -> Value {
    json!({
        "dialect": dialect, "base_url": base_url, "api_key": "sk-chaos", "connect_timeout": "1s",
        "first_byte_timeout": "2s", "first_token_timeout": "2s", "idle_timeout": "1s", "keep_alive_timeout": "2s",
        "pool_idle_timeout": "1s",
        // scripted upstreams count what they are asked
        "facts": {"enabled": false},
    })
}

/// A router under a revision of its own: the same component with a custom section that holds the number.
fn policy(number: u32) -> Vec<u8> {
    let name = ["round-robin", "least-loaded", "peak-ewma"][number as usize % 3];
    let mut bytes = witgate_shipped::find(name).expect("it is shipped").bytes.to_vec();
    bytes.extend([0, 10, 5]);
    bytes.extend(b"chaos");
    bytes.extend(number.to_le_bytes());
    bytes
}

async fn answers(address: std::net::SocketAddr, path: &str) -> bool {
    Request::new(address, "GET", path)
        .header("connection", "close")
        .try_send()
        .await
        .is_ok_and(|answer| answer.status == 200)
}

/// The policy that is swapped.
const CUSTOM: &str = "custom";
/// What the real servers say.
const REAL_TEXTS: [&str; schedule::REAL] = ["Alpha server speaking now", "Bravo machine answers instead"];
const CLIENTS: u64 = 12;
const WARM_UP: Duration = Duration::from_secs(3);
/// Longer than an unused connection is kept, and than the gateway needs to notice a changed file.
const SETTLE: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(30);
/// What may be left of a run: what allocators keep, and compiled policies that are still in use somewhere.
const MEMORY_KIB: u64 = 48 << 10;
/// The look itself.
const FILES: usize = 2;
/// Threads for blocking work go after ten seconds without any; the policy folder is looked through every five.
const IDLE_THREADS: Duration = Duration::from_secs(15);
const THREADS: usize = 4;
