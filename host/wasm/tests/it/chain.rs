use std::sync::Arc;

use witgate_core::config::FailureMode;
use witgate_core::decision::FailedAttempt;
use witgate_core::vocabulary::FailureKind;
use witgate_wasm::{Chain, ChainError, ChainStage, Choice, Chosen, FailureCause, Policy};

use crate::guest::{Guest, guest, router};
use crate::world::{offer, world};

const FIRST: &str = "(call $pick (i32.load (local.get $candidates)))";
const LAST: &str = "(call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4) (i32.sub (local.get $count) (i32.const 1))))))";
const ABSTAIN: &str = "(call $abstain)";
const FAIL: &str = "(call $err)";
/// Keeps all but the first, if there are more.
const DROP_FIRST: &str = "(if (i32.gt_u (local.get $count) (i32.const 1)) (then
        (local.set $candidates (i32.add (local.get $candidates) (i32.const 4)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))))
    (call $list (local.get $candidates) (local.get $count))";
/// Takes the signals, one column, for the scores.
const SCORE: &str = "(call $list (local.get $signals) (local.get $count))";

fn bound(guest: &Guest) -> Arc<Policy> {
    world().bind(guest)
}

fn chain(guests: &[Guest], mode: FailureMode) -> Chain {
    let stage = |guest| ChainStage { policy: bound(guest), weight: 1.0 };
    let in_order = bound(&router(FIRST).hook("fallback", LAST));
    Chain::new(guests.iter().map(stage).collect(), mode, Some(in_order)).unwrap()
}

fn target(chosen: &Chosen) -> u32 {
    match &chosen.choice {
        Choice::Run(plan) => plan.attempts[0].target,
        other => panic!("expected a plan, got {other:?}"),
    }
}

fn failed(target: u32) -> FailedAttempt {
    FailedAttempt {
        target,
        kind: FailureKind::Connect,
        status: 0,
        retry_after_ms: 0.0,
        elapsed_ms: 1.0,
        tokens_sent: 0,
    }
}

#[test]
fn filters_narrow_and_the_first_router_with_an_opinion_decides() {
    let chain = chain(&[router(ABSTAIN), router(LAST), guest().hook("filter", DROP_FIRST)], FailureMode::InOrder);
    let chosen = chain.decide(&offer(&[0, 1, 2]));
    assert_eq!((target(&chosen), chosen.kept.as_deref()), (2, Some(&[1, 2][..])));
    assert_eq!((&*chosen.policy, chosen.failures.len()), ("test", 0));
}

#[test]
fn without_an_opinion_the_configured_order_holds() {
    let chain = chain(&[router(ABSTAIN)], FailureMode::InOrder);
    let chosen = chain.decide(&offer(&[3, 1]));
    assert_eq!((target(&chosen), &*chosen.policy, &*chosen.revision), (3, "configured-order", ""));
}

#[test]
fn scores_are_the_weighted_mean() {
    // picks the second exactly when its score is 0.75
    let picks = "(call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4)
        (i32.and (i32.gt_u (local.get $count) (i32.const 1)) (f64.eq (f64.load offset=8 (local.get $signals)) (f64.const 0.75)))))))";
    // rates every candidate with half its weight, so that the second (weight 2) gets 1, clamped or not
    let by_weight = bound(&guest().hook("scorer", SCORE).signals(&["weight"]));
    let by_load = bound(&guest().hook("scorer", SCORE).signals(&["in-flight"]));
    let picks = bound(&router(picks).signals(&["score"]));
    let chain = |heavy, light| {
        let stages = vec![
            ChainStage { policy: Arc::clone(&by_weight), weight: heavy },
            ChainStage { policy: Arc::clone(&by_load), weight: light },
            ChainStage { policy: Arc::clone(&picks), weight: 1.0 },
        ];
        Chain::new(stages, FailureMode::InOrder, None).unwrap()
    };
    assert_eq!(target(&chain(3.0, 1.0).decide(&offer(&[0, 1]))), 1);
    assert_eq!(target(&chain(1.0, 1.0).decide(&offer(&[0, 1]))), 0);
    assert_eq!(target(&chain(0.0, 0.0).decide(&offer(&[0, 1]))), 0);
}

#[test]
fn scores_are_idle_unless_a_stage_that_chooses_is_fed_them() {
    let idle = |guests: &[Guest]| chain(guests, FailureMode::InOrder).idle_scorer().is_some();
    let scorer = || guest().hook("scorer", SCORE).signals(&["weight"]);
    assert!(idle(&[scorer()]));
    assert!(idle(&[scorer(), router(FIRST), guest().hook("filter", DROP_FIRST).signals(&["score"])]));
    assert!(!idle(&[scorer(), router(FIRST), router(LAST).signals(&["score"])]));
    assert!(!idle(&[router(FIRST).signals(&["score"]), scorer()]));
    assert!(!idle(&[scorer(), router(FIRST), guest().hook("fallback", LAST).signals(&["score"])]));
    assert!(!idle(&[router(FIRST)]));
}

#[test]
fn a_failure_hands_over_to_the_stand_in() {
    let chosen = chain(&[router(FAIL), router(LAST)], FailureMode::InOrder).decide(&offer(&[0, 1, 2]));
    assert_eq!(target(&chosen), 0);
    assert_eq!(chosen.failures.len(), 1);
    assert_eq!(chosen.failures[0].cause, FailureCause::Declared("oops".to_owned()));
}

