//! Policies that are large enough to be compiled twice.

use std::time::{Duration, Instant};

use witgate_core::config::Isolation;
use witgate_wasm::{Compiling, Component, Engine, EngineOptions, FailureCause, Tier};

use crate::bind::{COUNTER, counting};
use crate::calls::{eventually, later};
use crate::world::{World, offer, target, world};

/// Functions that nobody calls: about a megabyte of code, which takes a while to optimise.
fn bulk() -> String {
    let body = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 77)) (i32.xor (local.get 1) (i32.const 9))))";
    format!("(func (param i32 i32) {})", body.repeat(40)).repeat(1500)
}

fn optimised(component: &Component) {
    eventually("the optimised code", || component.tier() == Tier::Optimised);
}

#[test]
fn a_large_policy_serves_at_once_and_nothing_changes_when_it_is_optimised() {
    let world = world();
    let component = world.load(&counting().code(&format!("{COUNTER}{}", bulk())).module()).unwrap();
    assert_eq!((component.tier(), component.from_cache()), (Tier::Quick, false));
    let policy = world.engine.bind(&component, world.binding()).unwrap();
    let next = || target(&policy.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap());
    assert_eq!([next(), next()], [0, 1]);
    let (quick, revision) = (component.code_size(), component.revision().clone());
    optimised(&component);
    assert_ne!(component.code_size(), quick);
    // the cell goes on where it was, and the calls are those of the same policy
    assert_eq!([next(), next()], [2, 3]);
    let statistics = policy.statistics();
    assert_eq!((statistics.calls, statistics.live), (4, 1));
    assert_eq!((statistics.retired, statistics.lost, statistics.failures), (0, 0, [0; 6]));
    assert_eq!(*policy.revision(), revision);
    // one that is bound later is made of the optimised code
    let later = world.engine.bind(&component, world.binding()).unwrap();
    assert_eq!(target(&later.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap()), 0);
}

#[test]
fn quick_code_has_five_times_the_deadline() {
    let world = world();
    let limit = Duration::from_millis(50);
    let took = |world: &World, component, tier| {
        let policy = world.engine.bind(component, world.binding()).unwrap();
        let started = Instant::now();
        let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
        assert_eq!(failure.cause, FailureCause::Deadline { limit, tier });
        started.elapsed()
    };
    let component = world.load(&later("(loop $l (br $l))").code(&bulk()).module()).unwrap();
    assert_eq!(component.tier(), Tier::Quick);
    assert!(took(&world, &component, Tier::Quick) >= limit * 9 / 2);
    optimised(&component);
    took(&world, &component, Tier::Optimised);
}

#[test]
fn a_policy_whose_new_instances_fail_serves_on_with_those_that_it_has() {
    let world = world();
    // a second `configure` traps once the policy has been called: what it must not do, and this one does
    let configure = "(call $open (i32.const 0) (i32.const 4) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 256))
         (global.set $table (i32.load (i32.const 260)))
         (if (f64.gt (call $add (global.get $table) (i32.const 0) (f64.const 0)) (f64.const 0)) (then unreachable))
         i32.const 64";
    let guest = counting().configure(configure).code(&format!("{COUNTER}{}", bulk()));
    let component = world.load(&guest.module()).unwrap();
    let policy = world.engine.bind(&component, world.binding()).unwrap();
    let next = || target(&policy.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap());
    assert_eq!(next(), 0);
    optimised(&component);
    assert_eq!([next(), next()], [1, 2]);
    assert_eq!(policy.statistics().failures, [0; 6]);
}

#[test]
fn a_fresh_instance_runs_what_is_there() {
    let mut world = world();
    world.rules.isolation = Isolation::Fresh;
    let component = world.load(&counting().code(&format!("{COUNTER}{}", bulk())).module()).unwrap();
    let policy = world.engine.bind(&component, world.binding()).unwrap();
    let next = || target(&policy.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap());
    assert_eq!(next(), 0);
    optimised(&component);
    assert_eq!([next(), next()], [1, 2]);
}

#[test]
fn only_optimised_code_is_kept_and_who_waits_for_it_gets_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        EngineOptions { code_cache: Some(directory.path().join("code")), workers: 1, ..EngineOptions::default() };
    let kept = || std::fs::read_dir(directory.path().join("code")).unwrap().count();
    let file = later("nop").code(&bulk()).module();
    let engine = Engine::new(options.clone()).unwrap();
    let first = engine.load("test", &file).unwrap();
    assert_eq!((first.tier(), kept()), (Tier::Quick, 0));
    optimised(&first);
    let second = engine.load("test", &file).unwrap();
    assert_eq!((second.tier(), second.from_cache()), (Tier::Optimised, true));
    let waits = EngineOptions { code_cache: None, compiling: Compiling::AtOnce, ..options };
    let third = Engine::new(waits).unwrap().load("test", &file).unwrap();
    assert_eq!((third.tier(), third.from_cache()), (Tier::Optimised, false));
}
