//! The guests that only tests use do what their names say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use serde_json::json;
use witgate_core::outcome::OutcomeRow;
use witgate_core::plan::Decision;
use witgate_core::vocabulary::{Fact, OutcomeField};
use witgate_guests as guests;
use witgate_wasm::FailureCause;

use world::{World, pick};

/// What a misbehaving router comes to when it misbehaves only after its trial.
fn misbehave(how: &str, count: u32) -> Result<(), FailureCause> {
    let world = World::new();
    let settings = json!({"how": how, "on_max_tokens": 666, "count": count});
    let policy = world.bind("misbehave", guests::MISBEHAVE, settings).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(pick(&policy, &world.offer(&[(Fact::MaxOutputTokens, 665.0)])), 0);
    let offer = world.offer(&[(Fact::MaxOutputTokens, 666.0)]);
    policy.route(&offer, &offer.candidates, None).map(drop).map_err(|failure| failure.cause)
}

#[test]
fn each_way_to_misbehave_is_the_failure_that_it_should_be() {
    // a plan of 100,000 attempts is more than the host lets across at all
    for how in ["loop", "memory-hog", "trap", "huge-plan", "declared-error"] {
        let cause = misbehave(how, 0).unwrap_err();
        let right = match how {
            "loop" => matches!(cause, FailureCause::Deadline { .. }),
            "declared-error" => matches!(&cause, FailureCause::Declared(text) if text == "declared on purpose"),
            _ => !matches!(cause, FailureCause::Declared(_) | FailureCause::Impossible(_)),
        };
        assert!(right, "{how}: {cause:?}");
    }
    let impossible = [
        "long-plan",
        "empty-plan",
        "out-of-range",
        "nan-delay",
        "negative-timeout",
        "undeclared-reason",
        "undeclared-overlay",
        "large-tag",
    ];
    for how in impossible {
        let cause = misbehave(how, 9).unwrap_err();
        assert!(matches!(cause, FailureCause::Impossible(_)), "{how}: {cause:?}");
    }
    for (how, count) in [("slow", 1000), ("log-flood", 1000), ("strange-status", 0)] {
        assert!(misbehave(how, count).is_ok(), "{how}");
    }
}

#[test]
fn what_is_wrong_at_configuration_is_never_bound() {
    let ways = [
        "refuse-configure",
        "loop-in-configure",
        "trap-in-configure",
        "unknown-signal",
        "unknown-fact",
        "long-reason",
        "broken-overlay",
        "trap",
        "loop",
        "empty-plan",
    ];
    for how in ways {
        assert!(World::new().bind("misbehave", guests::MISBEHAVE, json!({"how": how})).is_err(), "{how}");
    }
}

#[test]
fn what_cannot_be_a_policy_here_is_never_loaded() {
    let world = World::new();
    for (name, bytes) in [
        ("wrong-version", guests::WRONG_VERSION),
        ("no-hook", guests::NO_HOOK),
        ("describe-loop", guests::DESCRIBE_LOOP),
    ] {
        assert!(world.load(name, bytes).is_err(), "{name}");
    }
}

#[test]
fn texts_must_be_granted() {
    let world = World::new();
    assert!(world.bind("peek-prompt", guests::PEEK_PROMPT, json!({})).is_err());
    let mut world = World::new();
    (world.rules.grant_headers, world.rules.grant_prompt) = (true, true);
    assert!(world.bind("peek-prompt", guests::PEEK_PROMPT, json!({})).is_ok());
}

#[test]
fn the_observer_learns_from_outcomes() {
    let world = World::new();
    let policy = world.bind("observer", guests::OBSERVER, json!({})).unwrap();
    let offer = world.offer(&[]);
    assert_eq!(pick(&policy, &offer), 0);
    let mut row = OutcomeRow([0.0; OutcomeField::COUNT]);
    row.0[OutcomeField::Failure as usize] = 3.0;
    policy.observe(&[row]).unwrap();
    assert_eq!(pick(&policy, &offer), 1);
}

#[test]
fn tagged_policies_are_told_apart() {
    let world = World::new();
    let reason = |bytes, settings| {
        let policy = world.bind("tagged", bytes, settings).unwrap();
        let offer = world.offer(&[]);
        match policy.route(&offer, &offer.candidates, None).unwrap() {
            Decision::Run(plan) => (plan.attempts[0].target, plan.reason.unwrap().to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason(guests::TAGGED, json!({})), (0, "witgate-fixture-tagged".to_owned()));
    assert_eq!(reason(guests::TAGGED_B, json!({"place": 1})), (1, "witgate-fixture-tagged-b".to_owned()));
    assert_eq!(reason(guests::TAGGED, json!({"reason": "revision A"})), (0, "revision A".to_owned()));
}
