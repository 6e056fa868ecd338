use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::outcome::Asked;

mod recovery;

fn served(ttft: u64, latency: u64, tokens_out: u32) -> Outcome {
    Outcome {
        decision: 0,
        attempt: 0,
        target: 0,
        tag: 0,
        ending: Ending::Served,
        failure: None,
        status: 200,
        retry_after: None,
        ttft: Some(Duration::from_millis(ttft)),
        latency: Duration::from_millis(latency),
        tokens_in: 10,
        tokens_out,
        cached_tokens: 0,
        cache_write_tokens: 0,
        reasoning_tokens: 0,
        usd: 0.0,
        asked: Asked { streaming: true, ..Asked::default() },
    }
}

fn failed(kind: FailureKind, retry_after: Option<u64>) -> Outcome {
    Outcome {
        ending: Ending::Failed,
        failure: Some(kind),
        retry_after: retry_after.map(Duration::from_secs),
        ttft: None,
        ..served(0, 1, 0)
    }
}

fn finish(live: &Arc<Live>, outcome: &Outcome, at: u64) {
    live.begin(0, Millis(at)).finish(outcome, Millis(at));
}

#[test]
fn an_attempt_is_in_flight_until_it_is_dropped() {
    let live = Arc::new(Live::default());
    let one = live.begin(100, Millis(0));
    let two = live.begin(50, Millis(0));
    assert_eq!((live.in_flight(), live.tokens_in_flight()), (2, 150));
    drop(one);
    two.finish(&served(5, 10, 3), Millis(10));
    assert_eq!((live.in_flight(), live.tokens_in_flight(), live.samples()), (0, 0, 1));
}

#[test]
fn the_first_sample_is_the_mean_and_later_ones_move_it_by_time() {
    let live = Arc::new(Live::default());
    finish(&live, &served(100, 200, 0), 0);
    assert_eq!((live.ttft_ms(), live.latency_ms()), (100.0, 200.0));
    // after one decay time the old value keeps 1/e
    finish(&live, &served(200, 400, 0), 10_000);
    let kept = (-1.0_f64).exp();
    assert!((live.ttft_ms() - (100.0 * kept + 200.0 * (1.0 - kept))).abs() < 1e-9);
}

#[test]
fn a_peak_counts_at_once_and_fades_while_nothing_ends() {
    let live = Arc::new(Live::default());
    finish(&live, &served(50, 60, 0), 0);
    finish(&live, &served(900, 910, 0), 10);
    assert_eq!(live.ttft_peak_ms(Millis(10)), 900.0);
    finish(&live, &served(50, 60, 0), 20);
    assert!(live.ttft_peak_ms(Millis(20)) > 890.0);
    assert!(live.ttft_peak_ms(Millis(30_020)) < 50.0);
}

#[test]
fn a_failure_counts_as_what_the_provider_asked_for_or_five_seconds() {
    let live = Arc::new(Live::default());
    finish(&live, &failed(FailureKind::ServerError, None), 0);
    assert_eq!((live.ttft_peak_ms(Millis(0)), live.cooldown_ms(Millis(0))), (5_000.0, 0.0));
    finish(&live, &failed(FailureKind::RateLimited, Some(30)), 0);
    assert_eq!((live.ttft_peak_ms(Millis(0)), live.cooldown_ms(Millis(0))), (30_000.0, 30_000.0));
    // a shorter pause afterwards does not shorten the longer one; a longer one than 5 min is cut
    finish(&live, &failed(FailureKind::RateLimited, Some(1)), 0);
    assert_eq!(live.cooldown_ms(Millis(0)), 30_000.0);
    finish(&live, &failed(FailureKind::Overloaded, Some(3_600)), 0);
    assert_eq!((live.cooldown_ms(Millis(0)), live.cooldown_ms(Millis(300_000))), (300_000.0, 0.0));
    assert_eq!(live.consecutive_failures(), 4);
    finish(&live, &served(5, 5, 0), 1);
    assert_eq!(live.consecutive_failures(), 0);
}

#[test]
fn one_that_failed_counts_for_one_request_as_unknown_once_it_answers_a_probe() {
    let live = Arc::new(Live::default());
    let interval = Duration::from_secs(3);
    finish(&live, &served(100, 110, 0), 1_000);
    finish(&live, &failed(FailureKind::ServerError, None), 2_000);
    assert_eq!([4_999, 5_000].map(|now| live.is_doubtful(interval, Millis(now))), [false, true]);
    live.probed(false, Millis(5_000));
    assert!(live.ttft_peak_ms(Millis(5_000)) > 3_000.0);
    live.probed(true, Millis(8_000));
    assert_eq!(live.ttft_peak_ms(Millis(8_000)), 0.0);
    let chance = live.begin(0, Millis(8_010));
    assert!(live.ttft_peak_ms(Millis(8_010)) > 2_000.0, "the others wait for what comes of it");
    chance.finish(&served(120, 130, 0), Millis(8_140));
    assert_eq!(live.ttft_peak_ms(Millis(8_140)), 120.0);
    assert!(!live.is_doubtful(interval, Millis(20_000)));
}

