//! Policies that fail too often: told, suspended, tried again.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use witgate_wasm::{Crash, FailureCause, Policy};

use crate::calls::{eventually, later};
use crate::guest::router;
use crate::world::{World, offer, world};

/// Every crash that the engine tells of.
fn told(world: &World) -> Arc<Mutex<Vec<Crash>>> {
    let crashes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&crashes);
    world.engine.on_crash(move |crash| noted.lock().unwrap().push(crash.clone()));
    crashes
}

/// One call that fails, and says how.
fn fail(policy: &Policy) -> FailureCause {
    policy.route(&offer(&[0]), &[0], None).unwrap_err().cause
}

/// One call that does not.
fn pass(policy: &Policy) {
    let mut good = offer(&[0]);
    good.stamp.now_ms = 1.0;
    policy.route(&good, &[0], None).unwrap();
}

#[test]
fn traps_and_impossible_verdicts_suspend_a_policy_as_missed_deadlines_do() {
    for body in ["unreachable", "(return (call $pick (i32.const 3)))"] {
        let world = world();
        let crashes = told(&world);
        let policy = world.bind(&later(body));
        assert!((0..3).all(|_| !matches!(fail(&policy), FailureCause::Suspended { .. })), "{body}");
        let FailureCause::Suspended { remaining } = fail(&policy) else { panic!("{body}: it is not suspended") };
        assert!(remaining > Duration::from_secs(5) && remaining <= Duration::from_secs(10), "{remaining:?}");
        let told = crashes.lock().unwrap().clone();
        let [crash] = &told[..] else { panic!("told {} times", told.len()) };
        assert_eq!((crash.failures, crash.calls, crash.suspended), (3, 3, Some(Duration::from_secs(10))));
        assert_eq!((&crash.last.policy, &crash.last.revision), (policy.name(), policy.revision()));
    }
}

#[test]
fn declared_errors_never_suspend_a_policy() {
    let world = world();
    let crashes = told(&world);
    let policy = world.bind(&router("(call $err)"));
    assert!((0..50).all(|_| matches!(fail(&policy), FailureCause::Declared(_))));
    assert_eq!((crashes.lock().unwrap().len(), policy.statistics().suspended), (0, None));
}

#[test]
fn a_share_below_the_threshold_is_put_up_with() {
    let mut world = world();
    world.rules.crash.failures = NonZeroU32::new(2).unwrap();
    world.rules.crash.share = 0.1;
    let crashes = told(&world);
    let policy = world.bind(&later("unreachable"));
    (0..20).for_each(|_| pass(&policy));
    // 2 of 22, then 3 of 23
    assert!((0..2).all(|_| matches!(fail(&policy), FailureCause::Trap(_))));
    assert_eq!((crashes.lock().unwrap().len(), policy.statistics().suspended), (0, None));
    assert!(matches!(fail(&policy), FailureCause::Trap(_)));
    let crash = crashes.lock().unwrap()[0].clone();
    assert_eq!((crash.failures, crash.calls), (3, 23));
    assert!(policy.statistics().suspended.is_some());
}

#[test]
fn with_a_spare_the_crashed_revision_is_asked_no_more_wherever_it_is_bound() {
    let mut world = world();
    let crashes = told(&world);
    let (crashed, other) = (later("unreachable"), later("nop"));
    let component = world.load(&crashed.module()).unwrap();
    let bind = |world: &World| world.engine.bind(&component, world.binding()).unwrap();
    let here = bind(&world);
    world.settings = serde_json::json!({"of": "another route"});
    let there = bind(&world);
    here.set_spare(true);
    there.set_spare(true);
    assert!((0..3).all(|_| matches!(fail(&here), FailureCause::Trap(_))));
    for policy in [&here, &there] {
        let FailureCause::Suspended { remaining } = fail(policy) else { panic!("it is still asked") };
        assert!(remaining > Duration::from_secs(3) && remaining <= Duration::from_secs(5), "{remaining:?}");
    }
    let told = crashes.lock().unwrap().clone();
    assert_eq!((told.len(), told[0].failures, told[0].suspended), (1, 3, None));
    let calls = [&here, &there].map(|policy| policy.statistics().calls);
    assert_eq!(calls, [3, 0]);
    // what takes its place is asked
    let spare = world.bind(&other);
    spare.takes_over(&here);
    pass(&spare);
    // and the same revision, bound anew at that moment, is not
    let anew = bind(&world);
    anew.takes_over(&here);
    assert!(matches!(fail(&anew), FailureCause::Suspended { .. }));
}

#[test]
fn a_policy_that_does_not_crash_hands_nothing_over() {
    let world = world();
    let component = world.load(&later("unreachable").module()).unwrap();
    let [before, after] = [0; 2].map(|_| world.engine.bind(&component, world.binding()).unwrap());
    // suspended because there is nothing in its place: bound anew, it is tried anew
    (0..3).for_each(|_| drop(fail(&before)));
    after.takes_over(&before);
    assert!(before.statistics().suspended.is_some());
    pass(&after);
}

#[test]
fn an_instance_is_there_again_after_each_trap() {
    let mut world = world();
    world.rules.crash.failures = NonZeroU32::MAX;
    let policy = world.bind(&later("unreachable"));
    for _ in 0..20 {
        fail(&policy);
        pass(&policy);
    }
    eventually("the replacement", || policy.statistics().live >= 1);
    assert_eq!(policy.statistics().lost, 20);
}
