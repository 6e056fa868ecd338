//! One decision of each policy, as WebAssembly and natively: gathering of signals, call and check.
//!
//! Both run in the same process on the same fleet, in short turns one after the other, so that whatever else the
//! machine does befalls them alike.

mod fleet;
mod languages;
mod memory;
mod native;
mod timing;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use witgate_core::config::PolicyRules;
use witgate_core::decision::Offer;
use witgate_core::fleet::Fleet;
use witgate_wasm::{Binding, CellStore, Compiling, Component, Engine, EngineOptions, Hook, Policy};

use crate::cores::Precedence;
use crate::report::{Section, Table, number, progress};
use crate::stats::Times;
use fleet::FAILED;
pub(crate) use fleet::{Busy, Nobody, offer};
pub(crate) use languages::{FILE as LANGUAGES_FILE, run as languages};
use native::Native;

/// Settings of a run.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "decision")]
pub(crate) struct Options {
    /// Measure these policies alone
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    policies: Vec<String>,
}

/// Candidates of a decision.
const CANDIDATES: [usize; 4] = [4, 16, 64, 256];
/// For one policy with one number of candidates, natively and as WebAssembly together.
const BUDGET: Duration = Duration::from_millis(500);
const QUICK_BUDGET: Duration = Duration::from_millis(50);
/// Guests in other languages, where `make guests-extra` has built them.
const EXTRA: [&str; 8] = ["rust", "c", "cpp", "zig", "go", "javascript", "typescript", "python"];

/// What a table's column of an instance's memory says.
const INSTANCE: &str = "An instance's memory is what one more idle instance adds to the memory of the process, mostly \
    pages that it has written to; its linear memory, which `witgate policy bench` shows and the limit `memory` counts, is \
    what it has claimed, and most of that is never touched or the same for all instances.";

/// A policy to measure, with a native counterpart if it is one of ours.
struct Subject {
    name: String,
    hook: Hook,
    policy: Arc<Policy>,
    native: Option<Native>,
    /// Bytes of one idle instance.
    memory: f64,
}

/// Measures all policies.
///
/// # Errors
/// When one of them does not load, or a decision fails.
pub(crate) fn run(options: &Options, quick: bool) -> anyhow::Result<Section> {
    let _first = Precedence::take();
    let wanted = |name: &str| options.policies.is_empty() || options.policies.iter().any(|policy| policy == name);
    let compiling = Compiling::AtOnce;
    let engine = Engine::new(EngineOptions { workers: 1, compiling, ..EngineOptions::default() })?;
    let busy = Busy::new(CANDIDATES[CANDIDATES.len() - 1]);
    let clock = timing::Clock::calibrate();
    let mut table = table();
    for (name, bytes) in guests()?.into_iter().filter(|(name, _)| wanted(name)) {
        progress(&format!("measuring {name}"));
        let subject = Subject::new(&name, &bytes, &engine, &busy.fleet)?;
        table.push(subject.measure(&busy.fleet, clock, if quick { QUICK_BUDGET } else { BUDGET })?);
    }
    let about = format!(
        "Microseconds, p50 (p99), for one decision: signals gathered from {} deployments with a history, the policy \
         called, its answer checked. Guests in other languages read four signals. `native` is the same policy compiled into the benchmark and called in turns with \
         the component. The guests in other languages all do the same: fewest requests in flight, of equals the \
         cheapest. `ns/candidate` is for each candidate beyond 4. {INSTANCE}",
        CANDIDATES[CANDIDATES.len() - 1]
    );
    Ok(Section { name: "decision", about, tables: vec![table] })
}

fn table() -> Table {
    Table::new(
        "One decision, by number of candidates",
        &[
            "policy",
            "hook",
            "4",
            "16",
            "64",
            "256",
            "ns/candidate",
            "native 16",
            "native 256",
            "× native 16",
            "× native 256",
            "kB an instance",
        ],
    )
}

/// Names and files.
fn guests() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let shipped = witgate_shipped::ALL.iter().map(|policy| (policy.name.to_owned(), policy.bytes.to_vec()));
    let mut guests: Vec<_> = shipped.collect();
    for language in EXTRA {
        let file = Path::new("target/guests-extra").join(language).with_extension("wasm");
        match file.exists() {
            true => guests.push((format!("example in {language}"), std::fs::read(&file)?)),
            false => progress(&format!("{} is not there (make guests-extra): left out", file.display())),
        }
    }
    Ok(guests)
}

impl Subject {
    fn new(name: &str, bytes: &[u8], engine: &Engine, fleet: &Arc<Fleet>) -> anyhow::Result<Self> {
        Self::of(name, &engine.load(name, bytes)?, engine, fleet, SETTINGS)
    }

