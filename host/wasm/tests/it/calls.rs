use std::time::{Duration, Instant};

use witgate_core::plan::{Decision, PlanError};
use witgate_core::vocabulary::Fact;
use witgate_wasm::{FailureCause, Hook, Tier};

use crate::guest::{guest, router};
use crate::world::{offer, target, world};

const PICK: &str = "(call $pick (i32.load (local.get $candidates)))";

/// Waits for what another thread does soon.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn signals_come_column_after_column_and_facts_in_order() {
    // picks the candidate of the largest second signal (the weight), if the first fact is 1 choice
    let body = "(local $best i32) (local $most f64)
        (if (f64.ne (f64.load (local.get $facts)) (f64.const 1)) (then unreachable))
        (loop $next
            (local.set $x (f64.load (i32.add (local.get $signals)
                (i32.mul (i32.const 8) (i32.add (local.get $count) (local.get $i))))))
            (if (f64.gt (local.get $x) (local.get $most)) (then
                (local.set $most (local.get $x))
                (local.set $best (local.get $i))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (local.get $count))))
        (call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4) (local.get $best)))))";
    let body = body.replace("(if (f64.ne (f64.load (local.get $facts)) (f64.const 1)) (then unreachable))", "");
    let policy = world().bind(&router(&body).signals(&["in-flight", "weight"]).facts(&["choices"]));
    let decision = policy.route(&offer(&[2, 0, 1]), &[2, 0, 1], None).unwrap();
    assert_eq!(target(&decision), 2);
}

#[test]
fn scores_reach_the_router_as_a_signal() {
    let second_if_better = "(call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4) (i32.and
        (i32.gt_u (local.get $count) (i32.const 1))
        (f64.gt (f64.load offset=8 (local.get $signals)) (f64.load (local.get $signals))))))))";
    let policy = world().bind(&router(second_if_better).signals(&["score"]));
    assert_eq!(target(&policy.route(&offer(&[0, 1]), &[0, 1], Some(&[0.1, 0.2])).unwrap()), 1);
    assert_eq!(target(&policy.route(&offer(&[0, 1]), &[0, 1], None).unwrap()), 0);
}

#[test]
fn a_declared_error_leaves_the_instance_alive() {
    let policy = world().bind(&router("(call $err)"));
    for _ in 0..3 {
        let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
        assert_eq!((failure.hook, failure.cause), (Hook::Router, FailureCause::Declared("oops".to_owned())));
    }
    let statistics = policy.statistics();
    assert_eq!((statistics.calls, statistics.failures, statistics.lost), (3, [3, 0, 0, 0, 0, 0], 0));
}

/// Well-behaved in trials, where `now-ms` is in 2026; otherwise does what `body` says.
pub(crate) fn later(body: &str) -> crate::guest::Guest {
    router(&format!("(if (f64.eq (local.get $now) (f64.const 0)) (then {body})) {PICK}"))
}

#[test]
fn a_trap_costs_the_instance_and_a_new_one_takes_its_place() {
    let policy = world().bind(&later("unreachable"));
    let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
    assert_eq!(
        failure.to_string(),
        format!(
            "policy `test` (revision {}) failed in `router`: it trapped: wasm trap: wasm `unreachable` instruction \
             executed",
            policy.revision()
        )
    );
    eventually("the replacement", || policy.statistics().live == 1);
    let mut good = offer(&[0]);
    good.stamp.now_ms = 1.0;
    assert_eq!(target(&policy.route(&good, &[0], None).unwrap()), 0);
    let statistics = policy.statistics();
    assert_eq!((statistics.calls, statistics.lost, statistics.failures), (2, 1, [0, 1, 0, 0, 0, 0]));
}

#[test]
fn a_request_does_not_wait_for_the_replacement() {
    let mut world = world();
    world.rules.crash.failures = std::num::NonZeroU32::MAX;
    let policy = world.bind(&later("unreachable"));
    let mut good = offer(&[0]);
    good.stamp.now_ms = 1.0;
    for _ in 0..50 {
        policy.route(&offer(&[0]), &[0], None).unwrap_err();
        policy.route(&good, &[0], None).unwrap();
    }
    assert_eq!(policy.statistics().lost, 50);
}

