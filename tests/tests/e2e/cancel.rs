//! A client that goes away, wherever its request stands: the upstream is told within a second, nothing is kept, and
//! what was used is counted.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use witgate_tests::gateway::metric_in;
use witgate_tests::{CHAT, Upstream, eventually, gateway, guests, upstream};

use crate::program::Serving;

const ASK: &str = r#"{"model":"fast","messages":[]}"#;
const ASK_STREAM: &str = r#"{"model":"fast","messages":[],"stream":true}"#;

/// The line of the log that the request left.
async fn line(gateway: &Serving, id: &str) -> Value {
    let mut found = None;
    eventually("it is logged", async || {
        let log = gateway.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = lines.find(|line| line["request_id"] == id && line["message"] == "request");
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Long before any of the gateway's own timeouts.
async fn let_go(a: &Upstream) {
    eventually("the upstream is let go", async || a.open_connections() == 0).await;
}

fn ended(line: &Value) -> (&Value, &Value) {
    (&line["status"], &line["outcome"])
}

#[tokio::test]
async fn before_the_answer_begins() {
    let a = upstream().silent().start().await;
    let gateway = Serving::start(&gateway().model("fast", [&a]).write()).await;
    for (id, body) in [("whole", ASK), ("stream", ASK_STREAM)] {
        let hits = a.hits();
        let begun = gateway.request("POST", CHAT).header("x-request-id", id).json(body).begin().await;
        eventually("the upstream is asked", async || a.hits() == hits + 1).await;
        drop(begun);
        let_go(&a).await;
        assert_eq!(ended(&line(&gateway, id).await), (&json!(499), &json!("cancelled")), "{id}");
    }
    assert_eq!(a.abandoned(), 2);
    let metrics = gateway.request("GET", "/metrics").send().await;
    let metric = |series| metric_in(metrics.body_text(), series);
    assert_eq!(metric(r#"witgate_attempts_total{deployment="fast@a",outcome="cancelled"}"#), 2.0);
    assert_eq!(metric(r#"witgate_in_flight{deployment="fast@a"}"#), 0.0);
    assert_eq!(metric("witgate_body_bytes"), 0.0);
}

#[tokio::test]
async fn in_the_middle_of_a_stream_what_was_used_is_counted() {
    let a = upstream().chat("one two three four").by_permit().start().await;
    let gateway = Serving::start(&gateway().model("fast", [&a]).write()).await;
    a.let_go(2);
    let mut stream = gateway.request("POST", CHAT).header("x-request-id", "half").json(ASK_STREAM).stream().await;
    stream.event().await;
    stream.event().await;
    drop(stream);
    let_go(&a).await;
    let line = line(&gateway, "half").await;
    assert_eq!(ended(&line), (&json!(499), &json!("cancelled")));
    assert_eq!(line["tokens_out"], 2, "{line}");
    let metrics = gateway.request("GET", "/metrics").send().await;
    let series = r#"witgate_tokens_total{deployment="fast@a",direction="out"}"#;
    assert_eq!(metric_in(metrics.body_text(), series), 2.0);
}

#[tokio::test]
async fn while_the_body_is_read() {
    let a = upstream().start().await;
    let gateway = Serving::start(&gateway().model("fast", [&a]).write()).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-request-id: partial\r\ncontent-type: application/json\r\n\
         content-length: 100000\r\n\r\n{{"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&[b' '; 50_000]).await.unwrap();
    let bytes = async || {
        let metrics = gateway.request("GET", "/metrics").send().await;
        metric_in(metrics.body_text(), "witgate_body_bytes")
    };
    eventually("half of it is there", async || bytes().await > 0.0).await;
    drop(client);
    let line = line(&gateway, "partial").await;
    assert!([json!(499), json!(400)].contains(&line["status"]), "{line}");
    assert_eq!((bytes().await, a.hits()), (0.0, 0));
}

#[tokio::test]
async fn in_the_queue() {
    let a = upstream().silent().start().await;
    let limit = json!({"deployments": {"fast@a": {"max_concurrency": 1}}, "server": {"max_in_flight": 2}});
    let gateway = Serving::start(&gateway().model("fast", [&a]).config(limit).write()).await;
    let ask = |id: &str| gateway.request("POST", CHAT).header("x-request-id", id).json(ASK).begin();
    let metric = async |series: &str| {
        let metrics = gateway.request("GET", "/metrics").send().await;
        metric_in(metrics.body_text(), series)
    };
    let depth = r#"witgate_deployment_queue_depth{deployment="fast@a"}"#;
    let _inside = ask("inside").await;
    eventually("it runs", async || a.hits() == 1).await;
    let deployment = ask("deployment").await;
    eventually("it waits", async || metric(depth).await == 1.0).await;
    let gate = ask("gate").await;
    eventually("it waits", async || metric("witgate_queue_depth").await == 1.0).await;
    drop(gate);
    assert_eq!(ended(&line(&gateway, "gate").await), (&json!(499), &json!("cancelled")));
    drop(deployment);
    assert_eq!(ended(&line(&gateway, "deployment").await), (&json!(499), &json!("cancelled")));
    assert_eq!((metric(depth).await, metric("witgate_queue_depth").await, a.hits()), (0.0, 0.0, 1));
}

#[tokio::test]
async fn while_a_slow_policy_decides() {
    let a = upstream().silent().start().await;
    let chain = json!([{"use": "misbehave", "settings": {"how": "loop", "on_max_tokens": 666}}]);
    let config = json!({
        "routes": {"fast": {"policies": chain}},
        "policies": {"rules": {"misbehave": {"deadline": "500ms", "crash": {"failures": 1000}}}},
    });
    let gateway = gateway().model("fast", [&a]).policy_file("misbehave", guests::MISBEHAVE).config(config);
    let gateway = Serving::start(&gateway.write()).await;
    let body = r#"{"model":"fast","messages":[],"max_tokens":666}"#;
    // on the worker that serves the connection; then, since it was late, beside the workers
    for id in ["on-the-worker", "beside-it"] {
        let begun = gateway.request("POST", CHAT).header("x-request-id", id).json(body).begin().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(begun);
        assert_eq!(ended(&line(&gateway, id).await), (&json!(499), &json!("cancelled")), "{id}");
        // what the policy decides meanwhile reaches the upstream for a moment at most
        let_go(&a).await;
    }
    let metrics = gateway.request("GET", "/metrics").send().await;
    let metric = |series| metric_in(metrics.body_text(), series);
    assert_eq!((metric(r#"witgate_in_flight{deployment="fast@a"}"#), metric("witgate_body_bytes")), (0.0, 0.0));
}

#[tokio::test]
async fn between_two_attempts() {
    let a = upstream().status(503).header("retry-after", "1").start().await;
    let one = json!({"deployments": {"fast@a": {"max_concurrency": 1}}});
    let gateway = gateway().policies(&["in-order", "resilient"]).model("fast", [&a]).config(one);
    let gateway = Serving::start(&gateway.write()).await;
    let begun = gateway.request("POST", CHAT).header("x-request-id", "pause").json(ASK).begin().await;
    eventually("the first attempt fails", async || gateway.log().contains("attempt failed")).await;
    drop(begun);
    assert_eq!(ended(&line(&gateway, "pause").await), (&json!(499), &json!("cancelled")));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(a.hits(), 1, "nobody asks again for a client that has left");
    let metrics = gateway.request("GET", "/metrics").send().await;
    assert_eq!(metric_in(metrics.body_text(), r#"witgate_in_flight{deployment="fast@a"}"#), 0.0);
    // the place is free: without a client that leaves, the second attempt is made
    let answer = gateway.request("POST", CHAT).json(ASK).send().await;
    assert_eq!((answer.status, answer.attempts(), a.hits()), (503, Some("2"), 3));
}
