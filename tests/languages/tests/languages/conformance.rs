//! Policies that were built against contract 0.1.0 and stored, by every toolchain: whatever the gateway becomes, they load
//! and decide as `tests/conformance/manifest.json` says.

use std::io::Read as _;
use std::sync::Arc;

use lzma_rust2::XzReader;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use witgate_core::decision::FailedAttempt;
use witgate_core::deployment::{Deployment, Price};
use witgate_core::outcome::OutcomeRow;
use witgate_core::plan::Decision;
use witgate_core::vocabulary::{Fact, FailureKind, OutcomeField};
use witgate_wasm::Policy;

use crate::world::{World, decide, deployment, repository};

const FOLDER: &str = "tests/conformance";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    deployments: [Target; 3],
    policies: Vec<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    id: String,
    usd: f64,
    label: Option<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    file: String,
    policy: String,
    language: String,
    toolchain: String,
    command: String,
    contract: String,
    hooks: Vec<String>,
    #[serde(default)]
    settings: serde_json::Map<String, serde_json::Value>,
    cases: Vec<Case>,
    /// Of the guest, unpacked.
    bytes: usize,
    sha256: String,
}

/// Carried out in their order on one policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Told before the question.
    #[serde(default)]
    outcomes: Vec<Named>,
    #[serde(default)]
    in_flight: Vec<usize>,
    #[serde(default)]
    facts: Named,
    now_ms: Option<f64>,
    /// Deployments that have asked for a pause.
    #[serde(default)]
    paused: Vec<usize>,
    /// Deployments that this request has tried without success: the question is what to do now.
    #[serde(default)]
    failed: Vec<u32>,
    /// Deployments in the order of the plan; empty when it abstains.
    #[serde(default)]
    tries: Vec<u32>,
    /// Or the status.
    rejected: Option<u16>,
    reason: Option<String>,
    /// Asked as a filter: deployments that stay.
    kept: Option<Vec<u32>>,
    /// Asked as a scorer.
    scores: Option<Vec<f64>>,
}

type Named = std::collections::BTreeMap<String, f64>;

fn manifest() -> Manifest {
    let text = std::fs::read(repository().join(FOLDER).join("manifest.json")).unwrap();
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("manifest.json: {error}"))
}