#[test]
fn an_endless_loop_is_stopped_and_a_third_one_suspends_the_policy() {
    let mut world = world();
    world.rules.deadline = Duration::from_millis(20);
    let policy = world.bind(&later("(loop $l (br $l))"));
    assert!(!policy.is_slow());
    for _ in 0..3 {
        let start = Instant::now();
        let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
        assert_eq!(failure.cause, FailureCause::Deadline { limit: Duration::from_millis(20), tier: Tier::Optimised });
        assert!(start.elapsed() >= Duration::from_millis(20), "{:?}", start.elapsed());
        assert!(policy.is_slow());
    }
    let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
    let FailureCause::Suspended { remaining } = failure.cause else { panic!("{failure}") };
    assert!(remaining > Duration::from_secs(5) && remaining <= Duration::from_secs(10));
    let statistics = policy.statistics();
    assert_eq!((statistics.calls, statistics.failures), (3, [0, 0, 3, 0, 1, 0]));
    assert!(statistics.suspended.is_some());
}

#[test]
fn an_impossible_verdict_keeps_the_instance() {
    let policy = world().bind(&later("(return (call $pick (i32.const 3)))"));
    let failure = policy.route(&offer(&[0, 1]), &[0, 1], None).unwrap_err();
    assert_eq!(failure.cause, FailureCause::Impossible(PlanError::NotOffered { target: 3 }));
    assert_eq!(policy.statistics().lost, 0);
}

#[test]
fn an_answer_that_is_too_large_or_malformed_is_a_trap() {
    let huge =
        "(if (f64.eq (local.get $now) (f64.const 0)) (then (return (call $list (i32.const 0) (i32.const 20000)))))
                (call $list (local.get $candidates) (local.get $count))";
    let policy = world().bind(&guest().hook("filter", huge));
    let failure = policy.keep(&offer(&[0]), &[0]).unwrap_err();
    assert!(matches!(&failure.cause, FailureCause::Trap(text) if text.contains("fuel")), "{failure}");
    // a verdict of a kind that does not exist
    let policy = world()
        .bind(&later("(drop (call $abstain)) (i32.store8 (i32.const 136) (i32.const 9)) (return (i32.const 128))"));
    let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
    assert!(matches!(failure.cause, FailureCause::Trap(_)), "{failure}");
}

#[test]
fn memory_beyond_the_limit_is_not_given() {
    // traps if it gets more than the limit, 16 pages, allows
    let grow = "(if (i32.ne (memory.grow (i32.const 13)) (i32.const -1)) (then unreachable))";
    let policy = world().bind(&router(&format!("{grow} {PICK}")));
    assert_eq!(target(&policy.route(&offer(&[0]), &[0], None).unwrap()), 0);
    let fits = "(drop (memory.grow (i32.const 12))) (if (i32.ne (memory.size) (i32.const 16)) (then unreachable))";
    assert!(world().try_bind(&router(&format!("{fits} {PICK}"))).is_ok());
}

#[test]
fn an_instance_that_has_grown_or_served_its_time_is_replaced() {
    let mut world = world();
    world.rules.calls = std::num::NonZeroU32::new(10).unwrap();
    let policy = world.bind(&router(PICK));
    for _ in 0..8 {
        policy.route(&offer(&[0]), &[0], None).unwrap();
    }
    assert_eq!(policy.statistics().retired, 0);
    policy.route(&offer(&[0]), &[0], None).unwrap();
    assert_eq!(policy.statistics().retired, 1);

    let policy = crate::world::world().bind(&later("(drop (memory.grow (i32.const 10)))"));
    policy.route(&offer(&[0]), &[0], None).unwrap();
    assert_eq!(policy.statistics().retired, 1);
    eventually("the retirement", || {
        let mut quiet = offer(&[0]);
        quiet.stamp.now_ms = 1.0;
        policy.route(&quiet, &[0], None).unwrap();
        policy.statistics().retired == 1
    });
}

#[test]
fn a_stack_overflow_is_a_trap() {
    let guest = later("(drop (call $deep (i32.const 0)))")
        .code("(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))");
    let failure = world().bind(&guest).route(&offer(&[0]), &[0], None).unwrap_err();
    assert_eq!(failure.cause, FailureCause::Trap("wasm trap: call stack exhausted".to_owned()));
}

