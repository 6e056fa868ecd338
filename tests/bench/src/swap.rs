//! Policies swapped while requests are served: how long a new file takes to decide, and what requests notice.
//!
//! Every answer of the gateway names the revision that routed it, so the moment at which a file is live is the first
//! answer that names it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use witgate_wasm::{Compiling, Engine, EngineOptions};

use crate::client::{self, Answer, CHAT, Load};
use crate::cores::Precedence;
use crate::free_address;
use crate::gateway::{self, Launch, Place, Process};
use crate::report::{Section, Table, number, progress};
use crate::stats::{Times, median};

/// Settings of a run.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "swap")]
pub(crate) struct Options {
    /// Swaps of each policy
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    swaps: u32,
    /// Only policies whose names contain this, for example Python
    #[arg(long)]
    policy: Option<String>,
}

/// The name under which the policy is dropped into the folder.
const POLICY: &str = "swapped";
/// Requests a second.
const RATE: f64 = 1000.0;
/// Swaps of a Python policy at most: it compiles for a quarter of a minute.
const PYTHON_SWAPS: u32 = 3;
/// A request belongs to a swap from the rename until this long after the new revision was first seen.
const AFTER: Duration = Duration::from_millis(250);

/// A policy to swap.
struct Subject {
    name: &'static str,
    bytes: Vec<u8>,
    swaps: u32,
    /// Between two swaps; longer than compiling takes beside the load.
    pause: Duration,
}

/// What the gateway has compiled before.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// Nothing.
    Nothing,
    /// This very file.
    File,
}

impl Known {
    const ALL: [Self; 2] = [Self::Nothing, Self::File];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::File => "the file",
        }
    }
}

/// A file that is whole, beside the policy folder.
struct Prepared {
    file: PathBuf,
    revision: String,
}

/// One file put in place of the one before.
struct Swap {
    renamed: Instant,
    revision: String,
}

/// Swaps a small Rust policy and, where they were built, a large JavaScript and a larger Python one: with nothing
/// compiled before, and with the file's code in the cache.
///
/// # Errors
/// When the gateway does not run.
pub(crate) async fn run(options: &Options, place: &Place, quick: bool) -> anyhow::Result<Section> {
    place.pin()?;
    let _first = Precedence::of_session();
    let swaps = if quick { options.swaps.min(3) } else { options.swaps };
    let mut table = Table::new(
        "Swaps under load",
        &[
            "policy",
            "kB",
            "compiled before",
            "swaps",
            "live ms p50",
            "live ms max",
            "p99 ms usual",
            "p99 ms during",
            "p50 ms usual",
            "p50 ms during",
            "requests",
            "failed",
        ],
    );
    let wanted = |subject: &Subject| options.policy.as_deref().is_none_or(|part| subject.name.contains(part));
    for subject in subjects(swaps)?.into_iter().filter(wanted) {
        for known in Known::ALL {
            progress(&format!("swapping {} {} times; compiled before: {}", subject.name, subject.swaps, known.name()));
            table.push(measure(&subject, known, place).await?);
        }
    }
    let about = format!(
        "A file is renamed into the policy folder while {RATE} requests a second are served on one core, which also \
         compiles: with an empty code cache, or with the code of the file in it. `live` is from the rename to the first \
         answer that names the new revision; `during` are the requests from a rename to {AFTER:?} after that, `usual` all \
         others."
    );
    Ok(Section { name: "swap", about, tables: vec![table] })
}

fn subjects(swaps: u32) -> anyhow::Result<Vec<Subject>> {
    let shipped = witgate_shipped::find("peak-ewma").context("the policy `peak-ewma` is not shipped")?;
    let pause = Duration::from_secs(4);
    let mut subjects = vec![Subject { name: "peak-ewma (Rust)", bytes: shipped.bytes.to_vec(), swaps, pause }];
    let extra = [
        ("least-busy (JavaScript)", "javascript", swaps, pause),
        ("least-busy (Python)", "python", swaps.min(PYTHON_SWAPS), Duration::from_secs(24)),
    ];
    for (name, file, swaps, pause) in extra {
        let file = format!("target/guests-extra/{file}.wasm");
        match std::fs::read(&file) {
            Ok(bytes) => subjects.push(Subject { name, bytes, swaps, pause }),
            Err(_) => progress(&format!("{file} is not there (make guests-extra): left out")),
        }
    }
    Ok(subjects)
}

async fn measure(subject: &Subject, known: Known, place: &Place) -> anyhow::Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let site = gateway::site(folder.path(), place.binary()?)?;
    let _mock = gateway::start_mock(&site, place.load_core, Duration::ZERO).await?;
    let (policies, code) = (folder.path().join("policies"), folder.path().join("code"));
    std::fs::create_dir_all(&policies)?;
    let mut pause = subject.pause;
    if matches!(known, Known::File) {
        pause = Duration::from_secs(1);
        compile(&code, (0..subject.swaps).map(|number| revised(&subject.bytes, number)))?;
    }
    let file = policies.join(format!("{POLICY}.wasm"));
    // In front of the revisions that are swapped in, so that the first of them finds what the others find.
    std::fs::write(&file, &subject.bytes)?;
    // All of them before the load: on its thread, writing and hashing many megabytes would be a pause of its own.
    let prepared = (0..subject.swaps).map(|number| prepare(folder.path(), &subject.bytes, number));
    let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
    let address = free_address()?;
    let command = site.witgate(address, POLICY)?;
    let log = folder.path().join("witgate.log");
    let core = place.gateway_core;
    let _gateway = Process::start(&Launch { name: "witgate", command, core, address, log: &log, ready: CHAT }).await?;

    let time = pause * (subject.swaps + 2);
    let load = tokio::task::spawn_local(client::open_loop(address, CHAT, RATE, time));
    let mut done = Vec::new();
    for Prepared { file: written, revision } in prepared {
        tokio::time::sleep(pause).await;
        if matches!(known, Known::Nothing) {
            let code = code.clone();
            tokio::task::spawn_blocking(move || empty(&code)).await??;
        }
        std::fs::rename(&written, &file).with_context(|| format!("{} cannot be replaced", file.display()))?;
        done.push(Swap { renamed: Instant::now(), revision });
    }
    let load = load.await??;
    if let Some(failure) = load.failures.first() {
        progress(&format!("first failure: {failure}"));
    }
    Ok(row(subject, known, pause, &done, &load))
}

