//! `witgate policy bench`: what a policy costs: a decision by the number of candidates, memory, loading.
//!
//! A call is timed as a gateway would make it, with the gathering of signals and the check of the answer; what looking
//! at the clock costs is taken off.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use witgate_core::decision::Offer;
use witgate_core::live::{InFlight, Millis};
use witgate_core::outcome::{Asked, Outcome};
use witgate_core::vocabulary::{Ending, FailureKind};
use witgate_wasm::{Compiling, Engine, EngineOptions, FailureCause, Hook, Hooks, Policy};

use super::draw::{Draw, Manner};
use super::guest::{self, Guest};
use super::scene::{Scene, Script};
use super::show;
use super::situation::Situation;
use super::table::Table;

/// What to do.
pub struct Plan {
    /// Numbers of candidates.
    pub candidates: Vec<usize>,
    /// For everything.
    pub time: Duration,
    /// A JSON object.
    pub settings: Value,
}

/// What it costs.
pub struct Report {
    /// Calls by hook and number of candidates.
    pub rows: Vec<Row>,
    /// From the file's bytes to a loaded policy, the compiler included.
    pub compile: Duration,
    /// The same with compiled code from the cache.
    pub cached: Duration,
    /// Configuring, trying out, warming up.
    pub bind: Duration,
    /// Linear memory of an idle instance.
    pub memory: usize,
    /// Machine code and data, once for all instances.
    pub code: usize,
    /// The file.
    pub file: usize,
}

/// One hook with so many candidates (of an observer: outcomes).
pub struct Row {
    /// Which hook.
    pub hook: Hook,
    /// How many.
    pub candidates: usize,
    /// How often it was called.
    pub calls: usize,
    /// Half of the calls took less.
    pub p50: Duration,
    /// All but one in a hundred took less.
    pub p99: Duration,
}

/// Measures.
///
/// # Errors
/// When the policy cannot be loaded or bound, or a call fails.
pub fn run(file: &Path, plan: &Plan) -> anyhow::Result<Report> {
    let cache = tempdir()?;
    let fresh = || engine(Some(cache.0.clone()));
    let first = Guest::load_with(fresh()?, file)?;
    // A second engine finds in the cache what the first one left there.
    let guest = Guest::load_with(fresh()?, file)?;
    let most = plan.candidates.iter().copied().max().unwrap_or(1);
    let imports = guest.component.imports();
    let grants = [(imports.headers, "headers"), (imports.prompt, "prompt")];
    let grants = grants.into_iter().filter(|(asked, _)| *asked).map(|(_, grant)| grant.to_owned()).collect();
    let deployments: Map<String, Value> =
        (0..most).map(|number| (format!("m{number}@p"), deployment(number))).collect();
    let scene = Scene::new(&Script { deployments, grants, ..Script::default() })?;
    let _running = busy(&scene);
    let started = Instant::now();
    let policy = guest.bind(&scene, &plan.settings).map_err(|error| guest::explained(&error))?;
    let bind = started.elapsed();
    let memory = policy.memory().into_iter().max().unwrap_or(0);
    let hooks: Vec<Hook> = guest.component.hooks().iter().collect();
    let places = u32::try_from(hooks.len() * plan.candidates.len()).unwrap_or(1).max(1);
    let mut rows = Vec::new();
    for hook in hooks {
        for candidates in &plan.candidates {
            rows.push(measure(&policy, &scene, hook, *candidates, plan.time / places)?);
        }
    }
    Ok(Report {
        rows,
        compile: first.loading,
        cached: guest.loading,
        bind,
        memory,
        code: guest.component.code_size(),
        file: guest.component.file_size(),
    })
}

fn deployment(number: usize) -> Value {
    json!({
        "weight": 1 + number % 3,
        "price": {"input": 0.1 * (number % 7) as f64, "output": 0.4 * (number % 5) as f64},
        "capabilities": ["chat", "tools"],
        "context_tokens": 128_000,
        "rpm": 6000,
    })
}

fn engine(code_cache: Option<std::path::PathBuf>) -> anyhow::Result<Engine> {
    Ok(Engine::new(EngineOptions { code_cache, compiling: Compiling::AtOnce, workers: 1, ..EngineOptions::default() })?)
}

