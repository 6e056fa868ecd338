//! What clients of OpenAI rely on, point by point: each is a test here, or in the module that is named.
//!
//! 1. Events with any line end, at once, as they are: here, `stream`
//! 2. One end: `stream::the_end_is_told_exactly_once`
//! 3. Errors in a stream, and none committed before the first event: here, `stream`
//! 4. Keep-alive comments: here
//! 5. Usage in a stream: here, `stream::a_request_for_a_stream_is_rewritten_in_nothing_but_the_model`
//! 6. Tool calls in pieces: here
//! 7. The error object: here, `bad_input`, `failover`
//! 8. Headers to the client: here, `chat::the_client_sees_the_receipt_and_the_headers_that_are_about_the_answer`
//! 9. Headers to the upstream: `chat::the_upstream_sees_our_key_and_the_headers_that_are_for_it`
//! 10. Whether to retry, and when: here
//! 11. The upstream's wait, in all its forms: here, `host/src/upstream/retry_after.rs`
//! 12. Unknown fields: `chat::only_the_model_is_rewritten_in_a_request`, `chat::an_answer_keeps_its_bytes`
//! 13. Fields and numbers that must not change: here
//! 14. The model in the answer: here
//! 15. Packed bodies: here
//! 16. A client that hangs up: `chat`, `stream`, `hedge`; status 499 in the log: `bad_input`
//! 17. Four timeouts: here, `failover`, `stream`
//! 18. The body limit: `bad_input`
//! 19. Paths, `HEAD`, `OPTIONS`, browsers: `chat::every_endpoint_is_there_with_and_without_v1_and_with_a_trailing_slash`,
//!     `models`, `bad_input`, `cors`
//! 20. Several choices; the encoding of embeddings: here
//! 21. Connections: here, `chat`

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use witgate_tests::{Answer, CHAT, DONE, chat_body, gateway, upstream};

const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const ASK: &str = r#"{"model":"fast","messages":[]}"#;

#[tokio::test]
async fn events_may_end_their_lines_in_any_way() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for end in ["\n\n", "\r\r", "\r\n\r\n", "\r\n\n", "\n\r\n"] {
        let events = [FIRST, LAST, DONE].map(|event| event.replace("\n\n", end));
        a.becomes(upstream().events(events.clone()));
        let got = gateway.stream("fast", "hi").await.rest().await.concat();
        assert_eq!(got, events.concat(), "{end:?}");
        // and cut anywhere: of the very last line end, what comes after the blank line is of no use to anybody
        let bytes = events.concat().into_bytes();
        a.becomes(upstream().events(bytes.chunks(1).map(<[u8]>::to_vec)));
        let got = gateway.stream("fast", "hi").await.rest().await.concat();
        assert_eq!(got.trim_end(), events.concat().trim_end(), "{end:?} byte by byte");
    }
}

#[tokio::test]
async fn an_error_in_a_stream_has_openai_s_shape_whatever_the_upstream_s_was() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let event = |message: &str, kind: &str, code: Value| {
        let error = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
        format!("data: {error}\n\n")
    };
    for (theirs, ours) in [
        ("event: error\ndata: {\"message\":\"boom\",\"code\":7}\n\n", event("boom", "server_error", json!("7"))),
        ("data: {\"error\":\"boom\"}\n\n", event("boom", "server_error", Value::Null)),
        ("event: error\ndata: boom\n\n", event("boom", "server_error", Value::Null)),
        // Anthropic's
        (
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
                .to_owned(),
        ),
    ] {
        a.becomes(upstream().events([FIRST, theirs]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, &ours], "{theirs}");
        // in one piece with what is before and after it
        a.becomes(upstream().events([[FIRST, theirs].concat()]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, &ours], "{theirs}");
    }
    // nothing comes after it, and nothing is waited for
    let error = event("boom", "server_error", Value::Null);
    a.becomes(upstream().events([FIRST, &error, LAST, DONE]).stall());
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, &error]);
    witgate_tests::eventually("the upstream is let go", async || a.open_connections() == 0).await;
    a.becomes(upstream().events([[FIRST, "data: {\"error\":\"boom\"}\n\n", LAST, DONE].concat()]));
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!(events, [FIRST, &error]);
}

#[tokio::test]
async fn a_keep_alive_comment_comes_through_without_the_blank_line_that_breaks_sdks() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for (comment, passed) in [(": ping\n\n", ": ping\n"), (": ping\n", ": ping\n"), (":\r\n\r\n", ":\r\n")] {
        a.becomes(upstream().events([FIRST, comment, comment, LAST, DONE]));
        let got = gateway.stream("fast", "hi").await.rest().await.concat();
        assert_eq!(got, [FIRST, passed, passed, LAST, DONE].concat(), "{comment:?}");
        a.becomes(upstream().events([[FIRST, comment, LAST, DONE].concat()]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await.concat(), [FIRST, passed, LAST, DONE].concat());
    }
}