    fn of(
        name: &str,
        component: &Arc<Component>,
        engine: &Engine,
        fleet: &Arc<Fleet>,
        settings: &str,
    ) -> anyhow::Result<Self> {
        let native = native::find(name, fleet, settings).transpose();
        let native = native.map_err(|problem| anyhow!("{name}, natively: {problem}"))?;
        let memory = memory::of_one_instance(|| bind(engine, component, fleet, settings))?;
        let policy = bind(engine, component, fleet, settings)?;
        let hook = [Hook::Router, Hook::Filter, Hook::Scorer, Hook::Fallback].into_iter();
        let hook = hook.clone().find(|hook| policy.hooks().has(*hook));
        let hook = hook.with_context(|| format!("{name} decides nothing"))?;
        Ok(Self { name: name.to_owned(), hook, policy, native, memory })
    }

    fn measure(&self, fleet: &Fleet, clock: timing::Clock, budget: Duration) -> anyhow::Result<Vec<String>> {
        let (mut wasm, mut native) = (Vec::new(), Vec::new());
        for candidates in CANDIDATES {
            let (ours, theirs) = self.times(fleet, clock, budget, offer(candidates))?;
            wasm.push(ours);
            native.push(theirs);
        }
        Ok(self.row(&wasm, &native))
    }

    /// As WebAssembly, and natively where it can be.
    fn times(
        &self,
        fleet: &Fleet,
        clock: timing::Clock,
        budget: Duration,
        mut offer: Offer,
    ) -> anyhow::Result<(Times, Option<Times>)> {
        let candidates = offer.candidates.len();
        timing::in_turns(
            clock,
            budget,
            &mut offer,
            |offer| self.ask(offer),
            self.native.as_ref().map(|native| |offer: &Offer| native.decide(fleet, offer)),
        )
        .map_err(|problem| anyhow!("{} with {candidates} candidates: {problem}", self.name))
    }

    fn ask(&self, offer: &Offer) -> Result<(), String> {
        let Self { policy, .. } = self;
        let answer = match self.hook {
            Hook::Router => policy.route(offer, &offer.candidates, None).map(drop),
            Hook::Filter => policy.keep(offer, &offer.candidates).map(drop),
            Hook::Scorer => policy.score(offer, &offer.candidates).map(drop),
            Hook::Fallback => policy.after_failure(offer, &offer.candidates, None, &[FAILED]).map(drop),
            Hook::Observer => Ok(()),
        };
        answer.map_err(|failure| failure.to_string())
    }

    fn row(&self, wasm: &[Times], native: &[Option<Times>]) -> Vec<String> {
        let p50 = |times: &Times| times.quantile(0.5);
        let both = |times: &Times| {
            let micros = |quantile| number(times.quantile(quantile).map(|nanos| nanos / 1000.0), 2);
            format!("{} ({})", micros(0.5), micros(0.99))
        };
        let natively = |place: usize| native[place].as_ref().and_then(p50);
        let ratio = |place: usize| p50(&wasm[place]).zip(natively(place)).map(|(ours, theirs)| ours / theirs);
        let (fewest, most) = (0, CANDIDATES.len() - 1);
        let further = p50(&wasm[most]).zip(p50(&wasm[fewest])).map(|(most, fewest)| most - fewest);
        let between = (CANDIDATES[most] - CANDIDATES[fewest]) as f64;
        let mut row = vec![self.name.clone(), self.hook.to_string()];
        row.extend(wasm.iter().map(both));
        row.extend([
            number(further.map(|nanos| nanos / between), 1),
            number(natively(1).map(|nanos| nanos / 1000.0), 2),
            number(natively(most).map(|nanos| nanos / 1000.0), 2),
            number(ratio(1), 1),
            number(ratio(most), 1),
            number(Some(self.memory / 1000.0), 0),
        ]);
        row
    }
}

fn bind(
    engine: &Engine,
    component: &Arc<Component>,
    fleet: &Arc<Fleet>,
    settings: &str,
) -> anyhow::Result<Arc<Policy>> {
    let binding = Binding {
        settings: Arc::new(serde_json::from_str(settings)?),
        rules: PolicyRules {
            // On a machine that others use, a call may wait longer for its core than it runs.
            deadline: Duration::from_millis(250),
            memory: 64 << 20,
            calls: NonZeroU32::MAX,
            grant_headers: true,
            grant_prompt: true,
            ..PolicyRules::default()
        },
        fleet: Arc::clone(fleet),
        names: Arc::new(Nobody),
        cells: Arc::new(CellStore::default()),
    };
    Ok(engine.bind(component, binding)?)
}

/// Of every policy: its defaults.
const SETTINGS: &str = "{}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_policy_is_measured_natively_too() {
        let busy = Busy::new(4);
        for shipped in witgate_shipped::ALL {
            let native = native::find(shipped.name, &busy.fleet, SETTINGS);
            assert!(matches!(native, Some(Ok(_))), "{} is missing from the list in native.rs", shipped.name);
            let answer = native.and_then(Result::ok).map(|native| native.decide(&busy.fleet, &offer(4)));
            assert_eq!(answer, Some(Ok(())), "{}", shipped.name);
        }
    }
}
