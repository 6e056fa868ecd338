//! What a policy costs in each language: its file, its first load and the next, an instance, a decision.

use std::path::Path;
use std::time::{Duration, Instant};

use witgate_wasm::{Engine, EngineOptions};

use super::{BUDGET, Busy, EXTRA, QUICK_BUDGET, Subject, timing};
use crate::cores::Precedence;
use crate::report::{Section, Table, number, progress};

/// Where the results are shown to whoever chooses a language.
pub(crate) const FILE: &str = "examples/policies/README.md";

/// As the contract's numbers are stated.
const CANDIDATES: usize = 16;
/// From the cache, a load takes less than a millisecond: the median of so many.
const LOADS: usize = 5;

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
        &["language", "file kB", "first load ms", "next load ms", "instance kB", "decision p50 µs", "p99 µs"],
    );
    for language in EXTRA {
        let file = Path::new("target/guests-extra").join(language).with_extension("wasm");
        let Ok(bytes) = std::fs::read(&file) else {
            progress(&format!("{} is not there (make guests-extra): left out", file.display()));
            continue;
        };
        progress(&format!("measuring {language}"));
        let (first, next, engine) = loads(language, &bytes)?;
        let subject = Subject::new(language, &bytes, &engine, &busy.fleet)?;
        let budget = if quick { QUICK_BUDGET } else { BUDGET };
        let (times, _) = subject.times(&busy.fleet, clock, budget, CANDIDATES)?;
        let micros = |quantile| number(times.quantile(quantile).map(|nanos| nanos / 1000.0), 2);
        table.push(vec![
            language.to_owned(),
            number(Some(bytes.len() as f64 / 1000.0), 0),
            millis(first),
            millis(next),
            number(Some(subject.memory / 1000.0), 0),
            micros(0.5),
            micros(0.99),
        ]);
    }
    let about = format!(
        "Fewest requests in flight, of equals the cheapest, with {CANDIDATES} candidates: signals gathered, the policy \
         called, its answer checked. The first load compiles at low priority, on at most four threads; the next, of the same file, \
         takes the code from the cache. An instance is an idle one."
    );
    Ok(Section { name: "languages", about, tables: vec![table] })
}

/// The first load, a later one by another engine with the same cache, and that engine.
fn loads(language: &str, bytes: &[u8]) -> anyhow::Result<(Duration, Duration, Engine)> {
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
        anyhow::Ok((started.elapsed(), component.from_cache()))
    };
    let (first, _) = load(&engine()?)?;
    let engine = engine()?;
    let mut next = Vec::new();
    for _ in 0..LOADS {
        let (time, from_cache) = load(&engine)?;
        anyhow::ensure!(from_cache, "{language}: its code was not found in the cache");
        next.push(time);
    }
    next.sort_unstable();
    Ok((first, next[LOADS / 2], engine))
}

fn millis(time: Duration) -> String {
    number(Some(time.as_secs_f64() * 1000.0), 1)
}
