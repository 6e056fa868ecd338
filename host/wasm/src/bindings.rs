//! The contract as Rust types, generated from `wit/`, and the way from them to the vocabulary of `witgate-core`.
//!
//! Only this module knows the generated names; the host keeps to one contract version here, and adapters for older
//! ones would stand beside it.

use witgate_core::decision::{Draft, DraftAttempt, FailedAttempt, Refusal, Stamp, StartRule, Verdict};
use witgate_core::deployment::{Deployment, UpstreamModel};
use witgate_core::fleet::Fleet;
use witgate_core::vocabulary::{Ending, Fact, FailureKind, OutcomeField, Signal};

pub(crate) use generated::exports::witgate::policy as exports;
pub(crate) use generated::witgate::policy as imports;

use imports::types;

/// The package of the contract.
pub(crate) const PACKAGE: &str = "witgate:policy";

/// The version of the contract that this host speaks.
pub(crate) const VERSION: &str = "0.1.0";

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "everything",
        imports: { default: trappable },
        additional_derives: [PartialEq],
    });
}

pub(crate) fn request(stamp: Stamp) -> types::Request {
    types::Request { decision: stamp.decision, attempt: stamp.attempt, seed: stamp.seed, now_ms: stamp.now_ms }
}

pub(crate) fn verdict(answer: types::Verdict) -> Verdict {
    match answer {
        types::Verdict::Pick(target) => Verdict::Pick(target),
        types::Verdict::Follow(plan) => Verdict::Follow(Draft {
            attempts: plan.attempts.into_iter().map(attempt).collect(),
            reason: plan.reason,
            tag: plan.tag,
        }),
        types::Verdict::Reject(rejection) => Verdict::Reject(Refusal {
            status: rejection.status,
            retry_after_ms: rejection.retry_after_ms,
            reason: rejection.reason,
        }),
        types::Verdict::Abstain => Verdict::Abstain,
    }
}

pub(crate) fn failed_attempt(failure: &FailedAttempt) -> types::FailedAttempt {
    types::FailedAttempt {
        target: failure.target,
        kind: failure.kind.index(),
        status: u32::from(failure.status),
        retry_after_ms: failure.retry_after_ms,
        elapsed_ms: failure.elapsed_ms,
        tokens_sent: failure.tokens_sent,
    }
}

/// What an instance is told once.
pub(crate) fn catalogue(fleet: &Fleet, settings: &serde_json::Value) -> types::Catalogue {
    types::Catalogue {
        deployments: fleet.deployments().iter().map(|entry| deployment(&entry.spec)).collect(),
        routes: fleet.routes().iter().map(ToString::to_string).collect(),
        signals: Signal::ALL.iter().map(|entry| entry.name().to_owned()).collect(),
        facts: Fact::ALL.iter().map(|entry| entry.name().to_owned()).collect(),
        failures: FailureKind::ALL.iter().map(|entry| entry.name().to_owned()).collect(),
        outcomes: OutcomeField::ALL.iter().map(|entry| entry.name().to_owned()).collect(),
        endings: Ending::ALL.iter().map(|entry| entry.name().to_owned()).collect(),
        settings: settings.to_string(),
    }
}

fn deployment(spec: &Deployment) -> types::Deployment {
    types::Deployment {
        id: spec.id.to_string(),
        provider: spec.provider.to_string(),
        model: match &spec.model {
            UpstreamModel::Named(name) => name.to_string(),
            UpstreamModel::AsRequested => "*".to_owned(),
        },
        region: spec.region.to_string(),
        capabilities: spec.capabilities.iter().map(ToString::to_string).collect(),
        labels: spec.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    }
}

fn attempt(attempt: types::Attempt) -> DraftAttempt {
    DraftAttempt {
        target: attempt.target,
        start: match attempt.start {
            types::StartRule::AtOnce => StartRule::AtOnce,
            types::StartRule::OnFailure => StartRule::OnFailure,
            types::StartRule::Hedge => StartRule::Hedge,
        },
        delay_ms: attempt.delay_ms,
        timeout_ms: attempt.timeout_ms,
        overlay: attempt.overlay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_the_one_in_the_contract() {
        let contract = include_str!("../../../wit/policy.wit");
        assert!(contract.contains(&format!("\npackage {PACKAGE}@{VERSION};\n")));
    }
}