fn row(subject: &Subject, known: Known, pause: Duration, swaps: &[Swap], load: &Load) -> Vec<String> {
    let live: Vec<Option<Instant>> = swaps.iter().map(|swap| first_seen(&load.answers, &swap.revision)).collect();
    let delays = || swaps.iter().zip(&live).filter_map(|(swap, live)| Some((*live)? - swap.renamed));
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let during = |answer: &Answer| {
        swaps.iter().zip(&live).any(|(swap, live)| {
            let end = live.map_or(swap.renamed + pause, |live| live + AFTER);
            answer.sent >= swap.renamed && answer.sent < end
        })
    };
    let (mut usual, mut swapping) = (Times::new(), Times::new());
    for answer in &load.answers {
        if during(answer) { swapping.record(answer.whole) } else { usual.record(answer.whole) }
    }
    let at = |times: &Times, quantile| number(times.quantile(quantile).map(|nanos| nanos / 1e6), 2);
    let seen = live.iter().flatten().count();
    vec![
        subject.name.to_owned(),
        number(Some(subject.bytes.len() as f64 / 1000.0), 0),
        known.name().to_owned(),
        format!("{seen} of {}", swaps.len()),
        number(median(delays().map(millis)), 0),
        number(delays().max().map(millis), 0),
        at(&usual, 0.99),
        at(&swapping, 0.99),
        at(&usual, 0.5),
        at(&swapping, 0.5),
        load.answers.len().to_string(),
        load.failures.len().to_string(),
    ]
}

/// The first answer whose receipt names this revision.
fn first_seen(answers: &[Answer], revision: &str) -> Option<Instant> {
    let names = |answer: &&Answer| answer.policy.as_deref().is_some_and(|policy| policy.ends_with(revision));
    answers.iter().filter(names).map(|answer| answer.sent + answer.whole).min()
}

/// Compiles these files as a gateway would that used this code cache.
fn compile(code: &Path, files: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
    let compiling = Compiling::AtOnce;
    let options = EngineOptions { code_cache: Some(code.to_owned()), compiling, ..EngineOptions::default() };
    let engine = Engine::new(options)?;
    for bytes in files {
        engine.load(POLICY, &bytes)?;
    }
    Ok(())
}

/// Takes the files out of a folder, if it is there; revisions are kept in a folder within.
fn empty(folder: &Path) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes the next revision where it only has to be renamed, as an operator should.
fn prepare(folder: &Path, component: &[u8], number: u32) -> anyhow::Result<Prepared> {
    let bytes = revised(component, number);
    let file = folder.join(format!("{number}.wasm"));
    std::fs::write(&file, &bytes)?;
    Ok(Prepared { file, revision: revision(&bytes) })
}

/// The same component with a custom section of its own, and so with another digest: nothing of it is cached.
fn revised(component: &[u8], number: u32) -> Vec<u8> {
    let (name, content) = (b"bench", number.to_le_bytes());
    let mut bytes = component.to_vec();
    bytes.extend([0, (1 + name.len() + content.len()) as u8, name.len() as u8]);
    bytes.extend(name);
    bytes.extend(content);
    bytes
}

/// As the gateway names it: the first twelve hexadecimal digits of the file's SHA-256.
fn revision(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(start: Instant, sent: u64, millis: u64, revision: &str) -> Answer {
        Answer {
            sent: start + Duration::from_millis(sent),
            first: Duration::ZERO,
            whole: Duration::from_millis(millis),
            events: 0,
            policy: Some(format!("{POLICY}/{revision}").into()),
        }
    }

    #[test]
    fn a_revised_file_differs_and_is_still_a_component() {
        let component = witgate_shipped::find("in-order").map(|shipped| shipped.bytes).unwrap_or_default();
        assert_ne!(revision(&revised(component, 1)), revision(&revised(component, 2)));
        let engine = Engine::new(EngineOptions::default());
        let loaded = engine.map(|engine| engine.load("revised", &revised(component, 1)).is_ok());
        assert!(matches!(loaded, Ok(true)));
    }

    #[test]
    fn a_swap_is_live_with_the_first_answer_that_names_it() {
        let start = Instant::now();
        let pause = Duration::from_secs(4);
        let subject = Subject { name: "p", bytes: vec![0; 2000], swaps: 1, pause };
        let swaps = [Swap { renamed: start + Duration::from_millis(100), revision: "bb".into() }];
        let answers = vec![answer(start, 0, 5, "aa"), answer(start, 150, 9, "aa"), answer(start, 160, 10, "bb")];
        let load = Load { answers, failures: vec!["reset".into()] };
        let expected = ["p", "2", "nothing", "1 of 1", "70", "70", "5.00", "10.00", "5.00", "9.00", "3", "1"];
        let near = |text: &String| text.replace("5.01", "5.00").replace("10.01", "10.00").replace("9.01", "9.00");
        let row = row(&subject, Known::Nothing, pause, &swaps, &load);
        assert_eq!(row.iter().map(near).collect::<Vec<_>>(), expected);
    }
}
