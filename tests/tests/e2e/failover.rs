//! What happens when a deployment does not answer: who is tried next, and what the client is told in the end.

use std::time::Duration;

use serde_json::json;
use witgate_tests::redis::free_address;
use witgate_tests::{CHAT, chat_body, error_body, eventually, gateway, upstream};

#[tokio::test]
async fn rate_limited_deployment_fails_over_to_the_next() {
    let a = upstream().status(429).start().await;
    let b = upstream().chat("hello").start().await;
    let gateway = gateway().model("fast", [&a, &b]).policy("in-order").start().await;
    assert_eq!(gateway.chat("fast", "hi").await.text(), "hello");
    assert_eq!((a.hits(), b.hits()), (1, 1));
}

#[tokio::test]
async fn whatever_speaks_against_the_deployment_fails_over() {
    let a = upstream().start().await;
    let b = upstream().chat("hello").start().await;
    let patience = json!({"providers": {"a": {"first_byte_timeout": "500ms", "idle_timeout": "500ms"}}});
    let gateway = gateway().model("fast", [&a, &b]).config(patience).start().await;
    let whole = chat_body("ok").len();
    let bad = [
        (upstream().status(500), "server-error"),
        (upstream().status(502), "server-error"),
        (upstream().status(503), "overloaded"),
        (upstream().status(529), "overloaded"),
        (upstream().status(429), "rate-limited"),
        (upstream().status(401), "unauthorised"),
        (upstream().status(403), "unauthorised"),
        (upstream().status(404), "model-not-found"),
        (upstream().status(302).header("location", "/elsewhere"), "malformed"),
        (upstream().reset(), "reset"),
        (upstream().cut(), "cut"),
        (upstream().content_length(whole + 1), "cut"),
        (upstream().content_length(whole / 2), "malformed"),
        (upstream().body("<html>"), "malformed"),
        (upstream().body(""), "malformed"),
        (upstream().body(error_body("inside a 200")), "error-in-stream"),
        (upstream().silent(), "first-byte-timeout"),
        (upstream().stall(), "stalled"),
    ];
    for (reply, kind) in bad {
        let series = format!("witgate_attempts_total{{deployment=\"fast@a\",outcome=\"{kind}\"}}");
        let before = gateway.metric(&series).await;
        a.becomes(reply.clone());
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!((answer.status, answer.attempts()), (200, Some("2")), "{reply:?}: {}", answer.body_text());
        assert_eq!((answer.deployment(), answer.text()), (Some("fast@b"), "hello".to_owned()), "{reply:?}");
        assert_eq!(gateway.metric(&series).await, before + 1.0, "{kind} for {reply:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_wrong_in_itself_is_not_tried_again_and_the_upstream_explains() {
    let a = upstream().start().await;
    let b = upstream().start().await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    for status in [400, 409, 413, 422] {
        let body = format!("{{\"error\": {{\"message\" : \"no {status}\", \"extra\": 1.0}}}}");
        a.becomes(upstream().status(status).body(body.as_str()));
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!((answer.status, answer.body_text()), (status, body.as_str()));
        assert_eq!((answer.deployment(), answer.attempts()), (Some("fast@a"), Some("1")));
    }
    assert_eq!(b.hits(), 0);
}

#[tokio::test]
async fn a_dead_port_is_one_attempt() {
    let b = upstream().chat("hello").start().await;
    let gateway = gateway().model_at("fast", &[free_address(), b.address()]).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.text(), answer.attempts()), ("hello".to_owned(), Some("2")));
}

#[tokio::test]
async fn when_nobody_listens_the_client_is_told_where_and_what() {
    let gateway = gateway().model_at("fast", &[free_address(), free_address()]).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.json(),
        json!({"error": {
            // addresses are for the log
            "message": "No deployment could answer (2 attempts); the last one, `fast@b`: No connection: refused, \
                        unreachable, name not found, TLS.",
            "type": "server_error", "param": null, "code": "connect",
        }})
    );
    assert_eq!(
        (answer.deployment(), answer.attempts(), answer.policy()),
        (Some("fast@b"), Some("2"), Some("in-order"))
    );
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn the_last_failure_gives_the_status() {
    let a = upstream().start().await;
    let patience = json!({"providers": {"a": {"first_byte_timeout": "300ms"}}});
    let gateway = gateway().model("fast", [&a]).config(patience).start().await;
    for (reply, status, code, message) in [
        (upstream().status(500), 502, "server-error", "upstream says 500"),
        (upstream().status(503), 503, "overloaded", "upstream says 503"),
        (upstream().status(429), 429, "rate-limited", "upstream says 429"),
        (upstream().status(401), 502, "unauthorised", "upstream says 401"),
        (upstream().status(404), 502, "model-not-found", "upstream says 404"),
        (upstream().silent(), 504, "first-byte-timeout", "no answer began within 300ms"),
    ] {
        a.becomes(reply);
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!(answer.status, status, "{code}");
        assert_eq!(
            answer.error_message(),
            format!("No deployment could answer (1 attempt); the last one, `fast@a`: {message}")
        );
        assert_eq!(answer.json()["error"]["code"], code);
        // all fallbacks are used up, so the SDK shall not start again, except where it knows when
        let should_retry = if status == 429 { "true" } else { "false" };
        assert_eq!(answer.header("x-should-retry"), Some(should_retry), "{code}");
    }
}

