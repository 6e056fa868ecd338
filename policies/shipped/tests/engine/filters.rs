//! The shipped filters.

use serde_json::json;
use witgate_core::decision::{Offer, Stamp};
use witgate_core::deployment::Deployment;
use witgate_core::live::Millis;
use witgate_core::vocabulary::{Fact, FailureKind};
use witgate_wasm::FailureCause;

use crate::world::{World, deployment};

fn able(id: &str, capabilities: &[&str], context_tokens: u32) -> Deployment {
    Deployment {
        capabilities: capabilities.iter().map(|name| (*name).into()).collect(),
        context_tokens: Some(context_tokens),
        ..deployment(id)
    }
}

#[test]
fn capability_keeps_who_can_do_what_is_asked_for() {
    let world = World::new([
        able("m@a", &["chat"], 8_000),
        able("m@b", &["chat", "tools"], 8_000),
        able("m@c", &["chat", "tools", "vision"], 128_000),
    ]);
    let policy = world.bind("capability", json!({}));
    let keep = |facts: &[(Fact, f64)]| {
        let offer = world.offer(facts);
        policy.keep(&offer, &offer.candidates).unwrap()
    };
    assert_eq!(keep(&[]), [0, 1, 2]);
    assert_eq!(keep(&[(Fact::Tools, 2.0)]), [1, 2]);
    assert_eq!(keep(&[(Fact::Images, 1.0)]), [2]);
    assert_eq!(keep(&[(Fact::PromptTokens, 20_000.0)]), [2]);
    assert_eq!(keep(&[(Fact::Audio, 1.0)]), [0, 1, 2]);
}

#[test]
fn strict_capability_declares_an_error_where_nobody_is_able() {
    let world = World::new([able("m@a", &["chat"], 8_000)]);
    let policy = world.bind("capability", json!({"strict": true}));
    let offer = world.offer(&[(Fact::Audio, 1.0), (Fact::PromptTokens, 3.0)]);
    let failure = policy.keep(&offer, &offer.candidates).unwrap_err();
    let message = "no candidate has the capability audio and room for 3 prompt tokens";
    assert_eq!(failure.cause, FailureCause::Declared(message.to_owned()));
}

#[test]
fn health_leaves_the_failing_out_but_never_all() {
    let world = World::new([deployment("m@a"), deployment("m@b"), deployment("m@c")]);
    world.failed(0, 5, FailureKind::ServerError);
    world.failed(1, 1, FailureKind::RateLimited);
    let policy = world.bind("health", json!({}));
    let keep = |after_ms: u64, attempt| {
        let offer = world.offer(&[]);
        let stamp = Stamp { attempt, ..offer.stamp };
        let offer = Offer { stamp, now: Millis(offer.now.0 + after_ms), ..offer };
        policy.keep(&offer, &offer.candidates).unwrap()
    };
    assert_eq!(keep(0, 0), [2]);
    // the pause that is taken for granted after a 429 is over
    assert_eq!(keep(3_000, 0), [1, 2]);
    // half-open: a new request tries it, one that has failed does not
    assert_eq!((keep(30_000, 0), keep(30_000, 1)), (vec![0], vec![1, 2]));
    world.failed(1, 5, FailureKind::ServerError);
    world.failed(2, 5, FailureKind::ServerError);
    assert_eq!(keep(0, 0), [0, 1, 2]);
}
