//! What a policy costs in each language: its file, its first load and the next, an instance, a decision.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use witgate_wasm::{Component, Engine, EngineOptions, Tier};

use super::{BUDGET, Busy, EXTRA, INSTANCE, QUICK_BUDGET, Subject, timing};
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

/// Measures the example of each language that `make guests-extra` has built.
///
/// # Errors
/// When one of them does not load, or a decision fails.
pub(crate) fn run(quick: bool) -> anyhow::Result<Section> {
    let _first = Precedence::take();
    let busy = Busy::new(CANDIDATES);
    let clock = timing::Clock::calibrate();
    let mut table = Table::new(
        "The same policy in every language",
        &[
            "language",
            "file kB",
            "first load ms",
            "optimised ms",
            "next load ms",
            "instance kB",
            "decision p50 µs",
            "p99 µs",
            "quick p50 µs",
        ],
    );
    for language in EXTRA {
        let file = Path::new("target/guests-extra").join(language).with_extension("wasm");
        let Ok(bytes) = std::fs::read(&file) else {
            progress(&format!("{} is not there (make guests-extra): left out", file.display()));
            continue;
        };
        progress(&format!("measuring {language}"));
        let budget = if quick { QUICK_BUDGET } else { BUDGET };
        let decisions = |component: &Arc<Component>, engine: &Engine| {
            let subject = Subject::of(language, component, engine, &busy.fleet)?;
            anyhow::Ok((subject.times(&busy.fleet, clock, budget, CANDIDATES)?.0, subject.memory))
        };
        let (loads, unoptimised) = loads(language, &bytes, &decisions)?;
        let Loads { first, optimised, next, component, engine } = loads;
        let (times, memory) = decisions(&component, &engine)?;
        let micros = |times: &Times, quantile| number(times.quantile(quantile).map(|nanos| nanos / 1000.0), 2);
        table.push(vec![
            language.to_owned(),
            number(Some(bytes.len() as f64 / 1000.0), 0),
            millis(first),
            millis(optimised),
            millis(next),
            number(Some(memory / 1000.0), 0),
            micros(&times, 0.5),
            micros(&times, 0.99),
            unoptimised.map_or_else(|| "–".to_owned(), |times| micros(&times, 0.5)),
        ]);
    }
    let about = format!(
        "Fewest requests in flight, of equals the cheapest, with {CANDIDATES} candidates: signals gathered, the policy \
         called, its answer checked. The first load compiles at low priority, on at most four threads, and large policies \
         quickly; `optimised` is when their optimised code is there, which they serve without. The next load, of the same \
         file, takes that from the cache. {INSTANCE}"
    );
    Ok(Section { name: "languages", about, tables: vec![table] })
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
