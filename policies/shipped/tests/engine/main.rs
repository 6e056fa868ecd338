//! The shipped policies as components, in the real engine: each loads, configures with its defaults, and decides what
//! its README promises.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod failures;
mod filters;
mod routers;
mod settings;
mod world;

use serde_json::json;
use witgate_core::decision::{FailedAttempt, StartRule};
use witgate_core::plan::Decision;
use witgate_core::vocabulary::{Fact, FailureKind};

use world::{World, deployment};

#[test]
fn every_shipped_policy_serves_with_its_defaults() {
    for shipped in witgate_shipped::ALL {
        let world = World::new([deployment("m@a"), deployment("m@b")]);
        let policy = world.try_bind(shipped.name, json!({})).unwrap_or_else(|error| panic!("{error}"));
        let info = policy.component().info();
        assert_eq!((&*info.name, &*info.version), (shipped.name, env!("CARGO_PKG_VERSION")));
        assert_eq!(policy.component().contract(), "0.1.0");
    }
}

#[test]
fn fallback_chain_goes_to_the_next_untried_candidate_and_says_why() {
    let world = World::new([deployment("m@a"), deployment("m@b"), deployment("n@c")]);
    let policy = world.bind("fallback-chain", json!({"order": ["n@c"]}));
    let offer = world.offer(&[(Fact::DeadlineMs, 60_000.0)]);
    let failed = |target, kind| FailedAttempt {
        target,
        kind,
        status: 503,
        retry_after_ms: 0.0,
        elapsed_ms: 5.0,
        tokens_sent: 0,
    };
    let after = |failures: &[FailedAttempt]| policy.after_failure(&offer, &offer.candidates, None, failures).unwrap();
    let Decision::Run(plan) = after(&[failed(0, FailureKind::Overloaded)]) else { panic!("no plan") };
    assert_eq!((plan.attempts[0].target, plan.attempts[0].start), (2, StartRule::AtOnce));
    assert_eq!(plan.reason.as_deref(), Some("next candidate after a failure"));
    let all = [0, 1, 2].map(|target| failed(target, FailureKind::Overloaded));
    assert_eq!(after(&all), Decision::Abstain);
    assert_eq!(after(&[failed(0, FailureKind::BadRequest)]), Decision::Abstain);
}
