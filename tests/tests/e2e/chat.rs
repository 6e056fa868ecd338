//! Requests that are not streamed: what reaches the upstream, and what comes back.

use witgate_tests::{CHAT, chat_body, gateway, upstream};

#[tokio::test]
async fn an_answer_comes_from_the_deployment_of_the_model() {
    let a = upstream().chat("hello").start().await;
    let b = upstream().chat("bye").start().await;
    let gateway = gateway().model("fast", [&a]).model("deep", [&b]).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.text(), "hello");
    assert_eq!(gateway.chat("deep", "hi").await.text(), "bye");
    assert_eq!((a.hits(), b.hits()), (1, 1));
}

#[tokio::test]
async fn only_the_model_is_rewritten_in_a_request() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = "{ \"zeta\":1.0,\n\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 \u{1f600}\",\"x\":null}] , \
                \"model\" : \"fast\",\t\"temperature\":0.10,\"seed\":12345678901234567890123,\"alpha\":{\"b\":[1e3 ,2]}}\n";
    assert_eq!(gateway.post(CHAT, body).send().await.status, 200);
    assert_eq!(a.last().text(), body.replace("\"fast\"", "\"real-fast\""));
}

#[tokio::test]
async fn an_answer_keeps_its_bytes() {
    let answer =
        "{\"zeta\" : 1.50,\n \"choices\":[ ],\"big\":12345678901234567890123,\"model\":\"other\",\"e\":\"\\u00e9\"}\n";
    let a = upstream().body(answer).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answered = gateway.chat("fast", "hi").await;
    assert_eq!((answered.status, answered.body_text()), (200, answer));
    assert_eq!(answered.header("content-length"), Some(answer.len().to_string().as_str()));
}

