use super::*;

const FOUR: Candidates<'_> = Candidates {
    targets: &[0, 1, 2, 3],
    cooldown: &[0.0; 4],
    breaker: &[0.0; 4],
    window: &[0.0; 4],
    ready_keys: &[0.0; 4],
    usual_ms: &[0.0; 4],
};
const STANDING: Standing<'_> =
    Standing { places: &[0; 4], providers: &[0, 0, 1, 2], after_filter: &[false; 4], same_again: 1 };
const PATIENCE: Patience = Patience { longest_ms: 2000.0, left_ms: 60_000.0, may_retry: true, chance: 0.5 };

fn failed(target: u32, kind: Kind) -> Failure {
    Failure { target, kind, retry_after_ms: 0.0 }
}

fn asked(target: u32, kind: Kind, retry_after_ms: f64) -> Failure {
    Failure { target, kind, retry_after_ms }
}

fn after(failures: &[Failure], candidates: &Candidates) -> Answer {
    decide(failures, candidates, &STANDING, &PATIENCE)
}

const ALONE: Candidates<'_> = Candidates {
    targets: &[0],
    cooldown: &[0.0],
    breaker: &[0.0],
    window: &[0.0],
    ready_keys: &[0.0],
    usual_ms: &[0.0],
};

#[test]
fn kinds_follow_the_table() {
    for (names, kind) in [
        (&["connect", "reset", "server-error", "malformed", "cut", "a-kind-of-tomorrow"][..], Kind::Broken),
        (&["first-byte-timeout", "first-token-timeout"], Kind::Late),
        (&["overloaded"], Kind::Busy),
        (&["rate-limited"], Kind::Limited),
        (&["unauthorised", "quota-exhausted"], Kind::Refused),
        (&["model-not-found", "unsupported"], Kind::Unfit),
        (&["context-length"], Kind::TooLong),
        (&["content-policy"], Kind::Filtered),
        (&["bad-request", "deadline"], Kind::Final),
    ] {
        for name in names {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }
}

#[test]
fn another_candidate_is_tried_the_well_before_the_failing() {
    assert_eq!(after(&[failed(0, Kind::Broken)], &FOUR), Answer::Next(1));
    let breaker = Candidates { breaker: &[2.0, 2.0, 1.0, 0.0], ..FOUR };
    assert_eq!(after(&[failed(0, Kind::Broken)], &breaker), Answer::Next(3));
    assert_eq!(after(&[failed(0, Kind::Broken), failed(3, Kind::Busy)], &breaker), Answer::Next(2));
    let ordered = Standing { places: &[3, 2, 1, 0], ..STANDING };
    assert_eq!(decide(&[failed(0, Kind::Broken)], &FOUR, &ordered, &PATIENCE), Answer::Next(3));
    assert_eq!(after(&[], &FOUR), Answer::GiveUp);
    assert_eq!(after(&[failed(0, Kind::Final)], &FOUR), Answer::GiveUp);
}

#[test]
fn who_is_well_is_asked_again_before_who_has_been_failing() {
    let others_down = Candidates { breaker: &[0.0, 2.0, 2.0, 2.0], ..FOUR };
    let broke = |times: usize| vec![failed(0, Kind::Broken); times];
    assert_eq!(after(&broke(1), &others_down), Answer::Again(0, 125.0));
    assert_eq!(after(&broke(2), &others_down), Answer::Next(1));
    assert_eq!(after(&[failed(0, Kind::Late)], &others_down), Answer::Next(1));
    let all_down = Candidates { breaker: &[2.0; 4], ..FOUR };
    assert_eq!(after(&broke(1), &all_down), Answer::Next(1));
    let no_budget = Patience { may_retry: false, ..PATIENCE };
    assert_eq!(decide(&broke(1), &others_down, &STANDING, &no_budget), Answer::Next(1));
}

#[test]
fn what_is_too_slow_is_tried_elsewhere_once() {
    assert_eq!(after(&[failed(0, Kind::Late)], &FOUR), Answer::Next(1));
    assert_eq!(after(&[failed(0, Kind::Late), failed(1, Kind::Late)], &FOUR), Answer::GiveUp);
    assert_eq!(after(&[failed(0, Kind::Late)], &ALONE), Answer::GiveUp);
}

#[test]
fn and_once_more_where_one_is_known_to_be_quick() {
    let late = |targets: &[u32]| targets.iter().map(|target| failed(*target, Kind::Late)).collect::<Vec<_>>();
    let known = Candidates { usual_ms: &[200.0, 200.0, 0.0, 200.0], ..FOUR };
    assert_eq!(after(&late(&[0, 1]), &known), Answer::Next(3));
    assert_eq!(after(&late(&[0, 1, 3]), &known), Answer::GiveUp);
    let failing = Candidates { breaker: &[0.0, 0.0, 0.0, 1.0], ..known };
    assert_eq!(after(&late(&[0, 1]), &failing), Answer::GiveUp);
    // what failed besides is not asked again after a pause
    assert_eq!(after(&[&late(&[0, 1])[..], &[failed(3, Kind::Broken)]].concat(), &known), Answer::GiveUp);
}

#[test]
fn who_usually_needs_longer_than_is_left_is_passed_over() {
    let slow = Candidates { usual_ms: &[0.0, 900.0, 899.0, 0.0], ..FOUR };
    let patience = Patience { left_ms: 900.0, ..PATIENCE };
    assert_eq!(decide(&[failed(0, Kind::Broken)], &slow, &STANDING, &patience), Answer::Next(2));
}

#[test]
fn another_key_is_tried_before_another_deployment() {
    let keys = Candidates { ready_keys: &[1.0, 1.0, 1.0, 1.0], ..FOUR };
    assert_eq!(after(&[failed(0, Kind::Limited)], &keys), Answer::OtherKey(0));
    assert_eq!(after(&[failed(0, Kind::Refused)], &keys), Answer::OtherKey(0));
    assert_eq!(after(&[failed(0, Kind::Busy)], &keys), Answer::Next(1));
    assert_eq!(after(&[failed(0, Kind::Limited); 3], &keys), Answer::Next(1), "not for ever");
    // without another key a limit is the deployment's own, a refused key the provider's
    assert_eq!(after(&[failed(0, Kind::Limited)], &FOUR), Answer::Next(1));
    assert_eq!(after(&[failed(0, Kind::Refused)], &FOUR), Answer::Next(2));
}

#[test]
fn what_a_deployment_cannot_do_is_not_asked_of_it_again() {
    assert_eq!(after(&[failed(0, Kind::Unfit)], &FOUR), Answer::Next(1));
    assert_eq!(after(&[failed(0, Kind::Unfit)], &ALONE), Answer::GiveUp);
}

#[test]
fn a_prompt_that_is_too_long_goes_only_to_a_larger_window() {
    let windows = |window| after(&[failed(0, Kind::TooLong)], &Candidates { window, ..FOUR });
    assert_eq!(windows(&[8e3, 8e3, 0.0, 32e3]), Answer::Larger(3));
    assert_eq!(windows(&[8e3, 8e3, 0.0, 8e3]), Answer::GiveUp);
    // where the window that was too small is not known, one that is known is tried
    assert_eq!(windows(&[0.0, 0.0, 4e3, 0.0]), Answer::Larger(2));
}

#[test]
fn what_a_filter_refused_goes_only_to_whom_the_operator_names() {
    assert_eq!(after(&[failed(0, Kind::Filtered)], &FOUR), Answer::GiveUp);
    let named = Standing { after_filter: &[false, false, true, false], ..STANDING };
    assert_eq!(decide(&[failed(0, Kind::Filtered)], &FOUR, &named, &PATIENCE), Answer::Unfiltered(2));
    let failures = [failed(0, Kind::Filtered), failed(2, Kind::Broken)];
    let answer = decide(&failures, &FOUR, &named, &PATIENCE);
    assert!(matches!(answer, Answer::Again(2, _)), "{answer:?}");
}

#[test]
fn where_our_keys_are_refused_who_only_rests_is_asked() {
    let cooling = Candidates { cooldown: &[0.0, 9e4, 9e4, 8e4], ..FOUR };
    assert_eq!(after(&[failed(0, Kind::Refused)], &cooling), Answer::Anyway(3));
    // with the same keys it would be the same
    let same = Standing { providers: &[0; 4], ..STANDING };
    assert_eq!(decide(&[failed(0, Kind::Refused)], &cooling, &same, &PATIENCE), Answer::GiveUp);
    // who is over a limit may be asked too soon by nobody
    assert_eq!(after(&[failed(0, Kind::Limited)], &cooling), Answer::GiveUp);
}

#[test]
fn the_shortest_pause_is_waited_out_if_it_is_short() {
    let cooling = Candidates { cooldown: &[0.0, 500.0, 300.0, 9e5], ..FOUR };
    let failures = [failed(0, Kind::Unfit)];
    assert_eq!(after(&failures, &cooling), Answer::Wait(2, 300.0));
    let with = |patience| decide(&failures, &cooling, &STANDING, &patience);
    assert_eq!(with(Patience { longest_ms: 300.0, ..PATIENCE }), Answer::GiveUp);
    assert_eq!(with(Patience { left_ms: 300.0, ..PATIENCE }), Answer::GiveUp);
    assert_eq!(with(Patience { may_retry: false, ..PATIENCE }), Answer::GiveUp);
    // one that said when it may be asked again is asked again then, once
    assert_eq!(after(&[asked(0, Kind::Busy, 800.0)], &ALONE), Answer::Wait(0, 800.0));
    assert_eq!(after(&[asked(0, Kind::Busy, 800.0); 2], &ALONE), Answer::GiveUp);
    assert_eq!(after(&[failed(0, Kind::Busy)], &ALONE), Answer::GiveUp);
}

#[test]
fn one_that_rests_is_asked_when_the_well_ones_are_too_slow() {
    let late = |times: usize| vec![failed(0, Kind::Late); times];
    // the only one that does not rest was too slow
    let cooling = Candidates { cooldown: &[0.0, 9e4, 9e4, 8e4], ..FOUR };
    assert_eq!(after(&late(1), &cooling), Answer::Anyway(3));
    let broke = [failed(3, Kind::Broken), failed(0, Kind::Late)];
    assert_eq!(after(&broke, &cooling), Answer::Anyway(1), "whatever happened before");
    // it is the second that was too slow: no third, unless it is known to be quick
    let twice = [failed(0, Kind::Late), failed(3, Kind::Late)];
    assert_eq!(after(&twice, &cooling), Answer::GiveUp);
    let known = Candidates { usual_ms: &[0.0, 0.0, 200.0, 0.0], ..cooling };
    assert_eq!(after(&twice, &known), Answer::Anyway(2));
    let slow = Candidates { usual_ms: &[0.0, 900.0, 900.0, 900.0], ..cooling };
    assert_eq!(decide(&late(1), &slow, &STANDING, &Patience { left_ms: 900.0, ..PATIENCE }), Answer::GiveUp);
    let no_budget = Patience { may_retry: false, ..PATIENCE };
    assert_eq!(decide(&late(1), &cooling, &STANDING, &no_budget), Answer::GiveUp);
}

#[test]
fn one_that_rests_is_asked_when_all_others_broke() {
    let cooling = Candidates { cooldown: &[0.0, 9e4, 9e4, 8e4], ..FOUR };
    let broke = |times: usize| vec![failed(0, Kind::Broken); times];
    assert_eq!(after(&broke(1), &cooling), Answer::Again(0, 125.0), "one may break by chance");
    assert_eq!(after(&broke(2), &cooling), Answer::Anyway(3));
    assert_eq!(after(&[&broke(1)[..], &[failed(3, Kind::Broken)]].concat(), &cooling), Answer::Anyway(1));
    let never = Standing { same_again: 0, ..STANDING };
    assert_eq!(decide(&broke(1), &cooling, &never, &PATIENCE), Answer::Anyway(3));
    // a 503 without a word is a broken server as often as a busy one
    assert_eq!(after(&[failed(0, Kind::Busy)], &cooling), Answer::Anyway(3));
    for told in [asked(0, Kind::Busy, 9e4), asked(0, Kind::Limited, 9e4), failed(0, Kind::Limited)] {
        let failures = [failed(0, Kind::Broken), told];
        assert_eq!(after(&failures, &cooling), Answer::GiveUp, "those that are left are spared");
    }
    for patience in [Patience { left_ms: 0.0, ..PATIENCE }, Patience { may_retry: false, ..PATIENCE }] {
        assert_eq!(decide(&broke(2), &cooling, &STANDING, &patience), Answer::GiveUp);
    }
}

#[test]
fn one_that_broke_is_asked_again_after_a_random_pause_when_nobody_else_is_left() {
    assert_eq!(after(&[failed(0, Kind::Broken)], &ALONE), Answer::Again(0, 125.0));
    assert_eq!(after(&[failed(0, Kind::Broken); 2], &ALONE), Answer::GiveUp);
    let often = Standing { same_again: 3, ..STANDING };
    let again = |times: usize| decide(&vec![failed(0, Kind::Broken); times], &ALONE, &often, &PATIENCE);
    assert_eq!([again(2), again(3), again(4)], [Answer::Again(0, 250.0), Answer::Again(0, 500.0), Answer::GiveUp]);
}
