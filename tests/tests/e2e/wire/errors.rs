//! Points 7, 10 and 11: errors, and when to come back.

use serde_json::{Value, json};
use witgate_tests::{Answer, CHAT, gateway, upstream};

#[tokio::test]
async fn wire_07_an_upstream_s_refusal_in_another_shape_is_told_in_openai_s() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = |message: &str, kind: &str, code: Value| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    let mine = "invalid_request_error";
    for (status, theirs, ours) in [
        (422, r#"{"detail":"field required"}"#, body("field required", mine, Value::Null)),
        (
            400,
            r#"{"object":"error","message":"No.","type":"BadRequestError","param":null,"code":400}"#,
            body("No.", "BadRequestError", json!("400")),
        ),
        (400, r#"{"error":"no such thing"}"#, body("no such thing", mine, Value::Null)),
        (413, "<html>Too Large</html>", body("<html>Too Large</html>", mine, Value::Null)),
        (400, "", body("status 400 and nothing more", mine, Value::Null)),
    ] {
        a.becomes(upstream().status(status).header("content-type", "text/html").body(theirs));
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!((answer.status, answer.json()), (status, ours), "{theirs}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{theirs}");
    }
}

#[tokio::test]
async fn wire_10_a_client_is_told_to_retry_only_where_it_would_wait_long_enough() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for (status, wait, should_retry) in [
        (429, Some("60"), Some("true")),
        // SDKs pass over such a wait and come back at once
        (429, Some("61"), Some("false")),
        (503, Some("5"), Some("true")),
        (503, None, Some("false")),
        (500, None, Some("false")),
        (409, None, Some("false")),
        (400, None, None),
    ] {
        let reply = upstream().status(status);
        a.becomes(match wait {
            Some(wait) => reply.header("retry-after", wait),
            None => reply,
        });
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (wait, should_retry), "{status}");
    }
}

#[tokio::test]
async fn wire_11_every_form_of_an_upstream_s_wait_is_understood() {
    let waits = |answer: &Answer| {
        let header = |name| answer.header(name).and_then(|value| value.parse::<u64>().ok());
        (answer.status, header("retry-after"), header("retry-after-ms"))
    };
    let asked = async |reply: witgate_tests::Reply| {
        let a = reply.start().await;
        waits(&gateway().model("fast", [&a]).start().await.chat("fast", "hi").await)
    };
    let limited = || upstream().status(429);
    assert_eq!(asked(limited().header("retry-after-ms", "1500")).await, (429, Some(2), Some(1500)));
    assert_eq!(asked(limited().header("x-ratelimit-reset-requests", "1m30s")).await, (429, Some(90), Some(90_000)));
    let google = r#"{"error":{"code":429,"message":"x","details":[{"retryDelay":"34s"}]}}"#;
    assert_eq!(asked(limited().body(google)).await, (429, Some(34), Some(34_000)));
    // without a word: as long as the gateway itself leaves it alone
    let (status, seconds, millis) = asked(limited()).await;
    assert_eq!((status, seconds), (429, Some(3)));
    assert!(millis.is_some_and(|millis| (2500..=3000).contains(&millis)), "{millis:?}");
}

#[tokio::test]
async fn wire_11_of_several_that_are_limited_the_first_to_be_free_counts() {
    let a = upstream().status(429).header("retry-after", "7").start().await;
    let b = upstream().status(429).header("retry-after", "50").start().await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.status, answer.attempts(), answer.header("retry-after")), (429, Some("2"), Some("7")));
}

#[tokio::test]
async fn wire_07_the_gateway_s_own_errors_have_all_four_keys_too() {
    let a = upstream().silent().start().await;
    let limits = json!({
        "server": {"body_limit": "1KiB", "request_timeout": "300ms"}, "auth": {"keys": [{"name": "me", "key": "sk-me"}]},
    });
    let gateway = gateway().model("fast", [&a]).config(limits).start().await;
    let ask = |method: &str, path: &str, body: &str| {
        gateway.request(method, path).json(body).header("authorization", "Bearer sk-me").send()
    };
    let good = r#"{"model":"fast","messages":[]}"#;
    let large = format!(r#"{{"model":"fast","messages":[],"pad":"{}"}}"#, "x".repeat(1024));
    let answers = [
        (400, ask("POST", CHAT, "{").await),
        (401, gateway.post(CHAT, good).send().await),
        (404, ask("POST", "/v1/nothing", good).await),
        (404, ask("POST", CHAT, r#"{"model":"none","messages":[]}"#).await),
        (405, ask("GET", CHAT, "").await),
        (413, ask("POST", CHAT, &large).await),
        (415, gateway.request("POST", CHAT).body(good).header("authorization", "Bearer sk-me").send().await),
        (504, ask("POST", CHAT, good).await),
    ];
    for (status, answer) in answers {
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/json")));
        let told = answer.json();
        let keys: Vec<_> = told["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{status}");
        assert_eq!(told.as_object().unwrap().len(), 1, "{status}");
        assert!(answer.header("x-request-id").is_some(), "{status}");
    }
}
