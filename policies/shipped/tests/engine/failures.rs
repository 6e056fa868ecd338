//! What the shipped policies make of failures and silence.

use serde_json::json;
use witgate_core::decision::{FailedAttempt, StartRule};
use witgate_core::deployment::Deployment;
use witgate_core::outcome::OutcomeRow;
use witgate_core::plan::Decision;
use witgate_core::vocabulary::{Ending, Fact, FailureKind, OutcomeField};

use crate::world::{World, deployment};

fn failed(target: u32, kind: FailureKind) -> FailedAttempt {
    FailedAttempt { target, kind, status: 503, retry_after_ms: 0.0, elapsed_ms: 5.0, tokens_sent: 0 }
}

#[test]
fn resilient_goes_where_a_failure_leaves_hope_and_says_why() {
    let large = Deployment { context_tokens: Some(128_000), ..deployment("n@c") };
    let world = World::new([deployment("m@a"), deployment("m@b"), large]);
    let policy = world.bind("resilient", json!({}));
    let offer = world.offer(&[(Fact::DeadlineMs, 60_000.0), (Fact::RetriesLeft, 10.0)]);
    let after = |failures: &[FailedAttempt]| match policy.after_failure(&offer, &offer.candidates, None, failures) {
        Ok(Decision::Run(plan)) => Some((plan.attempts[0].target, plan.reason.unwrap().to_string())),
        Ok(Decision::Abstain) => None,
        other => panic!("{other:?}"),
    };
    let next = |target: u32, reason: &str| Some((target, reason.to_owned()));
    assert_eq!(after(&[failed(0, FailureKind::Connect)]), next(1, "next candidate after a failure"));
    assert_eq!(after(&[failed(0, FailureKind::ContextLength)]), next(2, "larger context window"));
    assert_eq!(after(&[failed(0, FailureKind::RateLimited)]), next(0, "another key of the same provider"));
    assert_eq!(after(&[failed(0, FailureKind::BadRequest)]), None);
    assert_eq!(after(&[failed(0, FailureKind::ContentPolicy)]), None);
    // one whose breaker is open comes last
    world.failed(1, 5, FailureKind::ServerError);
    assert_eq!(after(&[failed(0, FailureKind::Connect)]), next(2, "next candidate after a failure"));
}

#[test]
fn hedge_learns_how_long_is_too_long() {
    let world = World::new([deployment("m@a"), deployment("m@b")]);
    let policy = world.bind("hedge", json!({}));
    let plan = || {
        let offer = world.offer(&[(Fact::DeadlineMs, 60_000.0), (Fact::AttemptsLeft, 4.0)]);
        match policy.route(&offer, &offer.candidates, None).unwrap() {
            Decision::Run(plan) => plan,
            other => panic!("no plan: {other:?}"),
        }
    };
    assert_eq!((plan().attempts.len(), plan().reason.as_deref()), (1, Some("expected soonest")));
    let mut row = [0.0; OutcomeField::COUNT];
    row[OutcomeField::Ending as usize] = f64::from(Ending::Served.index());
    row[OutcomeField::TtftMs as usize] = 2_000.0;
    policy.observe(&vec![OutcomeRow(row); 100]).unwrap();
    let hedged = plan();
    let [first, second] = &hedged.attempts[..] else { panic!("{hedged:?}") };
    assert_eq!((second.start, first.target + second.target), (StartRule::Hedge, 1));
    assert!((2_000..2_310).contains(&second.delay.as_millis()), "{:?}", second.delay);
    assert_eq!(hedged.reason.as_deref(), Some("expected soonest, hedged"));
}
