//! Small requests for embeddings that are sent as one.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::{Answer, Begun, Gateway, Reply, Upstream, eventually, gateway, upstream};

const EMBEDDINGS: &str = "/v1/embeddings";

async fn batching(reply: Reply, batch: Value) -> (Gateway, Upstream) {
    let a = upstream()
        .embeddings()
        .delay(Duration::from_millis(300))
        .to_body("\"first\"", upstream().embeddings().delay(Duration::from_millis(300)))
        .start()
        .await;
    a.becomes(reply.to_body("\"first\"", upstream().embeddings().delay(Duration::from_millis(300))));
    let gateway =
        gateway().model("fast", [&a]).config(json!({"providers": {"a": {"embedding_batch": batch}}})).start().await;
    (gateway, a)
}

/// One that runs, so that others wait for each other; it takes 300 ms.
async fn occupy(gateway: &Gateway, a: &Upstream) -> Begun {
    let before = a.hits();
    let begun = gateway.post(EMBEDDINGS, r#"{"model":"fast","input":"first"}"#).begin().await;
    eventually("the first one runs", async || a.hits() > before).await;
    begun
}

/// Asks for all at once; the answers are in their order.
async fn ask(gateway: &Gateway, bodies: &[Value]) -> Vec<Answer> {
    let asks = bodies.iter().map(|body| gateway.post(EMBEDDINGS, body.to_string()).send());
    futures_util::future::join_all(asks).await
}

fn on() -> Value {
    json!({"enabled": true, "window": "1s"})
}

fn body(input: Value) -> Value {
    json!({"model": "fast", "input": input})
}

#[tokio::test]
async fn requests_that_come_together_are_sent_as_one_and_each_gets_its_own_answer() {
    let (gateway, a) = batching(upstream().embeddings(), on()).await;
    let first = occupy(&gateway, &a).await;
    let bodies = [body(json!("a")), body(json!(["bbb", "cc"])), body(json!("dddd"))];
    let answers = ask(&gateway, &bodies).await;
    assert_eq!(first.answer().await.header("x-witgate-batched"), None);
    assert_eq!(a.hits(), 2, "they went when the first had ended");
    let mut inputs = a.last().json()["input"].as_array().unwrap().clone();
    inputs.sort_by_key(|text| text.as_str().unwrap().len());
    assert_eq!(inputs, ["a", "cc", "bbb", "dddd"]);
    assert_eq!(a.last().json()["model"], "real-fast");
    for (answer, lengths) in answers.iter().zip([&[1][..], &[3, 2], &[4]]) {
        assert_eq!((answer.status, answer.header("x-witgate-batched")), (200, Some("3")));
        assert_eq!((answer.attempts(), answer.deployment()), (Some("1"), Some("fast@a")));
        let data = answer.json()["data"].as_array().unwrap().clone();
        let got: Vec<_> = data.iter().map(|item| (item["index"].clone(), item["embedding"][0].clone())).collect();
        let wanted: Vec<_> = lengths.iter().enumerate().map(|(index, length)| (json!(index), json!(length))).collect();
        assert_eq!(got, wanted);
        let tokens: usize = lengths.iter().sum();
        assert!(answer.json()["usage"]["prompt_tokens"].as_u64().unwrap().abs_diff(tokens as u64) <= 2);
    }
    let tokens: u64 = answers.iter().map(|answer| answer.json()["usage"]["prompt_tokens"].as_u64().unwrap()).sum();
    assert_eq!(tokens, 10);
    assert_eq!(gateway.metric(r#"witgate_attempts_total{deployment="fast@a",outcome="served"}"#).await, 4.0);
    assert_eq!(gateway.metric(r#"witgate_tokens_total{deployment="fast@a",direction="in"}"#).await, 15.0);
}

#[tokio::test]
async fn ollama_s_own_api_is_sent_one_list_for_all() {
    let embeddings = || upstream().ollama_embeddings().delay(Duration::from_millis(300));
    let a = embeddings().start().await;
    let base_url = format!("http://{}", a.address());
    let own_api = json!({"providers": {"a": {"dialect": "ollama", "base_url": base_url, "embedding_batch": on()}}});
    let gateway = gateway().model("fast", [&a]).config(own_api).start().await;
    let first = occupy(&gateway, &a).await;
    let base64 = json!({"model": "fast", "input": "dddd", "encoding_format": "base64"});
    let bodies = [body(json!("a")), body(json!(["bbb", "cc"])), base64, body(json!([1, 2]))];
    let answers = ask(&gateway, &bodies).await;
    assert_eq!(first.answer().await.json()["data"][0]["embedding"], json!([5, 0]));
    // those that are alike; one that asks for base64 is another question, and tokens are refused
    let batched: Vec<_> = answers.iter().map(|answer| answer.header("x-witgate-batched")).collect();
    assert_eq!(batched, [Some("2"), Some("2"), None, None]);
    assert_eq!((a.hits_at("/api/embed"), a.hits()), (3, 3));
    assert_eq!(answers[0].json()["data"][0]["embedding"][0], json!(1));
    let second = answers[1].json();
    let lengths: Vec<_> = (0..2).map(|index| second["data"][index]["embedding"][0].clone()).collect();
    assert_eq!((&second["data"][1]["index"], lengths), (&json!(1), vec![json!(3), json!(2)]));
    let tokens = |answer: &Answer| answer.json()["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(tokens(&answers[0]) + tokens(&answers[1]), 6);
    assert!(answers[2].json()["data"][0]["embedding"].is_string());
    let told = (answers[3].status, answers[3].json()["error"]["param"].clone());
    assert_eq!(told, (400, json!("input (tokens)")));
}

#[tokio::test]
async fn one_after_the_other_they_go_alone_and_at_once() {
    let (gateway, a) = batching(upstream().embeddings(), json!({"enabled": true, "window": "1s"})).await;
    for hits in 1..4 {
        let started = std::time::Instant::now();
        let answer = gateway.post(EMBEDDINGS, body(json!("x")).to_string()).send().await;
        assert_eq!((answer.status, answer.header("x-witgate-batched"), a.hits()), (200, None, hits));
        assert!(started.elapsed() < Duration::from_millis(500));
    }
}

#[tokio::test]
async fn by_default_each_is_sent_by_itself() {
    let a = upstream().embeddings().delay(Duration::from_millis(50)).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let bodies = [body(json!("a")), body(json!("b")), body(json!("c"))];
    assert!(ask(&gateway, &bodies).await.iter().all(|answer| answer.header("x-witgate-batched").is_none()));
    assert_eq!(a.hits(), 3);
}

#[tokio::test]
async fn what_asks_for_something_else_is_not_sent_with_others() {
    let (gateway, a) = batching(upstream().embeddings(), on()).await;
    let first = occupy(&gateway, &a).await;
    let with = |key: &str, value: Value| {
        let mut body = body(json!("x"));
        body[key] = value;
        body
    };
    let bodies = [
        body(json!("a")),
        body(json!("b")),
        with("dimensions", json!(2)),
        with("user", json!("ann")),
        with("user", json!("bob")),
    ];
    let answers = ask(&gateway, &bodies).await;
    let batched: Vec<_> = answers.iter().map(|answer| answer.header("x-witgate-batched")).collect();
    assert_eq!(batched, [Some("2"), Some("2"), None, None, None]);
    first.answer().await;
    assert_eq!(a.hits(), 5);
}

#[tokio::test]
async fn a_window_ends_the_waiting() {
    let (gateway, a) = batching(upstream().embeddings(), json!({"enabled": true, "window": "50ms"})).await;
    let first = occupy(&gateway, &a).await;
    let answers = ask(&gateway, &[body(json!("a")), body(json!("b"))]).await;
    assert!(answers.iter().all(|answer| answer.header("x-witgate-batched") == Some("2")));
    assert_eq!(a.hits(), 2, "and the first still runs");
    drop(first);
}

#[tokio::test]
async fn no_more_are_sent_as_one_than_may_be() {
    for (limit, inputs, sizes) in [
        (json!({"items": 4}), [json!(["a", "b"]), json!(["c", "d"])], [Some("2"), Some("2")]),
        (json!({"items": 4}), [json!(["a", "b"]), json!(["c", "d", "e"])], [None, None]),
        (json!({"items": 4}), [json!("a"), json!(["b", "c", "d", "e", "f"])], [None, None]),
        // with their quotes
        (json!({"bytes": 1024}), [json!("a".repeat(510)), json!("b".repeat(510))], [Some("2"), Some("2")]),
        (json!({"bytes": 1024}), [json!("a".repeat(510)), json!("b".repeat(511))], [None, None]),
    ] {
        let mut batch = on();
        batch.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        let (gateway, a) = batching(upstream().embeddings(), batch).await;
        let first = occupy(&gateway, &a).await;
        let answers = ask(&gateway, &inputs.map(body)).await;
        let batched: Vec<_> = answers.iter().map(|answer| answer.header("x-witgate-batched")).collect();
        assert_eq!(batched, sizes, "{limit}");
        first.answer().await;
    }
}

#[tokio::test]
async fn one_that_is_wrong_fails_nobody_else() {
    let refused = upstream()
        .status(400)
        .body(r#"{"error":{"message":"Input content cannot be empty","type":"invalid_request_error"}}"#);
    let (gateway, a) = batching(upstream().embeddings().to_body("wrong", refused), on()).await;
    let first = occupy(&gateway, &a).await;
    let answers = ask(&gateway, &[body(json!("a")), body(json!("wrong")), body(json!("b"))]).await;
    first.answer().await;
    assert_eq!([200, 400, 200], [answers[0].status, answers[1].status, answers[2].status]);
    assert!(answers[1].body_text().contains("Input content cannot be empty"));
    // the first, all together, and each alone
    assert_eq!(a.hits(), 5);
    assert_eq!(gateway.metric(r#"witgate_attempts_total{deployment="fast@a",outcome="served"}"#).await, 3.0);
    assert_eq!(gateway.metric(r#"witgate_attempts_total{deployment="fast@a",outcome="bad-request"}"#).await, 1.0);
}

#[tokio::test]
async fn where_the_upstream_fails_each_fails_over_by_itself() {
    let b = upstream().embeddings().start().await;
    let a = upstream()
        .status(500)
        .to_body("\"first\"", upstream().embeddings().delay(Duration::from_millis(300)))
        .start()
        .await;
    let gateway =
        gateway().model("fast", [&a, &b]).config(json!({"providers": {"a": {"embedding_batch": on()}}})).start().await;
    let first = occupy(&gateway, &a).await;
    let answers = ask(&gateway, &[body(json!("a")), body(json!("bb"))]).await;
    first.answer().await;
    for answer in &answers {
        assert_eq!((answer.status, answer.attempts(), answer.deployment()), (200, Some("2"), Some("fast@b")));
    }
    assert_eq!((a.hits(), b.hits()), (2, 2));
    assert_eq!(gateway.metric(r#"witgate_attempts_total{deployment="fast@a",outcome="server-error"}"#).await, 2.0);
}

#[tokio::test]
async fn a_client_that_leaves_takes_only_its_own_part() {
    let (gateway, a) = batching(upstream().embeddings(), on()).await;
    let first = occupy(&gateway, &a).await;
    let leaving = gateway.post(EMBEDDINGS, body(json!("left")).to_string()).begin().await;
    let in_flight = r#"witgate_in_flight{deployment="fast@a"}"#;
    eventually("it waits", async || gateway.metric(in_flight).await == 2.0).await;
    drop(leaving);
    let cancelled = r#"witgate_attempts_total{deployment="fast@a",outcome="cancelled"}"#;
    eventually("it has left", async || gateway.metric(cancelled).await == 1.0).await;
    let answers = ask(&gateway, &[body(json!("a")), body(json!("bb"))]).await;
    first.answer().await;
    assert!(answers.iter().all(|answer| answer.header("x-witgate-batched") == Some("2")));
    assert!(!a.last().text().contains("left"));
}

#[tokio::test]
async fn the_last_that_leaves_ends_the_call() {
    let slow = upstream().embeddings().delay(Duration::from_secs(20));
    let (gateway, a) = batching(slow, json!({"enabled": true, "window": "50ms"})).await;
    let first = occupy(&gateway, &a).await;
    let [one, two] =
        [body(json!("a")), body(json!("bb"))].map(|body| gateway.post(EMBEDDINGS, body.to_string()).begin());
    let (one, two) = tokio::join!(one, two);
    eventually("they are sent", async || a.hits() == 2).await;
    assert_eq!(first.answer().await.status, 200);
    drop(one);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(a.abandoned(), 0, "somebody waits");
    drop(two);
    eventually("the upstream is told", async || a.abandoned() == 1).await;
}

#[tokio::test]
async fn numbers_become_base64_for_who_asks_for_it() {
    let (gateway, a) = batching(upstream().embeddings(), on()).await;
    let first = occupy(&gateway, &a).await;
    let base64 = |text: &str| json!({"model": "fast", "input": text, "encoding_format": "base64"});
    let answers = ask(&gateway, &[base64("a"), base64("bb")]).await;
    first.answer().await;
    // 1 and 0, 2 and 0 or 1: where each is among the two
    let packed = |answer: &Answer| answer.json()["data"][0]["embedding"].as_str().unwrap()[..6].to_owned();
    assert_eq!((packed(&answers[0]), packed(&answers[1])), ("AACAPw".to_owned(), "AAAAQA".to_owned()));
}
