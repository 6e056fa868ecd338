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
fn with_a_spare_the_calls_go_on_until_it_is_in_place() {
    let world = world();
    let crashes = told(&world);
    let policy = world.bind(&later("unreachable"));
    policy.set_spare(true);
    (0..10).for_each(|_| assert!(matches!(fail(&policy), FailureCause::Trap(_))));
    pass(&policy);
    let told = crashes.lock().unwrap().clone();
    assert_eq!((told.len(), told[0].failures, told[0].suspended), (1, 3, None));
    assert_eq!(policy.statistics().suspended, None);
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
