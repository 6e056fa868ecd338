//! The policy as the host sees it.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use witgate_sdk::testing::{self, Loaded, failure};

const IDS: [&str; 3] = ["m@a", "m@b", "n@c"];

fn policy(settings: &str) -> Loaded<FallbackChain> {
    testing::load(settings, &IDS).unwrap()
}

fn plan(target: u32, delay_ms: f64, reason: Reason) -> Verdict {
    Plan::of(vec![Attempt::at_once(target).delayed(delay_ms)]).because(reason).into()
}

#[test]
fn the_next_candidate_is_tried_with_a_reason() {
    let policy = policy("{}");
    let ask = policy.ask().fact("deadline-ms", 60_000.0);
    let Reasons { next, larger, waited } = policy.policy().reasons;
    assert_eq!(ask.after_failure(&[failure(0, "connect")]), Ok(plan(1, 0.0, next)));
    let windows = ask.clone().signal("context-tokens", &[8e3, 8e3, 32e3]);
    assert_eq!(windows.after_failure(&[failure(0, "context-length")]), Ok(plan(2, 0.0, larger)));
    let limited = FailedAttempt { retry_after_ms: 700.0, ..failure(1, "rate-limited") };
    let alone = ask.candidates(&[1]);
    assert_eq!(alone.after_failure(&[limited]), Ok(plan(1, 700.0, waited)));
    let texts = ["next candidate after a failure", "larger context window", "waited as the upstream asked"];
    assert_eq!(policy.reasons(), texts);
}

#[test]
fn the_settings_order_names_deployments() {
    let policy = policy(r#"{"order":["n@c"]}"#);
    let next = policy.policy().reasons.next;
    assert_eq!(policy.ask().after_failure(&[failure(0, "reset")]), Ok(plan(2, 0.0, next)));
}

#[test]
fn another_one_goes_on_with_a_stream_that_broke_and_a_wrong_request_is_given_up() {
    let policy = policy("{}");
    let next = policy.policy().reasons.next;
    let broken = FailedAttempt { tokens_sent: 3, ..failure(0, "cut") };
    assert_eq!(policy.ask().after_failure(&[broken]), Ok(plan(1, 0.0, next)));
    let over = FailedAttempt { tokens_sent: 3, ..failure(0, "deadline") };
    assert_eq!(policy.ask().after_failure(&[over]), Ok(Verdict::Abstain));
    assert_eq!(policy.ask().after_failure(&[failure(0, "bad-request")]), Ok(Verdict::Abstain));
}

#[test]
fn no_wait_outlasts_the_deadline() {
    let policy = policy("{}");
    let limited = FailedAttempt { retry_after_ms: 700.0, ..failure(0, "rate-limited") };
    let ask = policy.ask().candidates(&[0]);
    let waited = policy.policy().reasons.waited;
    assert_eq!(ask.clone().fact("deadline-ms", 701.0).after_failure(&[limited]), Ok(plan(0, 700.0, waited)));
    assert_eq!(ask.fact("deadline-ms", 700.0).after_failure(&[limited]), Ok(Verdict::Abstain));
}

#[test]
fn an_order_that_names_nobody_refuses() {
    let message = "settings: `order` has `gpt@x`, which is neither the id nor a label (`key=value`) of any deployment";
    let refused = testing::load::<FallbackChain>(r#"{"order":["gpt@x"]}"#, &IDS);
    assert_eq!(refused.err().as_deref(), Some(message));
}
