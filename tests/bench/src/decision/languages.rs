//! What a policy costs in each language: its file, its first load and the next, an instance, a decision.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use witgate_core::decision::Offer;
use witgate_wasm::{Component, Engine, EngineOptions, Tier};

use super::fleet::Prompt;
use super::{BUDGET, Busy, EXTRA, INSTANCE, QUICK_BUDGET, SETTINGS, Subject, offer, timing};
use crate::cores::Precedence;
use crate::report::{Section, Table, number, progress};
use crate::stats::Times;

/// Where the results are shown to whoever chooses a language.
pub(crate) const FILE: &str = "examples/policies/README.md";

/// As the contract's numbers are stated.
const CANDIDATES: usize = 16;
/// From the cache, a load takes less than a millisecond: the median of so many.
const LOADS: usize = 5;
/// Python takes a quarter of a minute at the lowest priority.
const PATIENCE: Duration = Duration::from_secs(300);

/// Of real use: policy, language, settings.
const REAL: [(&str, &str, &str); 8] = [
    ("budget-guard", "rust", r#"{"usd": 20, "thrifty_from": 0}"#),
    ("consistent-hash", "c", "{}"),
    ("weighted-score", "cpp", "{}"),
    ("time-of-day", "zig", r#"{"windows": [{"tariff": "night", "from": "22:00", "to": "06:00", "factor": 0.5}]}"#),
    ("context-fit", "go", "{}"),
    ("prompt-language", "javascript", "{}"),
    (
        "ab-split",
        "typescript",
        r#"{"experiment": "bench", "arms": [
            {"name": "control", "share": 9, "deployments": ["arm=control"]},
            {"name": "candidate", "share": 1, "deployments": ["arm=candidate"]}
        ]}"#,
    ),
    ("tenant-tiers", "python", r#"{"tiers": {"gold": {"prefer": "fastest"}}, "default": "gold"}"#),
];

/// Measures the examples of each language that `make guests-extra` has built.
///
/// # Errors
/// When one of them does not load, or a decision fails.
pub(crate) fn run(quick: bool) -> anyhow::Result<Section> {
    let _first = Precedence::take();
    let bench = Bench {
        busy: Busy::new(CANDIDATES),
        clock: timing::Clock::calibrate(),
        budget: if quick { QUICK_BUDGET } else { BUDGET },
    };
    let mut same = table("The same policy in every language", "language");
    for language in EXTRA {
        if let Some(row) = bench.row(language, language, SETTINGS)? {
            same.push(row);
        }
    }
    let mut real = table("A policy of real use in each language", "policy");
    for (policy, language, settings) in REAL {
        if let Some(row) = bench.row(policy, &format!("{policy} ({language})"), settings)? {
            real.push(row);
        }
    }
    let about = format!(
        "With {CANDIDATES} candidates; the first table is of one policy that reads four signals (requests in flight, \
         pause, errors, price): signals gathered, the policy called, its answer checked. The first load compiles at low \
         priority, on at most four threads, and large policies quickly; `optimised` is when their optimised code is there, \
         which they serve without. The next load, of the same file, takes that from the cache. {INSTANCE}"
    );
    Ok(Section { name: "languages", about, tables: vec![same, real] })
}

fn table(title: &'static str, first: &'static str) -> Table {
    Table::new(
        title,
        &[
            first,
            "file kB",
            "first load ms",
            "optimised ms",
            "next load ms",
            "instance kB",
            "decision p50 µs",
            "p99 µs",
            "quick p50 µs",
        ],
    )
}

/// What all of them are measured with.
struct Bench {
    busy: Busy,
    clock: timing::Clock,
    budget: Duration,
}

impl Bench {
    /// Of one file; `None` when it is not there.
    fn row(&self, name: &str, shown: &str, settings: &str) -> anyhow::Result<Option<Vec<String>>> {
        let file = Path::new("target/guests-extra").join(name).with_extension("wasm");
        let Ok(bytes) = std::fs::read(&file) else {
            progress(&format!("{} is not there (make guests-extra): left out", file.display()));
            return Ok(None);
        };
        progress(&format!("measuring {name}"));
        let decisions = |component: &Arc<Component>, engine: &Engine| {
            let subject = Subject::of(name, component, engine, &self.busy.fleet, settings)?;
            let offer = Offer { content: Some(Arc::new(Prompt)), ..offer(CANDIDATES) };
            anyhow::Ok((subject.times(&self.busy.fleet, self.clock, self.budget, offer)?.0, subject.memory))
        };
        let (loads, unoptimised) = loads(name, &bytes, &decisions)?;
        let Loads { first, optimised, next, component, engine } = loads;
        let (times, memory) = decisions(&component, &engine)?;
        let micros = |times: &Times, quantile| number(times.quantile(quantile).map(|nanos| nanos / 1000.0), 2);
        Ok(Some(vec![
            shown.to_owned(),
            number(Some(bytes.len() as f64 / 1000.0), 0),
            millis(first),
            millis(optimised),
            millis(next),
            number(Some(memory / 1000.0), 0),
            micros(&times, 0.5),
            micros(&times, 0.99),
            unoptimised.map_or_else(|| "–".to_owned(), |times| micros(&times, 0.5)),
        ]))
    }
}

/// From the start of the first load, or of a later one by another engine with the same cache.
struct Loads {
    first: Duration,
    optimised: Duration,
    next: Duration,
    /// Of the later one.
    component: Arc<Component>,
    engine: Engine,
}

/// With the times of decisions before the code was optimised, if it was not at once.
fn loads(
    language: &str,
    bytes: &[u8],
    decisions: &impl Fn(&Arc<Component>, &Engine) -> anyhow::Result<(Times, f64)>,
) -> anyhow::Result<(Loads, Option<Times>)> {
    let cache = tempfile::tempdir()?;
    let engine = || {
        Engine::new(EngineOptions {
            code_cache: Some(cache.path().join("code")),
            workers: 1,
            ..EngineOptions::default()
        })
    };
    let load = |engine: &Engine| {
        let started = Instant::now();
        let component = engine.load(language, bytes)?;
        anyhow::Ok((started, started.elapsed(), component))
    };
    let compiling = engine()?;
    let (started, first, component) = load(&compiling)?;
    let mut unoptimised = None;
    if component.tier() == Tier::Quick {
        let (times, _) = decisions(&component, &compiling)?;
        unoptimised = Some(times).filter(|_| component.tier() == Tier::Quick);
    }
    while component.tier() == Tier::Quick {
        anyhow::ensure!(started.elapsed() < PATIENCE, "{language}: it was not optimised");
        std::thread::sleep(Duration::from_millis(1));
    }
    let optimised = if unoptimised.is_some() { started.elapsed() } else { first };
    let (engine, mut next) = (engine()?, Vec::new());
    let mut component = component;
    for _ in 0..LOADS {
        let (_, time, cached) = load(&engine)?;
        anyhow::ensure!(cached.from_cache(), "{language}: its code was not found in the cache");
        next.push(time);
        component = cached;
    }
    next.sort_unstable();
    Ok((Loads { first, optimised, next: next[LOADS / 2], component, engine }, unoptimised))
}

fn millis(time: Duration) -> String {
    number(Some(time.as_secs_f64() * 1000.0), 1)
}