#[tokio::test]
async fn a_long_answer_keeps_its_bytes_too() {
    let vector: Vec<String> = (0..40_000).map(|number| format!("0.{number:05}")).collect();
    let answer = format!("{{\"data\":[{{\"embedding\":[{}]}}]}}", vector.join(", "));
    let a = upstream().body(answer.as_str()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answered = gateway.post("/v1/embeddings", r#"{"model":"fast","input":"hi"}"#).send().await;
    assert_eq!((answered.status, answered.body_text() == answer), (200, true));
}

#[tokio::test]
async fn every_endpoint_is_there_with_and_without_v1_and_with_a_trailing_slash() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let requests = [
        ("/chat/completions", r#"{"model":"fast","messages":[]}"#),
        ("/completions", r#"{"model":"fast","prompt":"hi"}"#),
        ("/embeddings", r#"{"model":"fast","input":"hi"}"#),
    ];
    for (path, body) in requests {
        for asked in [format!("/v1{path}"), path.to_owned(), format!("/v1{path}/"), format!("{path}/")] {
            let answer = gateway.post(&asked, body).send().await;
            assert_eq!((answer.status, answer.body_text()), (200, chat_body("ok").as_str()), "{asked}");
            assert_eq!(a.last().head.start, format!("POST /v1{path} HTTP/1.1"), "{asked}");
        }
    }
}

#[tokio::test]
async fn the_upstream_sees_our_key_and_the_headers_that_are_for_it() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).keys(&[("me", "sk-client")]).start().await;
    let request = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#);
    let sent = [
        ("authorization", "Bearer sk-client"),
        ("x-api-key", "sk-client"),
        ("cookie", "secret=1"),
        ("connection", "x-only-here"),
        ("x-only-here", "1"),
        ("te", "trailers"),
        ("accept-encoding", "gzip, br"),
        ("x-forwarded-for", "10.0.0.1"),
        ("idempotency-key", "once"),
        ("x-stainless-lang", "python"),
        ("x-custom", "kept"),
    ];
    let request = sent.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    assert_eq!(request.send().await.status, 200);
    let seen = a.last().head;
    assert_eq!(seen.header("authorization"), Some("Bearer sk-provider"));
    assert_eq!(seen.header("host"), Some(a.address().to_string().as_str()));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    for (name, kept) in [("idempotency-key", "once"), ("x-stainless-lang", "python"), ("x-custom", "kept")] {
        assert_eq!(seen.header(name), Some(kept), "{name}");
    }
    for dropped in ["x-api-key", "cookie", "x-only-here", "te", "x-forwarded-for"] {
        assert_eq!(seen.header(dropped), None, "{dropped}");
    }
    assert!(!format!("{seen:?}").contains("sk-client") && !format!("{seen:?}").contains("gzip"), "{seen:?}");
}

#[tokio::test]
async fn the_client_sees_the_receipt_and_the_headers_that_are_about_the_answer() {
    let reply = upstream()
        .header("openai-processing-ms", "7")
        .header("x-ratelimit-remaining-requests", "9")
        .header("x-request-id", "theirs")
        .header("set-cookie", "tracking=1")
        .header("server", "theirs")
        .header("keep-alive", "timeout=5");
    let a = reply.start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!(
        answer.head.names(),
        [
            "content-length",
            "content-type",
            "date",
            "openai-processing-ms",
            "x-ratelimit-remaining-requests",
            "x-request-id",
            "x-witgate-attempts",
            "x-witgate-deployment",
            "x-witgate-policy",
            "x-witgate-reason",
        ]
    );
    assert_eq!(answer.header("openai-processing-ms"), Some("7"));
    assert_eq!((answer.deployment(), answer.attempts()), (Some("fast@a"), Some("1")));
    assert_eq!((answer.policy(), answer.header("x-witgate-reason")), (Some("in-order"), Some("configured order")));
    let revision = gateway.policy_status("in-order").await["revision"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("x-witgate-policy"), Some(format!("in-order/{revision}").as_str()));
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_sane_and_made_if_not() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let with = async |id: &str| {
        let answer = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).header("x-request-id", id).send().await;
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(with("trace-1.2:3").await, "trace-1.2:3");
    let made = [with("two words").await, with(&"x".repeat(1000)).await];
    assert!(made.iter().all(|id| id.starts_with("req_")) && made[0] != made[1], "{made:?}");
    let on_an_error = gateway.post(CHAT, "{").header("x-request-id", "mine").send().await;
    assert_eq!((on_an_error.status, on_an_error.header("x-request-id")), (400, Some("mine")));
    let elsewhere = gateway.request("GET", "/nowhere").header("x-request-id", "mine").send().await;
    assert_eq!((elsewhere.status, elsewhere.header("x-request-id")), (404, Some("mine")));
}

#[tokio::test]
async fn a_connection_to_the_upstream_is_used_again() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for _ in 0..5 {
        assert_eq!(gateway.chat("fast", "hi").await.text(), "ok");
    }
    assert_eq!((a.hits(), a.connections()), (5, 1));
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_meanwhile_fails_no_request() {
    // closes after each answer without having said so
    let a = upstream().content_length(chat_body("ok").len()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for _ in 0..20 {
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!((answer.status, answer.attempts()), (200, Some("1")));
    }
    assert_eq!(a.hits(), 20);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_the_upstream() {
    let a = upstream().silent().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let begun = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).begin().await;
    witgate_tests::eventually("the upstream is asked", async || a.hits() == 1).await;
    drop(begun);
    witgate_tests::eventually("the upstream is let go", async || a.open_connections() == 0).await;
    assert_eq!(a.abandoned(), 1);
    let series = r#"witgate_attempts_total{deployment="fast@a",outcome="cancelled"}"#;
    witgate_tests::eventually("it is counted", async || gateway.metric(series).await == 1.0).await;
}

#[tokio::test]
async fn two_requests_may_share_a_connection() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = r#"{"model":"fast","messages":[]}"#;
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let last = request.replace("host: x", "host: x\r\nconnection: close");
    let answers = gateway.raw(format!("{request}{last}").as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    assert_eq!(answers.matches(&chat_body("ok")).count(), 2, "{answers}");
}

#[tokio::test]
async fn a_body_in_chunks_is_taken() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answer = gateway
        .raw(
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\n10\r\n{{\"model\":\"fast\",\r\n10\r\n\"messages\": [] }}\r\n0\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(a.last().text(), r#"{"model":"real-fast","messages": [] }"#);
}
