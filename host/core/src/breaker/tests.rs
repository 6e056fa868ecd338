//! One event after the other, and what the breaker makes of it.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;

mod simulation;

fn failed(breaker: &mut Breaker, kind: FailureKind, now: u64) -> Option<Transition> {
    let mut ticket = breaker.begin_anyway(Millis(now));
    breaker.failed(&mut ticket, kind, Millis(now))
}

fn succeeded(breaker: &mut Breaker, now: u64) -> Option<Transition> {
    let mut ticket = breaker.begin_anyway(Millis(now));
    breaker.succeeded(&mut ticket, Millis(now))
}

fn state(breaker: &Breaker, now: u64) -> BreakerState {
    breaker.view().state(Millis(now))
}

/// Open since the given moment.
fn opened(now: u64) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..5 {
        failed(&mut breaker, FailureKind::Connect, now);
    }
    assert_eq!(state(&breaker, now), BreakerState::Open);
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_and_four_do_not() {
    let mut breaker = Breaker::default();
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(failed(&mut breaker, FailureKind::ServerError, 1), None);
        }
        succeeded(&mut breaker, 1);
    }
    // 12 of 15: too few attempts for a share
    assert_eq!(state(&breaker, 1), BreakerState::Closed);
    for _ in 0..4 {
        failed(&mut breaker, FailureKind::ServerError, 60_000);
    }
    assert_eq!(failed(&mut breaker, FailureKind::ServerError, 60_000), Some(Transition::Opened));
}

#[test]
fn limits_count_in_the_window_only_and_what_is_the_request_s_fault_nowhere() {
    let mut breaker = Breaker::default();
    for kind in [FailureKind::BadRequest, FailureKind::ContextLength, FailureKind::Unauthorised, FailureKind::Deadline]
    {
        for _ in 0..50 {
            assert_eq!(failed(&mut breaker, kind, 1), None, "{kind:?}");
        }
    }
    for _ in 0..19 {
        assert_eq!(failed(&mut breaker, FailureKind::RateLimited, 1), None);
    }
    assert_eq!(failed(&mut breaker, FailureKind::RateLimited, 1), Some(Transition::Opened));
}

#[test]
fn a_share_of_successes_below_four_fifths_opens_it() {
    let mut breaker = Breaker::default();
    // every fifth fails: exactly the limit
    for number in 0..1000 {
        let now = number * 100;
        if number % 5 == 4 {
            assert_eq!(failed(&mut breaker, FailureKind::ServerError, now), None, "at {now}");
        } else {
            succeeded(&mut breaker, now);
        }
    }
    assert_eq!(failed(&mut breaker, FailureKind::ServerError, 99_999), Some(Transition::Opened));
}

#[test]
fn where_little_is_asked_the_share_looks_back_further() {
    let mut breaker = Breaker::default();
    // one in a second and a half: fewer than 20 in 10 s, 20 in 30 s
    let mut opened = None;
    for number in 0..40 {
        let now = number * 1_500;
        let transition =
            if number % 2 == 0 { succeeded(&mut breaker, now) } else { failed(&mut breaker, FailureKind::Cut, now) };
        opened = opened.or(transition.map(|_| number));
    }
    assert_eq!(opened, Some(19));
}

#[test]
fn it_opens_for_longer_each_time_up_to_a_limit() {
    let mut breaker = opened(0);
    let mut now = 0;
    for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
        let until = now + seconds * 1000;
        assert_eq!((state(&breaker, until - 1), state(&breaker, until)), (BreakerState::Open, BreakerState::HalfOpen));
        now = until;
        assert_eq!(failed(&mut breaker, FailureKind::RateLimited, now), Some(Transition::Opened), "429 fails a trial");
    }
}

#[test]
fn after_some_time_of_health_it_starts_with_the_shortest_pause_again() {
    let closed = |breaker: &mut Breaker, now| {
        assert_eq!([(); 3].map(|()| succeeded(breaker, now)), [None, None, Some(Transition::Closed)]);
    };
    let again = |well_for: u64| {
        let mut breaker = opened(0);
        closed(&mut breaker, 30_000);
        (0..5).for_each(|_| _ = failed(&mut breaker, FailureKind::Connect, 30_000 + well_for));
        breaker.view().out_until - 30_000 - well_for
    };
    assert_eq!((again(29_999), again(30_000)), (60_000, 30_000));
}