#[tokio::test]
async fn an_event_without_data_does_not_reach_the_client() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for nothing in ["data:\n\n", "data: \n\n", "event: ping\n\n", "id: 7\n\n", "retry: 100\n\n", "\n\n\n"] {
        a.becomes(upstream().events([FIRST, nothing, LAST, DONE]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, LAST, DONE], "{nothing:?}");
    }
}

#[tokio::test]
async fn usage_comes_at_the_end_of_a_stream_that_asked_for_it_and_the_gateway_asks_for_none() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    let first = FIRST.replace("]}\n", "],\"usage\":null}\n");
    let a = upstream().events([&first, LAST, usage, DONE]).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let ask = r#"{"model":"fast","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(gateway.post(CHAT, ask).stream().await.rest().await, [&first, LAST, usage, DONE]);
    assert_eq!(a.last().text(), ask.replace("\"fast\"", "\"real-fast\""));
    gateway.stream("fast", "hi").await.rest().await;
    assert_eq!(a.last().json().get("stream_options"), None);
    // a stream that breaks has none
    a.becomes(upstream().events([first.as_str()]).cut());
    assert!(!gateway.post(CHAT, ask).stream().await.rest().await.concat().contains("prompt_tokens"));
}

#[tokio::test]
async fn tool_calls_and_choices_keep_their_order_and_index() {
    let delta = |delta: Value| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}));
    let call = |index: u32, call: Value| {
        let mut call = call;
        call["index"] = json!(index);
        delta(json!({"tool_calls": [call]}))
    };
    let events = [
        call(0, json!({"id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}})),
        call(1, json!({"id": "call_b", "type": "function", "function": {"name": "g", "arguments": ""}})),
        call(0, json!({"function": {"arguments": "{\"x\":"}})),
        call(1, json!({"function": {"arguments": "{}"}})),
        call(0, json!({"function": {"arguments": "1}"}})),
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n".to_owned(),
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n".to_owned(),
        "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned(),
        DONE.to_owned(),
    ];
    let a = upstream().events(events.clone()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, events);
}

#[tokio::test]
async fn an_upstream_s_refusal_in_another_shape_is_told_in_openai_s() {
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
async fn rate_limits_reach_the_client_with_an_answer_and_with_an_error() {
    let limits = |reply: witgate_tests::Reply| {
        reply
            .header("x-ratelimit-limit-requests", "60")
            .header("x-ratelimit-remaining-requests", "0")
            .header("x-ratelimit-reset-tokens", "6m0s")
            .header("openai-processing-ms", "7")
            .header("set-cookie", "no=1")
    };
    let a = limits(upstream()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for status in [200, 400, 429, 500] {
        let reply = if status == 200 { upstream() } else { upstream().status(status) };
        a.becomes(limits(reply));
        let answer = gateway.chat("fast", "hi").await;
        for (header, value) in [
            ("x-ratelimit-limit-requests", Some("60")),
            ("x-ratelimit-remaining-requests", Some("0")),
            ("x-ratelimit-reset-tokens", Some("6m0s")),
            ("openai-processing-ms", Some("7")),
            ("content-type", Some("application/json")),
            ("set-cookie", None),
        ] {
            assert_eq!(answer.header(header), value, "{status} {header}");
        }
    }
}

#[tokio::test]
async fn a_client_is_told_to_retry_only_where_it_would_wait_long_enough() {
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
async fn a_429_always_names_a_time_to_come_back_at() {
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
async fn of_several_that_are_limited_the_first_to_be_free_counts() {
    let a = upstream().status(429).header("retry-after", "7").start().await;
    let b = upstream().status(429).header("retry-after", "50").start().await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.status, answer.attempts(), answer.header("retry-after")), (429, Some("2"), Some("7")));
}

#[tokio::test]
async fn nothing_of_an_answer_is_lost_and_its_model_is_the_upstream_s() {
    let answer = concat!(
        r#"{"id":"x","object":"chat.completion","created":1,"model":"other-2024-08-06","system_fingerprint":"fp_1","#,
        r#""service_tier":"default","choices":[{"index":0,"message":{"role":"assistant","content":"h\u00e9","#,
        r#""refusal":null,"annotations":[],"reasoning_content":"why"},"logprobs":{"content":[{"token":"h","#,
        r#""logprob":-1.00000000000000000001e-7,"bytes":[104],"top_logprobs":[]}]},"finish_reason":"stop"}],"#,
        r#""usage":{"prompt_tokens":12345678901234567890123,"completion_tokens":1.0},"x_extra":{"a":[1E5,-0]}}"#
    );
    let event = format!("data: {answer}\n\n");
    let a = upstream().body(answer).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.body_text(), answer);
    a.becomes(upstream().events([event.as_str(), DONE]));
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, [&event, DONE]);
}

#[tokio::test]
async fn a_packed_body_is_unpacked_and_sent_on_as_it_was() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = format!(r#"{{"model":"fast","messages":[],"pad":"{}"}}"#, "x".repeat(1 << 20));
    for (encoding, packed) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd(body.as_bytes()))] {
        assert!(packed.len() < 20_000, "{encoding}");
        let answer = gateway.post(CHAT, packed).header("content-encoding", encoding).send().await;
        assert_eq!((answer.status, answer.body_text()), (200, chat_body("ok").as_str()), "{encoding}");
        assert_eq!(answer.header("content-encoding"), None);
        let seen = a.last();
        assert_eq!(seen.text(), body.replace("\"fast\"", "\"real-fast\""), "{encoding}");
        assert_eq!(seen.head.header("content-encoding"), None, "{encoding}");
    }
}