#[test]
fn a_wrong_cell_traps_and_says_so() {
    let load = r#"(import "witgate:policy/cells@0.1.0" "load" (func $load (param i32 i32) (result f64)))"#;
    let policy = world().bind(&later("(drop (call $load (i32.const 5) (i32.const 0)))").imports("cells").code(load));
    let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
    assert_eq!(
        failure.cause,
        FailureCause::Trap("cells: there is no table number 5; `open` gives the numbers".to_owned())
    );
}

#[test]
fn one_wrong_cell_among_many_traps_and_says_so() {
    let code = r#"(import "witgate:policy/cells@0.1.0" "open" (func $open (param i32 i32 i32 i32 i32 i32)))
        (import "witgate:policy/cells@0.1.0" "load-each" (func $load_each (param i32 i32 i32 i32)))
        (data (i32.const 60000) "table\00\00\00\02\00\00\00\03\00\00\00")"#;
    let opens = "(call $open (i32.const 60000) (i32.const 5) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 256))
        (i32.const 64)";
    // of the indexes 2 and 3, the first `count`
    let loads = |count: u32| {
        let body = format!("(call $load_each (i32.const 0) (i32.const 60008) (i32.const {count}) (i32.const 256))");
        let policy = world().bind(&later(&body).configure(opens).imports("cells").code(code));
        policy.route(&offer(&[0]), &[0], None)
    };
    assert_eq!(target(&loads(1).unwrap()), 0);
    let failure = loads(2).unwrap_err();
    assert_eq!(failure.cause, FailureCause::Trap("cells: index 3 is beyond the table's 3 cells".to_owned()));
}

#[test]
fn headers_are_given_but_never_credentials() {
    // picks the second candidate, if there is one, when the header has a value
    let asks = |name: &str| {
        router(&format!(
            "(call $value (i32.const 60000) (i32.const {}) (i32.const 256))
             (call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4)
                (i32.and (i32.load8_u (i32.const 256)) (i32.gt_u (local.get $count) (i32.const 1)))))))",
            name.len()
        ))
        .imports("headers")
        .code(&format!(
            r#"(import "witgate:policy/headers@0.1.0" "value" (func $value (param i32 i32 i32)))
               (data (i32.const 60000) "{name}")"#
        ))
    };
    let mut world = world();
    world.rules.grant_headers = true;
    let given = |name: &str| target(&world.bind(&asks(name)).route(&offer(&[0, 1]), &[0, 1], None).unwrap()) == 1;
    assert!(given("X-Team"));
    assert!(!given("x-other"));
    assert!(!given("Authorization"));
}

