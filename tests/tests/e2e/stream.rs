//! Streamed answers: each event as soon as it is there, exactly one end, and no half answer that looks whole.

use serde_json::json;
use witgate_tests::{CHAT, DONE, chat_events, eventually, gateway, upstream};

const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";
const SECOND: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"}}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

#[tokio::test]
async fn comments_and_usage_pass_through() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    let events = [FIRST, ": ping\n", LAST, usage, DONE];
    let a = upstream().events(events).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.stream("fast", "hi").await.rest().await.concat(), events.concat());
    let tokens = r#"witgate_tokens_total{deployment="fast@a",direction="out"}"#;
    eventually("tokens are counted as the upstream says", async || gateway.metric(tokens).await == 1.0).await;
}

#[tokio::test]
async fn an_error_in_the_first_event_fails_over() {
    let error =
        "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
    let a = upstream().events([error]).start().await;
    let b = upstream().start().await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    let stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.head.header("x-witgate-deployment"), Some("fast@b"));
    assert_eq!(stream.head.header("x-witgate-attempts"), Some("2"));
    assert_eq!(stream.rest().await, chat_events("ok"));
}

#[tokio::test]
async fn a_stream_without_an_answer_is_an_error_with_a_status() {
    let a = upstream().status(503).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answer = gateway.post(CHAT, r#"{"model":"fast","messages":[],"stream":true}"#).send().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.error_message(),
        "No deployment could answer (1 attempt); the last one, `fast@a`: upstream says 503"
    );
}

#[tokio::test]
async fn a_stream_that_is_cut_ends_with_an_error_and_no_end() {
    let a = upstream().events([FIRST, SECOND]).cut().start().await;
    let b = upstream().start().await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!(events[..2], [FIRST, SECOND]);
    assert_eq!(
        error_in(&events[2]),
        (
            "the answer broke off: error reading a body from connection: unexpected EOF during chunk size line".into(),
            "cut".into()
        )
    );
    assert_eq!((events.len(), b.hits()), (3, 0));
    let series = r#"witgate_attempts_total{deployment="fast@a",outcome="cut"}"#;
    eventually("it is counted", async || gateway.metric(series).await == 1.0).await;
}

#[tokio::test]
async fn a_stream_that_ends_without_a_finish_is_cut_too() {
    let a = upstream().events([FIRST]).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!((events.len(), &*events[0]), (2, FIRST));
    assert_eq!(
        error_in(&events[1]),
        ("the answer broke off: the stream ended without a finish_reason".into(), "cut".into())
    );
}

#[tokio::test]
async fn half_an_event_is_not_passed_on() {
    let whole = FIRST.replace("one", "\u{1f600}");
    for cut in [whole.find('\u{1f600}').unwrap() + 2, whole.len() - 1] {
        let a = upstream().events([SECOND.as_bytes(), &whole.as_bytes()[..cut]]).cut().start().await;
        let gateway = gateway().model("fast", [&a]).start().await;
        let events = gateway.stream("fast", "hi").await.rest().await;
        assert_eq!((events.len(), &*events[0]), (2, SECOND), "{cut}");
        assert_eq!(error_in(&events[1]).1, "cut", "{cut}");
    }
}

#[tokio::test]
async fn an_answer_is_whole_when_all_of_its_choices_are() {
    let other = FIRST.replace("\"index\":0", "\"index\":1");
    let a = upstream().events([FIRST, &other, LAST]).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!(events[..3], [FIRST, &other, LAST]);
    assert_eq!(
        error_in(&events[3]),
        ("the answer broke off: the stream ended without a finish_reason".into(), "cut".into())
    );
}

#[tokio::test]
async fn a_long_answer_that_breaks_off_is_no_whole_one() {
    let long = format!("{{\"choices\":[],\"x\":\"{}\"}}", "x".repeat(400_000));
    let a = upstream().body(long).cut().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let request = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#);
    let broken = request.try_send().await.expect_err("the connection breaks off within the answer");
    assert_eq!(broken.to_string(), "the connection was closed within a message");
}

#[tokio::test]
async fn a_stream_that_stalls_ends_with_an_error_after_the_idle_timeout() {
    let a = upstream().events([FIRST]).stall().start().await;
    let patience = json!({"providers": {"a": {"idle_timeout": "400ms"}}});
    let gateway = gateway().model("fast", [&a]).config(patience).start().await;
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!((events.len(), &*events[0]), (2, FIRST));
    assert_eq!(error_in(&events[1]), ("the answer stalled: nothing came for 400ms".into(), "stalled".into()));
    eventually("the upstream is let go", async || a.open_connections() == 0).await;
}

#[tokio::test]
async fn a_stream_that_outlasts_the_request_timeout_ends_with_an_error() {
    let a = upstream().events([FIRST]).stall().start().await;
    let gateway = gateway().model("fast", [&a]).config(json!({"server": {"request_timeout": "500ms"}})).start().await;
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!((events.len(), &*events[0]), (2, FIRST));
    assert_eq!(error_in(&events[1]).1, "deadline");
}

#[tokio::test]
async fn an_error_of_the_upstream_in_the_middle_is_passed_on_and_nothing_after_it() {
    let error =
        "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
    let a = upstream().events([FIRST, error]).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, error]);
    let series = r#"witgate_attempts_total{deployment="fast@a",outcome="error-in-stream"}"#;
    eventually("it is counted", async || gateway.metric(series).await == 1.0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_else() {
    let long = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(100_000));
    let a = upstream().events(vec![long; 200]).start().await;
    let gateway = gateway().model("slow", [&a]).start().await;
    let idle = gateway.stream("slow", "hi").await;
    a.becomes(upstream());
    assert_eq!(gateway.chat("slow", "hi").await.text(), "ok");
    drop(idle);
    eventually("the upstream is let go", async || a.open_connections() <= 1).await;
}

#[tokio::test]
async fn many_streams_at_once_do_not_mix() {
    let a = upstream().start().await;
    let b = upstream().chat("one two three four five").start().await;
    let gateway = gateway().model("fast", [&a]).model("long", [&b]).start().await;
    let streams = (0..60).map(|number| {
        let (model, text) = if number % 2 == 0 { ("fast", "ok") } else { ("long", "one two three four five") };
        let gateway = &gateway;
        async move { (gateway.stream(model, "hi").await.rest().await, chat_events(text)) }
    });
    for (got, expected) in futures_util::future::join_all(streams).await {
        assert_eq!(got, expected);
    }
}

/// Message and code of an error event, which has all four keys.
fn error_in(event: &str) -> (String, String) {
    let data = event.strip_prefix("data: ").and_then(|event| event.strip_suffix("\n\n")).expect("one line of data");
    let event: serde_json::Value = serde_json::from_str(data).expect("JSON");
    let error = event["error"].as_object().expect("an error");
    assert_eq!(error.keys().collect::<Vec<_>>(), ["message", "type", "param", "code"]);
    assert_eq!((&error["type"], &error["param"]), (&json!("server_error"), &json!(null)));
    let text = |key: &str| error[key].as_str().expect("a text").to_owned();
    (text("message"), text("code"))
}
