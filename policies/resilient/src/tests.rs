//! The policy as the host sees it.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use witgate_sdk::testing::{self, Loaded, Question, failure};

const IDS: [&str; 3] = ["m@a", "m@b", "n@c"];

fn policy(settings: &str) -> Loaded<Resilient> {
    testing::load(settings, &IDS).unwrap()
}

/// With time and budget.
fn ask(policy: &Loaded<Resilient>) -> Question<'_, Resilient> {
    policy.ask().fact("deadline-ms", 60_000.0).fact("retries-left", 100.0).signal("ready-keys", &[0.0; 3])
}

fn plan(target: u32, delay_ms: f64, reason: Reason) -> Verdict {
    Plan::of(vec![Attempt::at_once(target).delayed(delay_ms)]).because(reason).into()
}

#[test]
fn every_way_on_has_its_reason() {
    let policy = policy(r#"{"content_policy":["n@c"]}"#);
    let ask = ask(&policy);
    let Reasons { next, key, larger, waited, unfiltered, anyway, .. } = policy.policy().reasons;
    assert_eq!(ask.after_failure(&[failure(0, "connect")]), Ok(plan(1, 0.0, next)));
    assert_eq!(ask.after_failure(&[failure(0, "unauthorised")]), Ok(plan(1, 0.0, next)));
    assert_eq!(ask.after_failure(&[failure(0, "content-policy")]), Ok(plan(2, 0.0, unfiltered)));
    let keys = ask.clone().signal("ready-keys", &[2.0, 1.0, 1.0]);
    assert_eq!(keys.after_failure(&[failure(0, "rate-limited")]), Ok(plan(0, 0.0, key)));
    let windows = ask.clone().signal("context-tokens", &[8e3, 8e3, 32e3]);
    assert_eq!(windows.after_failure(&[failure(0, "context-length")]), Ok(plan(2, 0.0, larger)));
    let resting = ask.clone().candidates(&[0, 1]).signal("ready-keys", &[0.0; 2]).signal("cooldown-ms", &[0.0, 9e4]);
    assert_eq!(resting.after_failure(&[failure(0, "reset"), failure(0, "reset")]), Ok(plan(1, 0.0, anyway)));
    let limited = FailedAttempt { retry_after_ms: 700.0, ..failure(1, "rate-limited") };
    let alone = ask.candidates(&[1]).signal("ready-keys", &[0.0]);
    assert_eq!(alone.after_failure(&[limited]), Ok(plan(1, 700.0, waited)));
    assert_eq!(policy.reasons().len(), 7);
}

#[test]
fn a_pause_before_the_same_again_is_random_and_bounded() {
    let policy = policy("{}");
    let ask = ask(&policy).candidates(&[0]).signal("ready-keys", &[0.0]);
    let mut pauses: Vec<f64> = Vec::new();
    for seed in 0..100 {
        let Ok(Verdict::Follow(plan)) = ask.clone().seed(seed).after_failure(&[failure(0, "reset")]) else {
            unreachable!("there is nobody else")
        };
        pauses.push(plan.attempts[0].delay_ms);
    }
    assert!(pauses.iter().all(|pause| (0.0..250.0).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause < 25.0) && pauses.iter().any(|pause| *pause > 225.0), "{pauses:?}");
    assert_eq!(ask.fact("retries-left", 0.0).after_failure(&[failure(0, "reset")]), Ok(Verdict::Abstain));
}

#[test]
fn another_one_goes_on_with_a_stream_that_broke() {
    let policy = policy("{}");
    let next = policy.policy().reasons.next;
    for kind in ["cut", "stalled", "error-in-stream"] {
        let broken = FailedAttempt { tokens_sent: 3, ..failure(0, kind) };
        assert_eq!(ask(&policy).after_failure(&[broken]), Ok(plan(1, 0.0, next)), "{kind}");
    }
    let over = FailedAttempt { tokens_sent: 3, ..failure(0, "deadline") };
    assert_eq!(ask(&policy).after_failure(&[over]), Ok(Verdict::Abstain));
}

#[test]
fn a_wrong_request_is_given_up() {
    let policy = policy("{}");
    assert_eq!(ask(&policy).after_failure(&[failure(0, "bad-request")]), Ok(Verdict::Abstain));
    assert_eq!(ask(&policy).after_failure(&[failure(0, "content-policy")]), Ok(Verdict::Abstain));
}

#[test]
fn settings_that_name_nobody_refuse() {
    for setting in ["order", "content_policy"] {
        let message = format!(
            "settings: `{setting}` has `gpt@x`, which is neither the id nor a label (`key=value`) of any deployment"
        );
        let refused = testing::load::<Resilient>(&format!(r#"{{"{setting}":["gpt@x"]}}"#), &IDS);
        assert_eq!(refused.err(), Some(message));
    }
}
