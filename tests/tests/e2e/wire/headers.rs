//! Points 8, 9 and 15: headers, packed bodies.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;
use witgate_tests::{Answer, CHAT, chat_body, gateway, upstream};

#[tokio::test]
async fn wire_08_the_client_sees_the_receipt_and_the_headers_that_are_about_the_answer() {
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
async fn wire_08_a_request_id_is_kept_if_it_is_sane_and_made_if_not() {
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
async fn wire_08_rate_limits_reach_the_client_with_an_answer_and_with_an_error() {
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
async fn wire_09_the_upstream_sees_our_key_and_the_headers_that_are_for_it() {
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
async fn wire_15_a_packed_body_is_unpacked_and_sent_on_as_it_was() {
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
async fn wire_15_a_packed_body_is_refused_at_the_limit_and_in_a_way_that_is_not_known() {
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

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    compress_to_vec(body, CompressionLevel::Fastest)
}