#[test]
fn every_stored_policy_loads_and_decides_as_written_down() {
    let Manifest { deployments, policies } = manifest();
    let specs = deployments.map(|Target { id, usd, label }| Deployment {
        price: Some(Price { input: usd, output: usd, ..Price::default() }),
        labels: label.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        ..deployment(&id)
    });
    let mut wrong = Vec::new();
    for stored in policies {
        let world = World::new(specs.clone());
        let policy = bind(&world, &stored);
        let component = policy.component();
        assert_eq!((component.contract(), &*component.info().name), (&*stored.contract, &*stored.policy));
        assert_eq!(component.hooks().iter().map(|hook| hook.to_string()).collect::<Vec<_>>(), stored.hooks);
        for (place, case) in stored.cases.iter().enumerate() {
            let (answer, expected) = (answer(&world, &policy, case), Answer::expected(case));
            if answer != expected {
                wrong.push(format!("{}, case {place}: {answer:?} instead of {expected:?}", stored.file));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_stored_files_are_those_of_the_manifest_and_small() {
    let mut listed: Vec<String> = manifest().policies.into_iter().map(|stored| stored.file).collect();
    let mut found = Vec::new();
    let mut bytes = 0;
    for entry in std::fs::read_dir(repository().join(FOLDER)).unwrap() {
        let entry = entry.unwrap();
        bytes += entry.metadata().unwrap().len();
        let name = entry.file_name().into_string().unwrap();
        if name.contains(".wasm") {
            found.push(name);
        }
    }
    listed.sort();
    found.sort();
    assert_eq!(found, listed);
    // Two thirds are CPython.
    assert!(bytes < 6_000_000, "{bytes} bytes");
}

#[test]
fn every_language_is_stored_with_how_it_was_made() {
    let stored = manifest().policies;
    for language in ["Rust", "C", "C++", "Zig", "Go", "JavaScript", "Python"] {
        assert!(stored.iter().any(|policy| policy.language == language), "{language}");
    }
    for way in ["(wasm32-unknown-unknown), wit-bindgen", "wasm32-wasip2", "cargo-component"] {
        assert!(stored.iter().any(|policy| policy.toolchain.contains(way)), "{way}");
    }
    for language in ["Rust", "C", "C++", "Zig"] {
        let hooks = ["filter", "scorer", "router", "fallback", "observer"];
        assert!(stored.iter().any(|policy| policy.language == language && policy.hooks == hooks), "{language}");
    }
    for Stored { file, toolchain, command, .. } in &stored {
        assert!(toolchain.contains(|c: char| c.is_ascii_digit()) && command.contains("OUTPUT"), "{file}");
    }
}

fn bind(world: &World, stored: &Stored) -> Arc<Policy> {
    let bytes = std::fs::read(repository().join(FOLDER).join(&stored.file)).unwrap();
    let guest = if stored.file.ends_with(".xz") { unpack(&bytes) } else { bytes };
    assert_eq!((guest.len(), hex(&guest)), (stored.bytes, stored.sha256.clone()), "{}", stored.file);
    let settings = serde_json::Value::Object(stored.settings.clone());
    world.try_bind(&stored.policy, &guest, settings).unwrap_or_else(|error| panic!("{}: {error}", stored.file))
}

fn unpack(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    XzReader::new(bytes, false).read_to_end(&mut unpacked).unwrap();
    unpacked
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, PartialEq)]
struct Answer {
    tries: Vec<u32>,
    rejected: Option<u16>,
    reason: Option<String>,
    kept: Option<Vec<u32>>,
    scores: Option<Vec<f64>>,
}

impl Answer {
    fn expected(case: &Case) -> Self {
        let Case { tries, rejected, reason, kept, scores, .. } = case;
        Self {
            tries: tries.clone(),
            rejected: *rejected,
            reason: reason.clone(),
            kept: kept.clone(),
            scores: scores.clone(),
        }
    }

    /// Not every case says why.
    fn new(case: &Case, tries: Vec<u32>, rejected: Option<u16>, reason: Option<Arc<str>>) -> Self {
        let reason = case.reason.as_ref().and(reason).map(|text| text.to_string());
        Self { tries, rejected, reason, kept: None, scores: None }
    }
}

fn failed(target: u32) -> FailedAttempt {
    let kind = FailureKind::ServerError;
    FailedAttempt { target, kind, status: 500, retry_after_ms: 0.0, elapsed_ms: 5.0, tokens_sent: 0 }
}

fn answer(world: &World, policy: &Policy, case: &Case) -> Answer {
    for outcome in &case.outcomes {
        let mut row = OutcomeRow([0.0; OutcomeField::COUNT]);
        outcome.iter().for_each(|(name, value)| row.0[OutcomeField::from_name(name).unwrap() as usize] = *value);
        policy.observe(&[row]).unwrap();
    }
    let _running: Vec<_> =
        case.in_flight.iter().enumerate().map(|(target, requests)| world.busy(target, *requests)).collect();
    case.paused.iter().for_each(|target| world.pause(*target));
    let facts: Vec<_> = case.facts.iter().map(|(name, value)| (Fact::from_name(name).unwrap(), *value)).collect();
    let mut offer = world.offer(&facts);
    offer.stamp.now_ms = case.now_ms.unwrap_or(offer.stamp.now_ms);
    let candidates = &offer.candidates;
    let kept = case.kept.as_ref().map(|_| policy.keep(&offer, candidates).unwrap());
    let scores = case.scores.as_ref().map(|_| policy.score(&offer, candidates).unwrap());
    if kept.is_some() || scores.is_some() {
        return Answer { tries: Vec::new(), rejected: None, reason: None, kept, scores };
    }
    let failures: Vec<FailedAttempt> = case.failed.iter().map(|target| failed(*target)).collect();
    let decision = match failures.as_slice() {
        [] => decide(policy, &offer),
        failures => policy.after_failure(&offer, candidates, None, failures).unwrap(),
    };
    match decision {
        Decision::Run(plan) => {
            let tries = plan.attempts.iter().map(|attempt| attempt.target).collect();
            Answer::new(case, tries, None, plan.reason)
        }
        Decision::Reject(rejection) => Answer::new(case, Vec::new(), Some(rejection.status), rejection.reason),
        Decision::Abstain => Answer::new(case, Vec::new(), None, None),
    }
}
