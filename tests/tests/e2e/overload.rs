//! More requests than can be carried out: who runs, who waits, who is turned away, and what they are told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::client::Begun;
use witgate_tests::{CHAT, Gateway, Upstream, eventually, gateway, in_time, upstream};

use crate::program::Serving;

const ASK: &str = r#"{"model":"fast","messages":[]}"#;
const ASK_STREAM: &str = r#"{"model":"fast","messages":[],"stream":true}"#;

/// A slow upstream, so that requests are in flight for as long as a test needs.
async fn slow() -> Upstream {
    upstream().delay(Duration::from_millis(600)).start().await
}

async fn begin(gateway: &Gateway) -> Begun {
    gateway.post(CHAT, ASK).begin().await
}

fn overloaded(message: &str) -> Value {
    json!({"error": {"message": message, "type": "server_error", "param": null, "code": "overloaded"}})
}

async fn waiting(gateway: &Gateway, series: &str, count: f64) {
    eventually("they wait", async || gateway.metric(series).await == count).await;
}

#[tokio::test]
async fn a_deployment_carries_out_no_more_than_it_may_and_the_others_wait() {
    let a = slow().await;
    let limit = json!({"deployments": {"fast@a": {"max_concurrency": 2}}});
    let gateway = gateway().model("fast", [&a]).config(limit).start().await;
    let answers = futures_util::future::join_all((0..6).map(|_| gateway.chat("fast", "hi")));
    let most = async {
        let mut most = 0;
        while a.hits() < 6 {
            most = most.max(a.open_connections());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        most
    };
    let (answers, most) = in_time(futures_util::future::join(answers, most)).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(most, 2);
    assert_eq!(gateway.metric(r#"witgate_queue_wait_seconds_count{queue="deployment"}"#).await, 6.0);
    assert_eq!(gateway.metric(r#"witgate_deployment_queue_depth{deployment="fast@a"}"#).await, 0.0);
}

#[tokio::test]
async fn a_full_deployment_is_left_for_the_next_without_harm_to_its_name() {
    let a = slow().await;
    let b = upstream().chat("spare").start().await;
    let limit = json!({"deployments": {"fast@a": {"max_concurrency": 1}}, "server": {"queue": {"length": 0}}});
    let gateway = gateway().model("fast", [&a, &b]).config(limit).start().await;
    let first = begin(&gateway).await;
    eventually("it runs", async || a.hits() == 1).await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.text(), answer.attempts()), ("spare".to_owned(), Some("2")));
    assert_eq!(first.answer().await.deployment(), Some("fast@a"));
    assert_eq!(gateway.metric(r#"witgate_shed_total{queue="deployment",reason="full"}"#).await, 1.0);
    // it was no attempt: nothing was sent
    assert_eq!(gateway.metric(r#"witgate_attempts_total{deployment="fast@a",outcome="queue-full"}"#).await, 0.0);
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn whoever_finds_all_deployments_full_is_told_when_to_come_back() {
    let a = upstream().silent().start().await;
    let limit = json!({
        "deployments": {"fast@a": {"max_concurrency": 1}}, "server": {"queue": {"length": 1, "timeout": "300ms"}},
    });
    let gateway = gateway().model("fast", [&a]).config(limit).start().await;
    let _inside = begin(&gateway).await;
    eventually("it runs", async || a.hits() == 1).await;
    let in_line = begin(&gateway).await;
    waiting(&gateway, r#"witgate_deployment_queue_depth{deployment="fast@a"}"#, 1.0).await;
    let turned = gateway.chat("fast", "hi").await;
    let too_long = in_line.answer().await;
    for (answer, reason) in [(turned, "full"), (too_long, "timeout")] {
        assert_eq!(answer.status, 503, "{reason}");
        assert_eq!(
            answer.json(),
            json!({"error": {
                "message": "No deployment could answer (1 attempt); the last one, `fast@a`: The request was not sent: no \
                            slot of the deployment (`max_concurrency`) was free in time, or too many waited for one.",
                "type": "server_error", "param": null, "code": "queue-full",
            }}),
            "{reason}"
        );
        assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("1"), Some("true")));
        let series = format!("witgate_shed_total{{queue=\"deployment\",reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&series).await, 1.0, "{reason}");
    }
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn the_gateway_lets_in_as_many_as_may_and_tells_the_others() {
    let a = upstream().silent().start().await;
    let limit = json!({"server": {"max_in_flight": 1, "queue": {"length": 1, "timeout": "500ms"}}});
    let gateway = gateway().model("fast", [&a]).config(limit).start().await;
    let inside = begin(&gateway).await;
    eventually("it runs", async || a.hits() == 1).await;
    let in_line = begin(&gateway).await;
    waiting(&gateway, "witgate_queue_depth", 1.0).await;
    assert_eq!(gateway.metric("witgate_admitted_requests").await, 1.0);
    let turned = gateway.chat("fast", "hi").await;
    assert_eq!(
        (turned.status, turned.json()),
        (
            503,
            overloaded(
                "The gateway is busy: as many requests run and wait as may (`server.max_in_flight`, `server.queue.length`)."
            )
        )
    );
    assert_eq!((turned.header("retry-after"), turned.header("x-should-retry")), (Some("1"), Some("true")));
    let too_long = in_line.answer().await;
    assert_eq!(
        (too_long.status, too_long.json()),
        (503, overloaded("The gateway is busy: the request's turn did not come in time (`server.queue.timeout`)."))
    );
    // and who goes away makes room
    drop(inside);
    a.becomes(upstream());
    eventually("it runs", async || gateway.chat("fast", "hi").await.status == 200).await;
    for outcome in ["queue-full", "queue-timeout"] {
        let series = format!("witgate_requests_total{{endpoint=\"chat\",outcome=\"{outcome}\",route=\"\"}}");
        assert!(gateway.metric(&series).await >= 1.0, "{outcome}");
    }
}

#[tokio::test]
async fn more_urgent_requests_go_first_and_take_the_place_of_less_urgent_ones() {
    let a = upstream().silent().start().await;
    let config = json!({
        "server": {"max_in_flight": 1, "queue": {"length": 1}},
        "auth": {"keys": [{"name": "batch", "key": "sk-low", "priority": "low"}, {"name": "chat", "key": "sk-high", "priority": "high"}]},
    });
    let gateway = gateway().model("fast", [&a]).config(config).start().await;
    let ask = |key: &str| gateway.post(CHAT, ASK).header("x-api-key", key);
    let inside = ask("sk-low").begin().await;
    eventually("it runs", async || a.hits() == 1).await;
    let low = ask("sk-low").begin().await;
    waiting(&gateway, "witgate_queue_depth", 1.0).await;
    // a key's own priority is the highest that its requests may have
    let asked = ask("sk-low").header("x-witgate-priority", "high").send().await;
    assert_eq!(asked.status, 503);
    let high = ask("sk-high").begin().await;
    let displaced = low.answer().await;
    assert_eq!(
        (displaced.status, displaced.json()),
        (503, overloaded("The gateway is busy: a more urgent request took this one's place in the queue."))
    );
    a.becomes(upstream().chat("urgent"));
    drop(inside);
    assert_eq!(high.answer().await.text(), "urgent");
    assert_eq!(gateway.metric(r#"witgate_shed_total{queue="gateway",reason="displaced"}"#).await, 1.0);
    let wrong = ask("sk-high").header("x-witgate-priority", "urgent").send().await;
    assert_eq!(
        (wrong.status, wrong.error_message()),
        (400, "The header `x-witgate-priority` is 'urgent'; it takes `low`, `normal` or `high`.".to_owned())
    );
}

#[tokio::test]
async fn the_time_to_come_back_is_told_from_the_queue_s_own_pace() {
    let a = upstream().delay(Duration::from_millis(1500)).start().await;
    let limit = json!({"server": {"max_in_flight": 1, "queue": {"length": 3}}});
    let gateway = gateway().model("fast", [&a]).config(limit).start().await;
    let mut in_line = Vec::new();
    for _ in 0..4 {
        in_line.push(begin(&gateway).await);
    }
    waiting(&gateway, "witgate_queue_depth", 3.0).await;
    // one ends after 1.5 s, so that two wait; one more fills the line
    waiting(&gateway, "witgate_queue_depth", 2.0).await;
    in_line.push(begin(&gateway).await);
    waiting(&gateway, "witgate_queue_depth", 3.0).await;
    let turned = gateway.chat("fast", "hi").await;
    assert_eq!(turned.status, 503);
    let told: u64 = turned.header("retry-after-ms").and_then(|wait| wait.parse().ok()).expect("a number");
    // four times 1.5 s, and what passed since; a busy machine may be slower
    assert!((5_500..15_000).contains(&told), "{told} ms");
    drop(in_line);
}

#[tokio::test]
async fn bodies_take_no_more_memory_than_they_may() {
    let a = upstream().silent().start().await;
    let limit = json!({"server": {"body_limit": "64KiB", "body_memory": "100KiB"}});
    let gateway = gateway().model("fast", [&a]).config(limit).start().await;
    let large = format!("{{\"model\":\"fast\",\"messages\":[],\"x\":\"{}\"}}", "x".repeat(60_000));
    let inside = gateway.post(CHAT, large.clone()).begin().await;
    eventually("it runs", async || a.hits() == 1).await;
    assert_eq!(gateway.metric("witgate_body_bytes").await, large.len() as f64);
    let turned = gateway.post(CHAT, large.clone()).send().await;
    assert_eq!(
        (turned.status, turned.json()),
        (
            503,
            overloaded(
                "The gateway is busy: the requests in flight take all the memory for bodies (`server.body_memory`)."
            )
        )
    );
    assert_eq!((turned.header("retry-after"), turned.header("x-should-retry")), (Some("1"), Some("true")));
    assert_eq!(gateway.metric(r#"witgate_shed_total{queue="bodies",reason="memory"}"#).await, 1.0);
    drop(inside);
    eventually("it is free again", async || gateway.metric("witgate_body_bytes").await == 0.0).await;
    a.becomes(upstream());
    assert_eq!(gateway.post(CHAT, large).send().await.status, 200);
}

#[tokio::test]
async fn a_client_that_reads_nothing_frees_the_slot() {
    // far more than sockets buffer
    let event = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(200_000));
    let a = upstream().events(vec![event; 400]).start().await;
    let config = json!({
        "server": {"write_timeout": "700ms"}, "deployments": {"fast@a": {"max_concurrency": 1}},
    });
    let gateway = Serving::start(&gateway().model("fast", [&a]).config(config).write()).await;
    let started = Instant::now();
    let deaf = gateway.request("POST", CHAT).json(ASK_STREAM).begin().await;
    eventually("it runs", async || a.hits() == 1).await;
    // it waits for the slot, and gets it
    let waiting = gateway.request("POST", CHAT).json(ASK_STREAM).stream().await;
    assert_eq!(waiting.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(700), "{:?}", started.elapsed());
    assert_eq!(a.abandoned(), 1);
    drop(deaf);
}

#[tokio::test]
async fn a_stream_of_http2_that_nobody_reads_frees_the_slot() {
    let event = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(200_000));
    let a = upstream().events(vec![event; 400]).start().await;
    let config = json!({"server": {"write_timeout": "700ms"}});
    let gateway = Serving::start(&gateway().model("fast", [&a]).config(config).write()).await;
    let url = format!("http://{}{CHAT}", gateway.address);
    // it takes a little, and then nothing as long as nobody reads its pipe
    let mut curl = std::process::Command::new("curl")
        .args(["-sN", "--http2-prior-knowledge", "--max-time", "60", "-H", "content-type: application/json"])
        .args(["-d", ASK_STREAM, &url])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("curl runs");
    eventually("the upstream is let go", async || a.abandoned() == 1).await;
    curl.kill().unwrap();
    curl.wait().unwrap();
}

#[tokio::test]
async fn health_sends_nothing_to_the_full_while_another_has_room() {
    let (a, b) = (slow().await, slow().await);
    let one = json!({"max_concurrency": 1});
    let limits = json!({"deployments": {"fast@a": one, "fast@b": one}});
    let gateway = gateway().policies(&["health", "in-order"]).model("fast", [&a, &b]).config(limits).start().await;
    let first = begin(&gateway).await;
    eventually("it runs", async || a.hits() == 1).await;
    let second = begin(&gateway).await;
    eventually("the second goes where there is room", async || b.hits() == 1).await;
    // when all are full, one is waited for
    let third = begin(&gateway).await;
    waiting(&gateway, r#"witgate_deployment_queue_depth{deployment="fast@a"}"#, 1.0).await;
    for (begun, deployment) in [(first, "fast@a"), (second, "fast@b"), (third, "fast@a")] {
        let answer = begun.answer().await;
        assert_eq!((answer.status, answer.deployment()), (200, Some(deployment)));
    }
}