#[test]
fn wasi_has_nothing_behind_it_but_lets_a_runtime_start() {
    const WIT: &str = "package wasi:cli@0.2.6;
        interface environment { get-environment: func() -> list<tuple<string, string>>; }
        interface exit { exit: func(status: result); }";
    let guest = later("(call $exit (i32.const 1))")
        .wit(WIT)
        .imports("wasi:cli/environment@0.2.6")
        .imports("wasi:cli/exit@0.2.6")
        .code(
            r#"(import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
               (import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#,
        )
        .configure(
            "(call $environment (i32.const 256))
             (if (i32.ne (i32.load (i32.const 260)) (i32.const 0)) (then unreachable))
             i32.const 64",
        );
    let world = world();
    assert!(world.load(&guest.module()).unwrap().imports().wasi);
    let failure = world.bind(&guest).route(&offer(&[0]), &[0], None).unwrap_err();
    assert_eq!(
        failure.cause,
        FailureCause::Trap("WASI has nothing behind it in a policy: `wasi:cli/exit#exit` cannot be used".to_owned())
    );
}

#[test]
fn wasi_streams_lead_nowhere_and_its_randomness_is_always_the_same() {
    const WIT: &str = "package wasi:cli@0.2.6;
        interface stderr { use wasi:io/streams@0.2.6.{output-stream}; get-stderr: func() -> output-stream; }
        package wasi:io@0.2.6 {
            interface error { resource error; }
            interface streams {
                use error.{error};
                variant stream-error { last-operation-failed(error), closed }
                resource output-stream {
                    blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
                }
            }
        }
        package wasi:random@0.2.6 { interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; } }";
    // traps unless the write succeeds, then picks by the seed
    let guest = router(
        "(local.set $i (call $stderr))
         (call $write (local.get $i) (i32.const 60000) (i32.const 5) (i32.const 256))
         (if (i32.load8_u (i32.const 256)) (then unreachable))
         (call $drop (local.get $i))
         (call $seed (i32.const 256))
         (call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4)
            (i32.rem_u (i32.load (i32.const 256)) (local.get $count))))))",
    )
    .wit(WIT)
    .imports("wasi:cli/stderr@0.2.6")
    .imports("wasi:random/insecure-seed@0.2.6")
    .code(
        r#"(import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
           (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))
           (import "wasi:io/streams@0.2.6" "[resource-drop]output-stream" (func $drop (param i32)))
           (import "wasi:random/insecure-seed@0.2.6" "insecure-seed" (func $seed (param i32)))
           (data (i32.const 60000) "hello")"#,
    );
    let (one, two) = (world().bind(&guest), world().bind(&guest));
    let first = target(&one.route(&offer(&[0, 1, 2]), &[0, 1, 2], None).unwrap());
    for policy in [&one, &two, &one] {
        assert_eq!(target(&policy.route(&offer(&[0, 1, 2]), &[0, 1, 2], None).unwrap()), first);
    }
}

#[test]
fn a_busy_machine_does_not_make_a_fast_policy_late() {
    let mut world = world();
    world.rules.deadline = Duration::from_millis(2);
    let policy = world.bind(&router(PICK));
    let end = Instant::now() + Duration::from_millis(700);
    let busy = std::thread::available_parallelism().unwrap().get() * 4;
    std::thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            });
        }
        while Instant::now() < end {
            policy.route(&offer(&[0]), &[0], None).unwrap();
        }
    });
    assert_eq!(policy.statistics().lost, 0);
}

#[test]
fn an_observer_is_told_in_columns() {
    use witgate_core::outcome::OutcomeRow;
    use witgate_core::vocabulary::OutcomeField;
    // declares an error unless the second column of the first row is 3
    let body = "(if (result i32) (f64.eq (f64.load (i32.add (local.get $columns) (i32.mul (i32.const 8) (local.get $rows)))) (f64.const 3))
        (then (call $list (i32.const 0) (i32.const 0))) (else (call $err4)))";
    let policy = world().bind(&guest().hook("observer", body).outcomes(&["usd", "tag"]));
    let row = |tag| {
        let mut row = [0.0; OutcomeField::COUNT];
        row[OutcomeField::Tag as usize] = tag;
        OutcomeRow(row)
    };
    assert_eq!(policy.observe(&[row(3.0), row(4.0)]), Ok(()));
    let failure = policy.observe(&[row(4.0)]).unwrap_err();
    assert_eq!((failure.hook, failure.cause), (Hook::Observer, FailureCause::Declared("oops".to_owned())));
    assert_eq!(policy.observe(&[]), Ok(()));
}

#[test]
fn the_same_question_gets_the_same_answer_in_every_instance() {
    let by_seed = "(call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4) (i32.rem_u (local.get $seed) (local.get $count))))))";
    let world = world();
    let (one, two) = (world.bind(&router(by_seed)), world.bind(&router(by_seed)));
    for seed in 0..20 {
        let mut offer = offer(&[0, 1, 2]);
        offer.stamp.seed = seed;
        offer.facts.set(Fact::Tools, 2.0);
        let answer = one.route(&offer, &[0, 1, 2], None).unwrap();
        assert_eq!(answer, two.route(&offer, &[0, 1, 2], None).unwrap());
        assert_eq!(target(&answer), seed % 3);
    }
}

#[test]
fn threads_share_a_policy() {
    let policy = world().bind(&router(PICK));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    assert!(matches!(policy.route(&offer(&[1]), &[1], None), Ok(Decision::Run(_))));
                }
            });
        }
    });
    assert_eq!(policy.statistics().calls, 8000);
}
