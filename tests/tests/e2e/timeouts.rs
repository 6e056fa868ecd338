//! Every step of an answer has a time of its own: what fits in goes through, what does not is told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::{Answer, CHAT, DONE, Gateway, Upstream, gateway, upstream};

const ASK: &str = r#"{"model":"fast","messages":[]}"#;
const ASK_STREAM: &str = r#"{"model":"fast","messages":[],"stream":true}"#;
const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const PING: &str = ": ping\n\n";

async fn with(a: &Upstream, config: Value) -> Gateway {
    gateway().model("fast", [a]).config(config).start().await
}

/// Every way to set a time for `fast@a`: at the provider, on the route, by the client.
fn everywhere(time: &str, value: &str) -> [(Value, Option<(String, String)>); 3] {
    let key = format!("{time}_timeout");
    let header = format!("x-witgate-{}-timeout", time.replace('_', "-"));
    [
        (json!({"providers": {"a": {&key: value}}}), None),
        (json!({"routes": {"fast": {&key: value}}}), None),
        (json!({}), Some((header, value.to_owned()))),
    ]
}

async fn ask(gateway: &Gateway, body: &str, header: Option<(String, String)>) -> Answer {
    let request = gateway.post(CHAT, body);
    match header {
        Some((name, value)) => request.header(&name, &value).send().await,
        None => request.send().await,
    }
}

/// Status, code and message of an error.
fn told(answer: &Answer) -> (u16, String, String) {
    let code = answer.json()["error"]["code"].as_str().expect("a code").to_owned();
    (answer.status, code, answer.error_message())
}

fn late(code: &str, why: &str) -> (u16, String, String) {
    let message = format!("No deployment could answer (1 attempt); the last one, `fast@a`: {why}");
    (504, code.to_owned(), message)
}

#[tokio::test]
async fn wire_17_the_head_of_an_answer_has_its_time() {
    let a = upstream().delay(Duration::from_millis(400)).start().await;
    for (config, header) in everywhere("first_byte", "200ms") {
        let gateway = with(&a, config).await;
        let answer = ask(&gateway, ASK, header).await;
        assert_eq!(told(&answer), late("first-byte-timeout", "no answer began within 200ms"));
    }
    for (config, header) in everywhere("first_byte", "5s") {
        assert_eq!(ask(&with(&a, config).await, ASK, header).await.status, 200);
    }
}

#[tokio::test]
async fn wire_17_the_first_event_has_a_time_of_its_own() {
    let a = upstream().start().await;
    let short_head = json!({"providers": {"a": {"first_byte_timeout": "5s"}}});
    for (config, header) in everywhere("first_token", "300ms") {
        // the head comes at once, and nothing after it
        a.becomes(upstream().events([""; 0]).stall());
        let gateway = gateway().model("fast", [&a]).config(short_head.clone()).config(config).start().await;
        let answer = ask(&gateway, ASK_STREAM, header).await;
        assert_eq!(told(&answer), late("first-token-timeout", "no event of the stream came within 300ms"));
    }
    // a model may think for longer than it may be silent later, and than it has for the head
    a.becomes(upstream().events([FIRST, LAST, DONE]).by_permit());
    let times = json!({"first_byte_timeout": "300ms", "first_token_timeout": "20s", "idle_timeout": "300ms"});
    let gateway = with(&a, json!({"providers": {"a": times}})).await;
    let (events, ()) = futures_util::future::join(async { gateway.stream("fast", "hi").await.rest().await }, async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        a.let_go(3);
    })
    .await;
    assert_eq!(events, [FIRST, LAST, DONE]);
}