#[test]
fn one_trial_at_a_time_and_three_that_succeed_close_it() {
    let mut breaker = opened(0);
    let mut first = breaker.begin(Millis(30_000)).expect("half-open");
    assert!(first.is_trial());
    assert_eq!((breaker.begin(Millis(30_001)), state(&breaker, 30_001)), (None, BreakerState::Open));
    assert_eq!(breaker.succeeded(&mut first, Millis(30_010)), None);
    assert_eq!(state(&breaker, 30_010), BreakerState::HalfOpen);
    assert_eq!(succeeded(&mut breaker, 30_020), None);
    assert_eq!(succeeded(&mut breaker, 30_030), Some(Transition::Closed));
    let warm = |now| breaker.view().warm_up(Duration::from_secs(30), Millis(now));
    assert_eq!([30_030, 45_030, 60_030, 99_999].map(warm), [0.0, 0.5, 1.0, 1.0]);
}

#[test]
fn a_trial_that_ends_without_a_word_makes_room_and_a_long_one_does_not_block() {
    let mut breaker = opened(0);
    let mut dropped = breaker.begin(Millis(30_000)).expect("half-open");
    breaker.abandon(&mut dropped);
    assert_eq!(state(&breaker, 30_000), BreakerState::HalfOpen);
    let _long = breaker.begin(Millis(30_000)).expect("half-open");
    assert_eq!((state(&breaker, 34_999), state(&breaker, 35_000)), (BreakerState::Open, BreakerState::HalfOpen));
}

#[test]
fn what_began_before_it_opened_decides_nothing() {
    let mut breaker = Breaker::default();
    let mut stragglers: Vec<_> = (0..6).filter_map(|_| breaker.begin(Millis(0))).collect();
    (0..5).for_each(|_| _ = failed(&mut breaker, FailureKind::Connect, 1_000));
    for ticket in &mut stragglers[..3] {
        assert_eq!(breaker.succeeded(ticket, Millis(31_000)), None);
    }
    for ticket in &mut stragglers[3..] {
        assert_eq!(breaker.failed(ticket, FailureKind::Reset, Millis(31_000)), None);
    }
    assert_eq!(state(&breaker, 31_000), BreakerState::HalfOpen);
}

#[test]
fn where_nobody_else_is_left_successes_close_it_while_it_is_open() {
    let mut breaker = opened(0);
    assert_eq!([1_000, 1_100].map(|now| succeeded(&mut breaker, now)), [None, None]);
    // a failure in between starts the row anew, and does not open it for longer
    assert_eq!(failed(&mut breaker, FailureKind::Connect, 1_200), None);
    assert_eq!(breaker.view().out_until, 30_000);
    let closed = [1_300, 1_400, 1_500].map(|now| succeeded(&mut breaker, now));
    assert_eq!(closed, [None, None, Some(Transition::Closed)]);
}

#[test]
fn a_probe_lets_a_request_try_early_but_closes_nothing() {
    let mut breaker = opened(0);
    breaker.probe_succeeded(Millis(1_000));
    assert_eq!((state(&breaker, 2_999), state(&breaker, 3_000)), (BreakerState::Open, BreakerState::HalfOpen));
    breaker.probe_succeeded(Millis(60_000));
    assert_eq!(state(&breaker, 60_000), BreakerState::HalfOpen);
}

#[test]
fn a_probe_that_fails_keeps_it_open_but_not_for_ever() {
    let mut breaker = opened(0);
    for now in (0..300_000).step_by(3_000) {
        breaker.probe_failed(Millis(now));
        assert_eq!(state(&breaker, now), BreakerState::Open, "at {now}");
    }
    // the probe itself may be what is wrong
    breaker.probe_failed(Millis(300_000));
    assert_eq!(state(&breaker, 300_000), BreakerState::HalfOpen);
}

#[test]
fn failed_probes_of_one_that_nobody_asks_open_it() {
    let mut breaker = Breaker::default();
    for _ in 0..4 {
        assert_eq!(breaker.probe_failed(Millis(0)), None);
    }
    breaker.probe_succeeded(Millis(0));
    for _ in 0..4 {
        assert_eq!(breaker.probe_failed(Millis(0)), None);
    }
    assert_eq!(breaker.probe_failed(Millis(0)), Some(Transition::Opened));
}
