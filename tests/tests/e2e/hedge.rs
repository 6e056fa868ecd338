//! Two attempts at once: the first to answer wins, the other is let go, and each has one outcome. Told by a policy
//! that plans the hedge and counts what it is told, in the real engine.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::gateway::metric_in;
use witgate_tests::{CHAT, DONE, Gateway, Upstream, chat_events, eventually, gateway, guests, upstream};

const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";

#[tokio::test]
async fn the_first_to_answer_wins_and_the_slow_one_is_let_go() {
    let a = upstream().silent().start().await;
    let b = upstream().chat("hello").start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 50})).await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.text(), answer.deployment()), ("hello".to_owned(), Some("fast@b")));
    assert_eq!((answer.attempts(), answer.policy()), (Some("2"), Some("witness")));
    eventually("the slow upstream is let go", async || a.open_connections() == 0).await;
    assert_eq!((a.hits(), a.abandoned(), b.hits()), (1, 1, 1));
    told(&gateway, [[0, 0, 0, 1], [1, 0, 0, 0]]).await;
}

#[tokio::test]
async fn a_stream_is_won_by_the_first_event() {
    // its head comes at once, and then nothing
    let a = upstream().events([""; 0]).stall().start().await;
    let b = upstream().chat("one two").start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 50})).await;
    let stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.head.header("x-witgate-deployment"), Some("fast@b"));
    assert_eq!(stream.head.header("x-witgate-attempts"), Some("2"));
    assert_eq!(stream.rest().await, chat_events("one two"));
    eventually("the slow upstream is let go", async || a.open_connections() == 0).await;
    told(&gateway, [[0, 0, 0, 1], [1, 0, 0, 0]]).await;
}

#[tokio::test]
async fn the_first_may_still_win_after_the_hedge_has_begun() {
    let a = upstream().chat("late").delay(Duration::from_millis(400)).start().await;
    let b = upstream().silent().start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 50})).await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.text(), answer.deployment(), answer.attempts()), ("late".to_owned(), Some("fast@a"), Some("2")));
    eventually("the hedge is let go", async || b.open_connections() == 0 && b.hits() == 1).await;
    told(&gateway, [[1, 0, 0, 0], [0, 0, 0, 1]]).await;
}

#[tokio::test]
async fn a_hedge_does_not_begin_when_the_first_answers_in_time() {
    let a = upstream().start().await;
    let b = upstream().start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 5000})).await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.deployment(), answer.attempts(), b.hits()), (Some("fast@a"), Some("1"), 0));
    told(&gateway, [[1, 0, 0, 0], [0, 0, 0, 0]]).await;
}

#[tokio::test]
async fn a_first_that_fails_early_makes_the_hedge_a_failover() {
    let a = upstream().status(500).start().await;
    let b = upstream().start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 60_000})).await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.status, answer.deployment(), answer.attempts()), (200, Some("fast@b"), Some("2")));
    told(&gateway, [[0, 1, 0, 0], [1, 0, 0, 0]]).await;
}

#[tokio::test]
async fn a_winner_beside_a_failure_has_lost_nothing() {
    let a = upstream().status(500).delay(Duration::from_millis(300)).start().await;
    let b = upstream().events([FIRST]).stall().delay(Duration::from_millis(600)).start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 50})).await;
    let mut stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.head.header("x-witgate-deployment"), Some("fast@b"));
    assert_eq!(stream.head.header("x-witgate-attempts"), Some("2"));
    assert_eq!(stream.event().await, FIRST);
    drop(stream);
    eventually("the upstream is let go", async || b.open_connections() == 0).await;
    told(&gateway, [[0, 1, 0, 0], [0, 0, 1, 0]]).await;
}

#[tokio::test]
async fn when_both_fail_the_client_is_told_once() {
    let a = upstream().status(500).delay(Duration::from_millis(300)).start().await;
    let b = upstream().status(503).start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 50})).await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.status, answer.attempts(), answer.deployment()), (502, Some("2"), Some("fast@a")));
    told(&gateway, [[0, 1, 0, 0], [0, 1, 0, 0]]).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_both() {
    let a = upstream().silent().start().await;
    let b = upstream().silent().start().await;
    let gateway = witnessed([&a, &b], json!({"hedge_after_ms": 50})).await;
    let begun = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).begin().await;
    eventually("both are asked", async || (a.hits(), b.hits()) == (1, 1)).await;
    drop(begun);
    eventually("both are let go", async || a.open_connections() + b.open_connections() == 0).await;
    told(&gateway, [[0, 0, 1, 0], [0, 0, 1, 0]]).await;
}

