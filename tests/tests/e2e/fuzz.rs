//! Requests that nobody would write: each gets an answer in OpenAI's shape, or none because it is no HTTP, and the
//! gateway goes on.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use witgate_tests::{Gateway, Upstream, gateway, upstream};

#[test]
fn whatever_is_sent_is_answered_in_shape_and_nothing_panics() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (gateway, _a) = runtime.block_on(started());
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let result = runner.run(&request(), |request| {
        let answer = runtime.block_on(gateway.raw(&request));
        let shown = String::from_utf8_lossy(&request).into_owned();
        check(&answer, &shown)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(runtime.block_on(gateway.chat("fast", "hi")).text(), "ok");
    let text = runtime.block_on(gateway.get("/metrics"));
    assert!(!text.body_text().contains("internal"), "a handler panicked");
}

fn check(answer: &str, request: &str) -> Result<(), TestCaseError> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let ours = head.contains("x-request-id: ");
    // hyper itself refuses what is no HTTP, and says so without a body
    prop_assert!(ours || body.is_empty(), "{request:?} → {answer}");
    prop_assert!(ours || matches!(status, 0 | 400 | 414 | 431 | 505), "{request:?} → {answer}");
    prop_assert!(status != 500, "{request:?} → {answer}");
    if ours && status >= 400 && !request.starts_with("HEAD") {
        let error: serde_json::Value =
            serde_json::from_str(body).map_err(|error| TestCaseError::fail(format!("{error}: {answer}")))?;
        let keys: Vec<&String> = error["error"].as_object().into_iter().flat_map(|error| error.keys()).collect();
        prop_assert_eq!(keys, ["message", "type", "param", "code"], "{} → {}", request, answer);
        prop_assert!(head.contains("content-type: application/json"), "{request:?} → {answer}");
    }
    Ok(())
}

/// Bytes that are a request, nearly one, or none.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        6 => Just("POST".to_owned()),
        3 => select(&["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "post"]),
        1 => "[A-Z!]{1,8}",
    ];
    let path = prop_oneof![
        6 => select(&["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/models/fast"]),
        2 => select(&["/chat/completions/", "/v1//models", "/v1/models/%00%ff/../x", "/health", "/?a=b", "/v1/models/"]),
        1 => "/[a-z0-9/%.?&;=~-]{0,40}",
    ];
    let header = prop_oneof![
        4 => Just("content-type: application/json".to_owned()),
        2 => select(&["content-encoding: gzip", "content-encoding: zstd", "x-request-id: two words", "origin: null"]),
        1 => "[a-zA-Z-]{1,12}: [ -~]{0,30}",
        1 => "\\PC{0,20}",
    ];
    let whole =
        (method, path, prop::collection::vec(header, 0..5), body()).prop_map(|(method, path, headers, body)| {
            let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
            for header in headers {
                head += &format!("{header}\r\n");
            }
            [head.as_bytes(), format!("content-length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
        });
    prop_oneof![12 => whole, 1 => prop::collection::vec(any::<u8>(), 1..60).prop_map(|bytes| [&bytes[..], b"\r\n\r\n"].concat())]
}

/// JSON that a client could have meant, with something wrong somewhere.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let field = select(&[
        "model",
        "messages",
        "prompt",
        "input",
        "stream",
        "n",
        "max_tokens",
        "tools",
        "stream_options",
        "Model",
    ]);
    let value = prop_oneof![
        4 => select(&["\"fast\"", "[]", "true", "null", "1", "-1", "1e999", "{}", "[[[[]]]]", "\"\\u0000\"", "\"\\ud800\""]),
        1 => "\"\\PC{0,10}\"",
        1 => "[\\[\\]{}:,\"a0.e-]{0,10}",
    ];
    let object = prop::collection::vec((field, value), 0..6).prop_map(|fields| {
        let fields: Vec<String> = fields.into_iter().map(|(field, value)| format!("\"{field}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    });
    let good = select(&[
        r#"{"model":"fast","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"model":"fast","messages":[],"stream":true}"#,
        r#"{"model":"fast","prompt":"hi"}"#,
        r#"{"model":"fast","input":"hi"}"#,
    ]);
    let text = prop_oneof![3 => object, 2 => good, 1 => Just(String::new())];
    (text, any::<prop::sample::Index>(), prop::option::weighted(0.3, any::<u8>())).prop_map(|(text, place, byte)| {
        let mut bytes = text.into_bytes();
        if let (Some(byte), false) = (byte, bytes.is_empty()) {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

fn select(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

async fn started() -> (Gateway, Upstream) {
    let a = upstream().start().await;
    (gateway().model("fast", [&a]).config(json!({"server": {"read_timeout": "2s"}})).start().await, a)
}