#[tokio::test]
async fn wire_17_silence_within_an_answer_has_its_time() {
    for (config, header) in everywhere("idle", "300ms") {
        let a = upstream().events([FIRST]).stall().start().await;
        let gateway = with(&a, config).await;
        let answer = ask(&gateway, ASK_STREAM, header).await;
        assert_eq!(answer.body_text(), format!("{FIRST}{}", error("the answer stalled: nothing came for 300ms")));
    }
    for (config, header) in everywhere("idle", "5s") {
        let a = upstream().events([FIRST, LAST, DONE]).by_permit().start().await;
        let gateway = with(&a, config).await;
        let (answer, ()) = futures_util::future::join(ask(&gateway, ASK_STREAM, header), async {
            for _ in 0..3 {
                a.let_go(1);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
        .await;
        assert_eq!(answer.body_text(), [FIRST, LAST, DONE].concat());
    }
}

#[tokio::test]
async fn wire_17_comments_keep_a_stream_open_but_not_for_ever() {
    for (limit, complete) in [("600ms", false), ("20s", true)] {
        let pings = vec![PING; 12];
        let events = [vec![FIRST], pings, vec![LAST, DONE]].concat();
        let a = upstream().events(events.clone()).by_permit().start().await;
        let times = json!({"providers": {"a": {"idle_timeout": "500ms", "keep_alive_timeout": limit}}});
        let gateway = with(&a, times).await;
        let (answer, ()) = futures_util::future::join(ask(&gateway, ASK_STREAM, None), async {
            for _ in &events {
                a.let_go(1);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let text = answer.body_text();
        if complete {
            // a comment goes on with one line break, so that no client takes it for an event
            assert_eq!(text, events.concat().replace(PING, ": ping\n"));
        } else {
            let end = error("the answer stalled: nothing but keep-alives came for 600ms");
            assert!(text.starts_with(FIRST) && text.ends_with(&end) && !text.contains("[DONE]"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_client_may_give_a_request_less_time_and_not_more() {
    let a = upstream().silent().start().await;
    let gateway = with(&a, json!({"routes": {"fast": {"timeout": "2s"}}})).await;
    for (value, shortest, longest) in [("300ms", 300, 1_900), ("1h", 2_000, 20_000)] {
        let started = Instant::now();
        let answer = ask(&gateway, ASK, Some(("x-witgate-timeout".to_owned(), value.to_owned()))).await;
        assert_eq!(told(&answer), late("deadline", "the time for this request is over"), "{value}");
        let took = started.elapsed().as_millis();
        assert!((shortest..longest).contains(&took), "{value}: {took} ms");
    }
    let wrong = ask(&gateway, ASK, Some(("x-witgate-timeout".to_owned(), "soon".to_owned()))).await;
    assert_eq!(
        told(&wrong),
        (
            400,
            "invalid_header".to_owned(),
            "The header `x-witgate-timeout` is 'soon'; it takes seconds above 0, or a duration such as `30s`."
                .to_owned()
        )
    );
}

#[tokio::test]
async fn nothing_is_tried_for_a_client_of_the_sdk_that_has_hung_up_by_then() {
    let a = upstream().silent().start().await;
    let gateway = with(&a, json!({})).await;
    for (header, value) in [("x-stainless-timeout", "1"), ("x-stainless-read-timeout", "0.5")] {
        let answer = ask(&gateway, ASK, Some((header.to_owned(), value.to_owned()))).await;
        assert_eq!(told(&answer), late("deadline", "the time for this request is over"), "{header}");
    }
    // what has begun in time may go on for longer
    a.becomes(upstream().events([FIRST, LAST, DONE]).by_permit());
    let request = gateway.post(CHAT, ASK_STREAM).header("x-stainless-timeout", "1");
    a.let_go(1);
    let mut stream = request.stream().await;
    assert_eq!(stream.event().await, FIRST);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    a.let_go(2);
    assert_eq!(stream.rest().await, [LAST, DONE]);
}

/// The event that ends a stream which stalled.
fn error(message: &str) -> String {
    let error = json!({"error": {"message": message, "type": "server_error", "param": null, "code": "stalled"}});
    format!("data: {error}\n\n")
}