#[test]
fn what_filters_left_before_the_failure_still_holds() {
    let chosen =
        chain(&[guest().hook("filter", DROP_FIRST), router(FAIL)], FailureMode::InOrder).decide(&offer(&[0, 1, 2]));
    assert_eq!(target(&chosen), 1);
}

#[test]
fn a_failed_filter_does_not_let_the_routers_decide() {
    let chosen =
        chain(&[guest().hook("filter", "(call $err4)"), router(LAST)], FailureMode::InOrder).decide(&offer(&[0, 1, 2]));
    assert_eq!((target(&chosen), chosen.failures.len()), (0, 1));
    let chosen =
        chain(&[guest().hook("filter", "(call $err4)"), router(LAST)], FailureMode::Skip).decide(&offer(&[0, 1, 2]));
    assert_eq!((target(&chosen), chosen.failures.len()), (2, 1));
}

#[test]
fn a_failure_may_be_skipped_or_refuse_the_request() {
    let chosen = chain(&[router(FAIL), router(LAST)], FailureMode::Skip).decide(&offer(&[0, 1, 2]));
    assert_eq!((target(&chosen), chosen.failures.len()), (2, 1));
    let chosen = chain(&[router(FAIL), router(ABSTAIN)], FailureMode::Skip).decide(&offer(&[0, 1, 2]));
    assert_eq!((target(&chosen), chosen.failures.len()), (0, 1));
    let chosen = chain(&[router(FAIL), router(LAST)], FailureMode::Refuse).decide(&offer(&[0, 1, 2]));
    let Choice::Refused(failure) = &chosen.choice else { panic!("{chosen:?}") };
    assert_eq!(failure.cause, FailureCause::Declared("oops".to_owned()));
    assert_eq!(&*chosen.policy, "test");
}

#[test]
fn when_the_stand_in_fails_too_the_configured_order_holds() {
    let stages = vec![ChainStage { policy: bound(&router(FAIL)), weight: 1.0 }];
    let chain = Chain::new(stages, FailureMode::InOrder, Some(bound(&router(FAIL)))).unwrap();
    let chosen = chain.decide(&offer(&[2, 1]));
    assert_eq!((target(&chosen), &*chosen.policy, chosen.failures.len()), (2, "configured-order", 2));
}

#[test]
fn after_a_failure_only_a_stage_that_wants_to_is_asked() {
    assert!(chain(&[router(FIRST)], FailureMode::InOrder).after_failure(&offer(&[0, 1]), &[failed(0)]).is_none());
    let asked = chain(&[router(FIRST), guest().hook("fallback", LAST)], FailureMode::InOrder);
    let chosen = asked.after_failure(&offer(&[0, 1]), &[failed(0)]).unwrap();
    assert_eq!(target(&chosen), 1);
    let gives_up = chain(&[guest().hook("fallback", ABSTAIN)], FailureMode::InOrder);
    assert_eq!(gives_up.after_failure(&offer(&[0, 1]), &[failed(0)]).unwrap().choice, Choice::GiveUp);
}

#[test]
fn filters_hold_after_a_failure_too() {
    let chain = chain(&[guest().hook("filter", DROP_FIRST), guest().hook("fallback", FIRST)], FailureMode::InOrder);
    let chosen = chain.after_failure(&offer(&[0, 1, 2]), &[failed(1)]).unwrap();
    assert_eq!((target(&chosen), chosen.kept.as_deref()), (1, Some(&[1, 2][..])));
}

#[test]
fn a_failed_fallback_leaves_it_to_the_stand_in_and_then_to_the_configured_order() {
    let failing = || guest().hook("fallback", FAIL);
    let chosen = chain(&[failing()], FailureMode::InOrder).after_failure(&offer(&[0, 1, 2]), &[failed(0)]).unwrap();
    assert_eq!((target(&chosen), chosen.failures.len()), (2, 1));
    let stages = vec![ChainStage { policy: bound(&failing()), weight: 1.0 }];
    let alone = Chain::new(stages, FailureMode::InOrder, None).unwrap();
    let chosen = alone.after_failure(&offer(&[0, 1]), &[failed(0)]).unwrap();
    assert_eq!((target(&chosen), &*chosen.policy), (1, "configured-order"));
    let chosen = alone.after_failure(&offer(&[0, 1]), &[failed(0), failed(1)]).unwrap();
    assert_eq!(chosen.choice, Choice::GiveUp);
}

#[test]
fn a_chain_is_checked_when_it_is_made() {
    assert_eq!(Chain::new(vec![], FailureMode::Skip, None).unwrap_err(), ChainError::Empty);
    let policy = bound(&guest().hook("fallback", LAST));
    let weighing =
        |weight| Chain::new(vec![ChainStage { policy: Arc::clone(&policy), weight }], FailureMode::Skip, None);
    assert!(weighing(0.0).is_ok());
    assert_eq!(
        weighing(-1.0).unwrap_err().to_string(),
        "policy `test` has the weight -1; a weight is a number, 0 or more"
    );
    assert!(weighing(f64::NAN).is_err());
    let stages = vec![ChainStage { policy: Arc::clone(&policy), weight: 1.0 }];
    assert_eq!(
        Chain::new(stages, FailureMode::Skip, Some(policy)).unwrap_err().to_string(),
        "policy `test` cannot stand in for a chain that failed, because it exports no `router`"
    );
}