fn measure(policy: &Arc<Policy>, scene: &Scene, hook: Hook, candidates: usize, time: Duration) -> anyhow::Result<Row> {
    let alone: Hooks = [hook].into_iter().collect();
    let situations: Vec<Situation> =
        (0..QUESTIONS).map(|number| question(scene, alone, hook, candidates, number)).collect();
    let clock = clock();
    let mut times: Vec<u64> = Vec::new();
    let started = Instant::now();
    let warm_up = time / 5;
    for number in 0.. {
        let elapsed = started.elapsed();
        if (elapsed > time && !times.is_empty()) || times.len() == MOST_CALLS {
            break;
        }
        let situation = &situations[number % situations.len()];
        let offer = Offer { now: NOW, readings: None, ..situation.offer() };
        let before = Instant::now();
        let failed = match hook {
            Hook::Filter => policy.keep(&offer, &situation.candidates).err(),
            Hook::Scorer => policy.score(&offer, &situation.candidates).err(),
            Hook::Router => policy.route(&offer, &situation.candidates, None).err(),
            Hook::Fallback => policy.after_failure(&offer, &situation.candidates, None, &situation.failures).err(),
            Hook::Observer => policy.observe(&situation.outcomes).err(),
        };
        let took = before.elapsed().saturating_sub(clock);
        match failed {
            // A declared error costs what an answer costs.
            Some(failure) if !matches!(failure.cause, FailureCause::Declared(_)) => return Err(failure.into()),
            Some(_) | None => {}
        }
        if elapsed >= warm_up || time.is_zero() {
            times.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        Duration::from_nanos(times.get(place).copied().unwrap_or(0))
    };
    Ok(Row { hook, candidates, calls: times.len(), p50: at(0.5), p99: at(0.99) })
}

/// Gives every deployment a history, and some of them requests in flight for as long as the result lives, so that
/// signals are read from where a gateway reads them.
fn busy(scene: &Scene) -> Vec<InFlight> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut running = Vec::new();
    for (target, entry) in scene.fleet.deployments().iter().enumerate() {
        for _ in 0..10 {
            let latency = Duration::from_millis(random.u64(200..2000));
            let at = Millis(NOW.0 - random.u64(1..20_000));
            entry.live.begin(100, at).finish(&served(target, latency), at);
        }
        running.extend((0..random.u32(..4)).map(|_| entry.live.begin(500, NOW)));
    }
    running
}

fn served(target: usize, latency: Duration) -> Outcome {
    Outcome {
        decision: 1,
        attempt: 0,
        target: u32::try_from(target).unwrap_or(0),
        tag: 0,
        ending: Ending::Served,
        failure: None,
        status: 200,
        retry_after: None,
        ttft: Some(latency / 4),
        latency,
        tokens_in: 400,
        tokens_out: 200,
        cached_tokens: 0,
        cache_write_tokens: 0,
        reasoning_tokens: 0,
        usd: 0.0,
        asked: Asked::default(),
    }
}

/// A question of the usual kind.
fn question(scene: &Scene, hooks: Hooks, hook: Hook, candidates: usize, number: u32) -> Situation {
    let mut draw = Draw::new(1, u64::from(number), Manner::Usual);
    let mut situation = draw.situation(scene, hooks, number);
    situation.candidates = (0..).take(candidates).collect();
    if hook == Hook::Fallback {
        situation.failures.truncate(1);
        for failure in &mut situation.failures {
            (failure.target, failure.kind) = (0, FailureKind::Overloaded);
        }
    }
    if hook == Hook::Observer {
        let row = situation.outcomes[0];
        situation.outcomes.resize(candidates, row);
    }
    situation
}

/// What it costs to look at the clock.
fn clock() -> Duration {
    let mut times: Vec<Duration> = (0..1000).map(|_| Instant::now().elapsed()).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// A folder of our own, removed at the end.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> std::io::Result<Folder> {
    let name = format!("witgate-bench-{}-{:08x}", std::process::id(), fastrand::u32(..));
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path)?;
    Ok(Folder(path))
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut table = Table::new(["hook", "candidates", "p50", "p99", "calls"]);
        for Row { hook, candidates, calls, p50, p99 } in &self.rows {
            let calls = show::count(*calls as u64);
            table.row([hook.name().to_owned(), candidates.to_string(), show::time(*p50), show::time(*p99), calls]);
        }
        let mut lines = vec![table.text(), String::new()];
        let mut line = |name: &str, text: String| lines.push(format!("{name:15} {text}"));
        line("file", show::bytes(self.file));
        line("compiled code", format!("{}, once for all instances", show::bytes(self.code)));
        line(
            "idle instance",
            format!("{} of linear memory claimed; only what it writes to is its own", show::bytes(self.memory)),
        );
        line(
            "load",
            format!("{}, compiler included; {} from the code cache", show::time(self.compile), show::time(self.cached)),
        );
        line("bind", format!("{}: configured, tried out, one instance warm", show::time(self.bind)));
        lines.join("\n")
    }

    /// For programs; times in nanoseconds.
    pub fn json(&self) -> Value {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let rows = self.rows.iter().map(|row| {
            json!({
                "hook": row.hook.name(),
                "candidates": row.candidates,
                "calls": row.calls,
                "p50_ns": nanos(row.p50),
                "p99_ns": nanos(row.p99),
            })
        });
        json!({
            "decisions": rows.collect::<Vec<_>>(),
            "file_bytes": self.file,
            "code_bytes": self.code,
            "instance_bytes": self.memory,
            "load_ns": nanos(self.compile),
            "load_cached_ns": nanos(self.cached),
            "bind_ns": nanos(self.bind),
        })
    }
}

/// The moment of all questions.
const NOW: Millis = Millis(120_000);
/// Different questions, asked in turn.
const QUESTIONS: u32 = 16;
/// Times that are kept of one row.
const MOST_CALLS: usize = 2_000_000;