#[tokio::test]
async fn retry_after_reaches_the_client() {
    let a = upstream().status(429).header("retry-after", "7").start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.header("x-should-retry"), Some("true"));
}

#[tokio::test]
async fn a_rate_limited_deployment_cools_down() {
    let a = upstream().status(429).header("retry-after", "600").start().await;
    let b = upstream().chat("hello").start().await;
    let gateway = gateway().model("fast", [&a, &b]).policies(&["health", "in-order"]).start().await;
    let attempts = [gateway.chat("fast", "hi").await, gateway.chat("fast", "hi").await];
    assert_eq!(attempts.each_ref().map(|answer| answer.attempts()), [Some("2"), Some("1")]);
    assert_eq!((a.hits(), b.hits()), (1, 2));
}

#[tokio::test]
async fn fallback_chain_goes_on_to_the_route_s_fallbacks() {
    let a = upstream().status(500).start().await;
    let b = upstream().chat("spare").start().await;
    let chain = ["in-order", "fallback-chain"];
    let fallbacks = json!({"routes": {"fast": {"fallbacks": ["spare"]}}});
    let gateway = gateway().model("fast", [&a]).model("spare", [&b]).policies(&chain).config(fallbacks).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.text(), answer.deployment()), ("spare".to_owned(), Some("spare@b")));
    assert_eq!((answer.attempts(), answer.policy()), (Some("2"), Some("fallback-chain")));
    assert_eq!(b.last().json()["model"], "real-spare");
}

#[tokio::test]
async fn without_a_policy_for_it_nothing_falls_back_to_another_route() {
    let a = upstream().status(500).start().await;
    let b = upstream().start().await;
    let fallbacks = json!({"routes": {"fast": {"fallbacks": ["spare"]}}});
    let gateway = gateway().model("fast", [&a]).model("spare", [&b]).config(fallbacks).start().await;
    assert_eq!((gateway.chat("fast", "hi").await.status, b.hits()), (502, 0));
}

#[tokio::test]
async fn attempts_are_limited() {
    let bad = [upstream().status(500).start().await, upstream().status(500).start().await];
    let good = upstream().start().await;
    let all = [&bad[0], &bad[1], &good];
    for (limit, status) in [(2, 502), (3, 200)] {
        let gateway = gateway().model("fast", all).config(json!({"server": {"max_attempts": limit}})).start().await;
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!((answer.status, answer.attempts()), (status, Some(limit.to_string().as_str())));
    }
    assert_eq!(good.hits(), 1);
}

#[tokio::test]
async fn nothing_hangs_past_the_request_timeout() {
    let a = upstream().silent().start().await;
    let b = upstream().start().await;
    let limit = json!({"server": {"request_timeout": "400ms"}});
    let gateway = gateway().model("fast", [&a, &b]).config(limit).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!(answer.status, 504);
    assert_eq!(
        answer.error_message(),
        "No deployment could answer (1 attempt); the last one, `fast@a`: the time for this request is over"
    );
    assert_eq!((a.hits(), b.hits()), (1, 0));
    eventually("the upstream is let go", async || a.open_connections() == 0).await;
}

#[tokio::test]
async fn a_route_may_have_times_of_its_own() {
    let a = upstream().delay(Duration::from_millis(700)).start().await;
    let b = upstream().chat("hello").start().await;
    let times = json!({"routes": {"hasty": {"first_byte_timeout": "200ms"}, "brief": {"timeout": "200ms"}}});
    let gateway =
        gateway().model("hasty", [&a, &b]).model("brief", [&a]).model("patient", [&a, &b]).config(times).start().await;
    assert_eq!(gateway.chat("hasty", "hi").await.deployment(), Some("hasty@b"));
    assert_eq!(gateway.chat("brief", "hi").await.status, 504);
    assert_eq!(gateway.chat("patient", "hi").await.deployment(), Some("patient@a"));
}

#[tokio::test]
async fn failures_count_against_the_deployment_and_bad_requests_do_not() {
    let a = upstream().status(500).start().await;
    let b = upstream().start().await;
    let chain = json!({"routes": {"fast": {"policies": ["health", "in-order"]}}});
    let gateway = gateway().model("fast", [&a, &b]).config(chain).start().await;
    for _ in 0..10 {
        assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    }
    assert!(a.hits() < 10, "a deployment that fails on and on is left out");
    b.becomes(upstream().status(400));
    let hits = b.hits();
    for _ in 0..10 {
        assert_eq!(gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).send().await.status, 400);
    }
    assert_eq!(b.hits(), hits + 10);
}