#[tokio::test]
async fn a_packed_body_is_refused_at_the_limit_and_in_a_way_that_is_not_known() {
    let a = upstream().start().await;
    let limit = json!({"server": {"body_limit": "1MiB"}});
    let gateway = gateway().model("fast", [&a]).config(limit).start().await;
    let empty = r#"{"model":"fast","messages":[],"pad":""}"#;
    let of_length =
        |length: usize| empty.replace("pad\":\"", &("pad\":\"".to_owned() + &"x".repeat(length - empty.len())));
    let refused = |answer: &Answer, status: u16, code: &str, message: &str| {
        let body = json!({"error": {
            "message": message, "type": "invalid_request_error", "param": null, "code": code,
        }});
        assert_eq!((answer.status, answer.json()), (status, body));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    };
    let large = "The request body is larger than 1048576 bytes, the limit of this gateway (`server.body_limit`).";
    for (encoding, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let send = async |body: &[u8]| gateway.post(CHAT, pack(body)).header("content-encoding", encoding).send().await;
        assert_eq!(send(of_length(1 << 20).as_bytes()).await.status, 200, "{encoding}");
        refused(&send(of_length((1 << 20) + 1).as_bytes()).await, 413, "request_too_large", large);
        // a bomb: a thousand times what is sent, and more than would fit
        refused(&send(&vec![b' '; 64 << 20]).await, 413, "request_too_large", large);
        let garbage = gateway.post(CHAT, empty).header("content-encoding", encoding).send().await;
        assert_eq!((garbage.status, &garbage.json()["error"]["code"]), (400, &json!("invalid_content_encoding")));
        let message = garbage.error_message();
        assert!(
            message.starts_with(&format!("The request body is announced as {encoding}, but it is not: ")),
            "{message}"
        );
    }
    for other in ["br", "deflate", "gzip, zstd", "x"] {
        let answer = gateway.post(CHAT, empty).header("content-encoding", other).send().await;
        let message = format!(
            "Unsupported content encoding: '{other}'. Send the body as it is, or packed in one of these ways: gzip, zstd."
        );
        refused(&answer, 415, "unsupported_content_encoding", &message);
        assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd"));
    }
    assert_eq!(a.hits(), 2);
}

#[tokio::test]
async fn a_stream_that_only_says_that_it_is_alive_does_not_stall() {
    let events = [FIRST, ": 1\n", ": 2\n", ": 3\n", ": 4\n", ": 5\n", LAST, DONE];
    let a = upstream().events(events).by_permit().start().await;
    let patience = json!({"providers": {"a": {"idle_timeout": "600ms"}}});
    let gateway = gateway().model("fast", [&a]).config(patience).start().await;
    a.let_go(1);
    let mut stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.event().await, FIRST);
    for _ in 1..6 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        a.let_go(1);
    }
    a.let_go(2);
    assert_eq!(stream.rest().await.concat(), events[1..].concat());
}

#[tokio::test]
async fn embeddings_are_asked_for_and_come_in_the_encoding_that_the_client_wants() {
    let answer =
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAEA="}],"model":"e"}"#;
    let a = upstream().body(answer).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let ask = r#"{"model":"fast","input":["a",[1,2]],"encoding_format":"base64","dimensions":2}"#;
    let answered = gateway.post("/v1/embeddings", ask).send().await;
    assert_eq!((answered.status, answered.body_text()), (200, answer));
    assert_eq!(a.last().text(), ask.replace("\"fast\"", "\"real-fast\""));
    // an upstream that does not know base64 gives numbers, and some SDKs would decode those
    a.becomes(upstream().body(answer.replace("\"AACAPwAAAEA=\"", "[1,2]")));
    assert_eq!(gateway.post("/v1/embeddings", ask).send().await.body_text(), answer);
    let of = |vector: &str| format!("{{\"data\":[{}]}}", vec![format!("{{\"embedding\":{vector}}}"); 20_000].join(","));
    a.becomes(upstream().body(of("[1, 2]")));
    assert_eq!(gateway.post("/v1/embeddings", ask).send().await.body_text(), of("\"AACAPwAAAEA=\""));
    let plain = ask.replace("base64", "float");
    assert_eq!(gateway.post("/v1/embeddings", plain).send().await.body_text(), of("[1, 2]"));
}

#[tokio::test]
async fn a_client_may_speak_http_2() {
    use http_body_util::{BodyExt as _, Full};
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(socket),
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::post(format!("http://{}{CHAT}", gateway.address()))
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from_static(ASK.as_bytes())))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        assert_eq!(answer.headers()["x-witgate-deployment"], "fast@a");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), chat_body("ok"));
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    compress_to_vec(body, CompressionLevel::Fastest)
}
