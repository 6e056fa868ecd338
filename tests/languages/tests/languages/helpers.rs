//! The helpers for Python and JavaScript: whatever a policy does wrong is declared, and costs no instance.

use serde_json::json;
use witgate_core::decision::StartRule;
use witgate_core::deployment::Deployment;
use witgate_core::plan::{Decision, Plan};
use witgate_wasm::{FailureCause, Policy};

use crate::world::{World, deployment};

fn world() -> World {
    World::new([deployment("m@a"), deployment("m@b"), Deployment { weight: 5.0, ..deployment("m@c") }])
}

/// Both fixtures take the way from the clock.
fn ask(world: &World, policy: &Policy, way: usize) -> Result<Decision, FailureCause> {
    let mut offer = world.offer(&[]);
    offer.stamp.now_ms = way as f64;
    policy.route(&offer, &offer.candidates, None).map_err(|failure| failure.cause)
}

fn declares(fixture: &str, messages: &[&str]) {
    let world = world();
    let policy = world.example(fixture, json!({}));
    for (way, message) in messages.iter().enumerate() {
        match ask(&world, &policy, way) {
            Err(FailureCause::Declared(text)) => assert!(text.starts_with(*message), "{fixture} {way}: {text}"),
            other => panic!("{fixture} {way}: {other:?}"),
        }
    }
    let statistics = policy.statistics();
    assert_eq!((statistics.lost, statistics.live > 0), (0, true), "{fixture}");
}

fn answers(fixture: &str) {
    let world = world();
    let policy = world.example(fixture, json!({}));
    assert_eq!(ask(&world, &policy, 20), Ok(Decision::Abstain), "{fixture}");
    match ask(&world, &policy, 21).unwrap() {
        Decision::Reject(rejection) => {
            assert_eq!((rejection.status, rejection.reason.as_deref()), (429, Some("as told")), "{fixture}");
        }
        other => panic!("{fixture}: {other:?}"),
    }
    let Decision::Run(Plan { attempts, reason, tag }) = ask(&world, &policy, 22).unwrap() else {
        panic!("{fixture}: no plan")
    };
    assert_eq!((reason.as_deref(), tag), (Some("as told"), 7), "{fixture}");
    let tries: Vec<_> = attempts.iter().map(|attempt| (attempt.target, attempt.start)).collect();
    assert_eq!(tries, [(1, StartRule::AtOnce), (0, StartRule::Hedge), (2, StartRule::OnFailure)], "{fixture}");
    let Decision::Run(plan) = ask(&world, &policy, 23).unwrap() else { panic!("{fixture}: no plan") };
    assert_eq!(plan.attempts[0].target, 2, "{fixture}");
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn python_declares_whatever_goes_wrong() {
    declares(
        "python-errors",
        &[
            "AttributeError: 'Decision' object has no attribute 'nothing'",
            "IndexError: list index out of range",
            "ZeroDivisionError: division by zero",
            "SystemExit: 3",
            "RecursionError: maximum recursion depth exceeded",
            "TypeError: the policy returned 'a text', which is neither a candidate, nor None, nor a verdict",
            "TypeError: the policy returned 0.5, which is",
            "TypeError: the policy returned -1, which is",
            "TypeError: the policy returned True, which is",
        ],
    );
    answers("python-errors");
    assert_eq!(
        world().refusal("python-errors", json!({"refuse": true})),
        "it refuses its configuration: ValueError: not like this"
    );
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn javascript_declares_whatever_goes_wrong() {
    declares(
        "javascript-errors",
        &[
            "TypeError: cannot read property 'at' of undefined (policy.js, line 7)",
            "RangeError: of my own (policy.js, line 8)",
            "undefined",
            "[object Object]",
            "TypeError: route returned a text, which is neither a candidate, nor nothing, nor a verdict",
            "TypeError: route returned 0.5, which is",
            "TypeError: route returned -1, which is",
            "TypeError: route returned a promise: it must not be async",
        ],
    );
    answers("javascript-errors");
    assert_eq!(
        world().refusal("javascript-errors", json!({"refuse": true})),
        "it refuses its configuration: Error: not like this"
    );
}

/// QuickJS would notice later than the gateway, whose stack is smaller.
#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn endless_recursion_in_javascript_costs_the_instance_and_no_more() {
    let world = world();
    let policy = world.example("javascript-errors", json!({}));
    assert!(matches!(ask(&world, &policy, 30), Err(FailureCause::Trap(_))));
    assert!(matches!(ask(&world, &policy, 1), Err(FailureCause::Declared(_))));
}