#[test]
fn a_request_that_is_slower_by_noise_proves_all_the_same_that_it_is_well() {
    for (ttft, is_well) in [(54, true), (55, false)] {
        let live = Arc::new(Live::default());
        (0..20).for_each(|number| finish(&live, &served(2, 2, 0), 50 * number));
        finish(&live, &failed(FailureKind::ServerError, None), 2_000);
        live.probed(true, Millis(5_000));
        let chance = live.begin(0, Millis(5_010));
        chance.finish(&served(ttft, 60, 0), Millis(5_070));
        assert_eq!(live.ttft_peak_ms(Millis(5_070)) == ttft as f64, is_well, "after {ttft} ms");
    }
}

#[test]
fn one_that_has_never_answered_counts_as_unknown_too() {
    let live = Arc::new(Live::default());
    finish(&live, &failed(FailureKind::Connect, None), 1_000);
    live.probed(true, Millis(4_000));
    assert_eq!(live.ttft_peak_ms(Millis(4_000)), 0.0);
    finish(&live, &failed(FailureKind::Connect, None), 4_010);
    assert_eq!(live.ttft_peak_ms(Millis(4_010)), 5_000.0);
}

#[test]
fn one_that_is_slower_than_usual_is_doubtful_too() {
    let live = Arc::new(Live::default());
    let doubtful = |now| live.is_doubtful(Duration::from_secs(3), Millis(now));
    (0..20).for_each(|number| finish(&live, &served(100, 110, 0), 50 * number));
    finish(&live, &served(250, 260, 0), 2_000);
    assert_eq!([4_999, 5_000].map(doubtful), [false, false], "in three seconds it has faded");
    finish(&live, &served(400, 410, 0), 5_000);
    assert_eq!([7_999, 8_000, 15_000].map(doubtful), [false, true, false]);
}

#[test]
fn a_bad_request_does_not_speak_against_the_deployment() {
    let live = Arc::new(Live::default());
    finish(&live, &failed(FailureKind::BadRequest, None), 0);
    finish(&live, &failed(FailureKind::ContextLength, None), 0);
    assert_eq!((live.consecutive_failures(), live.error_rate(), live.samples()), (0, 0.0, 2));
    finish(&live, &failed(FailureKind::Connect, None), 0);
    assert_eq!((live.consecutive_failures(), live.error_rate()), (1, 1.0));
}

#[test]
fn the_last_minute_slides_and_takes_the_true_tokens() {
    let live = Arc::new(Live::default());
    live.begin(1_000, Millis(0)).finish(&served(1, 1, 90), Millis(30_000));
    assert_eq!((live.requests_per_minute(Millis(30_000)), live.tokens_per_minute(Millis(30_000))), (1.0, 100.0));
    assert_eq!(live.tokens_per_minute(Millis(90_000)), 50.0);
    assert_eq!(live.tokens_per_minute(Millis(120_000)), 0.0);
    // an attempt that was only cancelled leaves its estimate: the provider may have counted it
    drop(live.begin(40, Millis(180_000)));
    assert_eq!(live.tokens_per_minute(Millis(180_000)), 40.0);
}

#[test]
fn quantiles_are_within_five_percent_and_forget_after_a_minute() {
    let live = Arc::new(Live::default());
    for sample in 1..=64 {
        finish(&live, &served(sample * 10, 1_000, 0), 0);
    }
    let [p50, p90, p99] = live.ttft_quantiles();
    for (got, exact) in [(p50, 320.0), (p90, 580.0), (p99, 640.0)] {
        assert!((got / exact - 1.0).abs() < 0.06, "{got} is not near {exact}");
    }
    finish(&live, &served(20, 20, 0), 61_000);
    assert!((live.ttft_quantiles()[2] / 20.0 - 1.0).abs() < 0.06);
}

#[test]
fn throughput_leaves_the_wait_for_the_first_token_out() {
    let live = Arc::new(Live::default());
    finish(&live, &served(1_000, 2_000, 50), 0);
    assert_eq!(live.tokens_per_second(), 50.0);
}