/// Without a hedge: what an observer is told of every way in which an attempt can end.
#[tokio::test]
async fn an_observer_is_told_of_each_attempt_exactly_once() {
    let a = upstream().start().await;
    let b = upstream().start().await;
    let gateway = witnessed([&a, &b], json!({})).await;
    let mut expected = [[0, 0, 0, 0], [0, 0, 0, 0]];
    assert_eq!(gateway.chat("fast", "whole").await.status, 200);
    assert_eq!(gateway.stream("fast", "streamed").await.rest().await, chat_events("ok"));
    expected[0][0] += 2;
    told(&gateway, expected).await;

    a.becomes(upstream().status(500));
    assert_eq!(gateway.chat("fast", "failed over").await.deployment(), Some("fast@b"));
    a.becomes(upstream().status(400));
    assert_eq!(gateway.chat("fast", "refused").await.status, 400);
    a.becomes(upstream().events([FIRST]).cut());
    assert_eq!(gateway.stream("fast", "cut").await.rest().await.len(), 2);
    expected[0][1] += 3;
    expected[1][0] += 1;
    told(&gateway, expected).await;

    a.becomes(upstream().events([FIRST]).stall());
    let mut stream = gateway.stream("fast", "cancelled").await;
    assert_eq!(stream.event().await, FIRST);
    drop(stream);
    expected[0][2] += 1;
    told(&gateway, expected).await;

    let hits = a.hits();
    a.becomes(upstream().silent());
    let begun = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).begin().await;
    eventually("the upstream is asked", async || a.hits() == hits + 1).await;
    drop(begun);
    expected[0][2] += 1;
    told(&gateway, expected).await;

    // no attempt, no outcome
    assert_eq!(gateway.post(CHAT, "{").send().await.status, 400);
    assert_eq!(gateway.chat("nosuch", "hi").await.status, 404);
    a.becomes(upstream().events([FIRST, DONE]));
    assert_eq!(gateway.stream("fast", "the last").await.rest().await, [FIRST, DONE]);
    expected[0][0] += 1;
    told(&gateway, expected).await;
    let dropped = gateway.metric("witgate_observer_outcomes_dropped_total").await;
    assert_eq!(dropped, 0.0);
}

async fn witnessed(upstreams: [&Upstream; 2], settings: Value) -> Gateway {
    let chain = json!({"routes": {"fast": {"policies": [{"use": "witness", "settings": settings}]}}});
    let start = gateway().model("fast", upstreams).policy_file("witness", guests::WITNESS).config(chain).start();
    start.await
}

/// Waits until the policy has been told these outcomes, by deployment and ending; metrics and what is in flight must
/// say the same.
async fn told(gateway: &Gateway, expected: [[u64; 4]; 2]) {
    let mut seen = [[0; 4]; 2];
    eventually(&format!("the observer counts {expected:?}"), async || {
        for (deployment, counts) in seen.iter_mut().enumerate() {
            for (ending, count) in counts.iter_mut().enumerate() {
                *count = told_of(gateway, deployment, ending).await;
            }
        }
        assert!(seen.as_flattened().iter().sum::<u64>() <= expected.as_flattened().iter().sum(), "{seen:?}");
        seen == expected
    })
    .await;
    let metrics = gateway.get("/metrics").await;
    let text = metrics.body_text();
    for (deployment, [served, _, cancelled, lost]) in ["fast@a", "fast@b"].into_iter().zip(expected) {
        for (outcome, count) in [("served", served), ("cancelled", cancelled), ("hedge-lost", lost)] {
            let series = format!("witgate_attempts_total{{deployment=\"{deployment}\",outcome=\"{outcome}\"}}");
            assert_eq!(metric_in(text, &series), count as f64, "{series}");
        }
        let in_flight = format!("witgate_in_flight{{deployment=\"{deployment}\"}}");
        assert_eq!(metric_in(text, &in_flight), 0.0, "{deployment}");
    }
}

/// Asks the policy itself: see `tests/fixtures/witness`.
async fn told_of(gateway: &Gateway, deployment: usize, ending: usize) -> u64 {
    let question = 1_000_000 + deployment * 10 + ending;
    let body = json!({"model": "fast", "messages": [], "max_tokens": question}).to_string();
    let answer = gateway.post(CHAT, body).send().await;
    assert_eq!((answer.status, answer.error_message()), (429, "counted".to_owned()));
    answer.header("retry-after-ms").expect("a count").parse::<u64>().expect("a number") - 1
}
