//! Requests that are wrong: always an OpenAI error object with the right status, never plain text.

use serde_json::{Value, json};
use witgate_tests::{Answer, CHAT, Gateway, Upstream, eventually, gateway, upstream};

use crate::program::Serving;

#[tokio::test]
async fn a_body_that_is_wrong_is_explained() {
    let (gateway, a) = small().await;
    let parse = "We could not parse the JSON body of your request";
    let syntax = |message: &str| error(&format!("{parse}: {message}."), None, None);
    let table: [(&[u8], Value); 14] = [
        (b"", syntax("expected a value, but the text ends at line 1, column 1")),
        (b"{", syntax("expected a key in double quotes at line 1, column 2")),
        (b"{\"model\":\"fast\",}", syntax("expected a key in double quotes at line 1, column 17")),
        (b"{\"model\":\"fast\",\"messages\":[]} x", syntax("text after the end of the value at line 1, column 32")),
        (b"{\"a\":\"\xff\"}", syntax("it is not UTF-8 at line 1, column 7")),
        (b"[]", error("The JSON body of your request must be an object, but it is an array.", None, None)),
        (b"null", error("The JSON body of your request must be an object, but it is null.", None, None)),
        (b"{\"messages\":[]}", missing("model")),
        (b"{\"model\":null,\"messages\":[]}", missing("model")),
        (b"{\"model\":\"fast\"}", missing("messages")),
        (b"{\"model\":7,\"messages\":[]}", wrong_type("model", "a string", "a number")),
        (b"{\"model\":\"fast\",\"messages\":\"hi\"}", wrong_type("messages", "an array of objects", "a string")),
        (b"{\"model\":\"fast\",\"messages\":[],\"stream\":\"yes\"}", wrong_type("stream", "a boolean", "a string")),
        (
            b"{\"model\":\"\",\"messages\":[]}",
            error(
                "Invalid 'model': the name is empty. Ask GET /v1/models for the names that you may use.",
                Some("model"),
                Some("empty_string"),
            ),
        ),
    ];
    for (body, expected) in table {
        let answer = gateway.post(CHAT, body).send().await;
        assert_refused(&answer, 400, &expected, &String::from_utf8_lossy(body));
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn the_other_endpoints_ask_for_what_they_need() {
    let (gateway, _a) = small().await;
    for (path, field) in [("/v1/completions", "prompt"), ("/v1/embeddings", "input")] {
        let answer = gateway.post(path, r#"{"model":"fast"}"#).send().await;
        assert_refused(&answer, 400, &missing(field), path);
    }
}

#[tokio::test]
async fn an_unknown_model_is_404() {
    let (gateway, _a) = small().await;
    let answer = gateway.chat("nosuch", "hi").await;
    let message = "The model `nosuch` does not exist; GET /v1/models lists those that do.";
    assert_refused(&answer, 404, &error(message, Some("model"), Some("model_not_found")), "an unknown model");
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let (gateway, a) = small().await;
    let body = |length: usize| {
        let empty = r#"{"model":"fast","messages":[],"pad":""}"#;
        empty.replace("\"pad\":\"", &format!("\"pad\":\"{}", "x".repeat(length - empty.len())))
    };
    assert_eq!(gateway.post(CHAT, body(1024)).send().await.status, 200);
    let expected = error(
        "The request body is larger than 1024 bytes, the limit of this gateway (`server.body_limit`).",
        None,
        Some("request_too_large"),
    );
    let answer = gateway.post(CHAT, body(1025)).send().await;
    assert_refused(&answer, 413, &expected, "announced");
    let chunked = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n401\r\n{}\r\n0\r\n\r\n",
        body(1025)
    );
    let answer = gateway.raw(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
    assert!(answer.ends_with(&expected.to_string()), "{answer}");
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn a_coding_agent_s_body_fits_by_default() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = format!(r#"{{"model":"fast","messages":[],"pad":"{}"}}"#, "x".repeat(12 << 20));
    assert_eq!(gateway.post(CHAT, body.as_str()).send().await.status, 200);
    assert_eq!(a.last().body.len(), body.len() + "real-".len());
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let (gateway, _a) = small().await;
    let (asked, read) = (("POST", "POST, OPTIONS"), ("GET", "GET, HEAD, OPTIONS"));
    for (method, path, (allowed, all)) in [
        ("GET", CHAT, asked),
        ("HEAD", "/v1/completions", asked),
        ("DELETE", "/v1/embeddings", asked),
        ("PUT", "/completions", asked),
        ("PATCH", "/chat/completions/", asked),
        ("POST", "/v1/models", read),
        ("DELETE", "/models/fast", read),
        // a model may be called like a path that is asked
        ("POST", "/v1/models/chat/completions", read),
        ("POST", "/health/live", read),
        ("POST", "/metrics", read),
        ("PUT", "/admin/policies", read),
        ("GET", "/admin/reload", asked),
        ("BREW", CHAT, asked),
    ] {
        let answer = gateway.request(method, path).send().await;
        assert_eq!(answer.header("allow"), Some(all), "{method} {path}");
        if method == "HEAD" {
            assert_eq!((answer.status, answer.body.len()), (405, 0));
            continue;
        }
        let message = format!("{method} is not allowed on {path}; use {allowed}.");
        let expected = error(&message, None, Some("method_not_supported"));
        assert_refused(&answer, 405, &expected, &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn options_says_what_a_path_takes() {
    let (gateway, a) = small().await;
    for (path, all) in
        [(CHAT, "POST, OPTIONS"), ("/v1/models/fast", "GET, HEAD, OPTIONS"), ("/health", "GET, HEAD, OPTIONS")]
    {
        let answer = gateway.request("OPTIONS", path).send().await;
        assert_eq!((answer.status, answer.body.len(), answer.header("allow")), (204, 0, Some(all)), "{path}");
        assert!(answer.header("x-request-id").is_some(), "{path}");
    }
    assert_eq!(gateway.request("OPTIONS", "/nowhere").send().await.status, 404);
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let (gateway, _a) = small().await;
    for path in ["/health", "/health/ready", "/v1/models", "/v1/models/fast", "/models/", "/admin/policies"] {
        let (get, head) = (gateway.get(path).await, gateway.request("HEAD", path).send().await);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
    let missing = gateway.request("HEAD", "/v1/models/nosuch").send().await;
    assert_eq!((missing.status, missing.body.len()), (404, 0));
}

/// The list of what clients get wrong, at every endpoint that takes a body.
#[tokio::test]
async fn every_endpoint_refuses_what_is_wrong_in_openai_s_shape() {
    let (gateway, a) = small().await;
    let large = "x".repeat(2000);
    for (path, field, wrong, expected) in [
        ("/v1/chat/completions", "messages", r#""hi""#, wrong_type("messages", "an array of objects", "a string")),
        ("/v1/completions", "prompt", "7", wrong_type("prompt", "a string or an array", "a number")),
        ("/v1/embeddings", "input", "{}", wrong_type("input", "a string or an array", "an object")),
    ] {
        let parse = "We could not parse the JSON body of your request: ";
        let cut = error(&format!("{parse}expected a key in double quotes at line 1, column 2."), None, None);
        let unknown = error(
            "The model `nosuch` does not exist; GET /v1/models lists those that do.",
            Some("model"),
            Some("model_not_found"),
        );
        let limit = error(
            "The request body is larger than 1024 bytes, the limit of this gateway (`server.body_limit`).",
            None,
            Some("request_too_large"),
        );
        for (body, status, expected) in [
            ("{".to_owned(), 400, cut),
            (format!(r#"{{"model":"fast","{field}":{wrong}}}"#), 400, expected),
            (format!(r#"{{"model":[],"{field}":[]}}"#), 400, wrong_type("model", "a string", "an array")),
            (format!(r#"{{"{field}":[]}}"#), 400, missing("model")),
            (r#"{"model":"fast"}"#.to_owned(), 400, missing(field)),
            (format!(r#"{{"model":"nosuch","{field}":[]}}"#), 404, unknown),
            (format!(r#"{{"model":"fast","{field}":["{large}"]}}"#), 413, limit),
        ] {
            assert_refused(
                &gateway.post(path, body.as_str()).send().await,
                status,
                &expected,
                &format!("{path} {body}"),
            );
        }
        let body = format!(r#"{{"model":"fast","{field}":[]}}"#);
        let none = "No content type. Send the header `Content-Type: application/json`.";
        let answer = gateway.request("POST", path).body(body.as_str()).send().await;
        assert_refused(&answer, 415, &error(none, None, Some("unsupported_content_type")), path);
        let answer = gateway.request("GET", path).send().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")), "{path}");
        assert_eq!(answer.error_message(), format!("GET is not allowed on {path}; use POST."));
        let answer = gateway.post(&format!("{path}/more"), body).send().await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.error_message().starts_with(&format!("Unknown path: POST {path}/more. ")));
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn the_log_names_the_request_of_every_error() {
    let a = upstream().silent().start().await;
    let config = json!({"log": {"format": "json"}, "server": {"body_limit": "1KiB"}});
    let folder = gateway().model("fast", [&a]).keys(&[("ann", "sk-ann")]).config(config).write();
    let serving = Serving::start(&folder).await;
    let chat = |body: &str| serving.request("POST", CHAT).json(body).header("x-api-key", "sk-ann");
    let cases = [
        ("no-json", 400, "bad-request", chat("{")),
        ("no-model", 400, "bad-request", chat(r#"{"messages":[]}"#)),
        ("unknown-model", 404, "unknown-model", chat(r#"{"model":"x","messages":[]}"#)),
        ("too-large", 413, "too-large", chat(&" ".repeat(2000))),
        ("no-type", 415, "content-type", serving.request("POST", CHAT).header("x-api-key", "sk-ann").body("{}")),
        ("encoding", 415, "content-encoding", chat("{}").header("content-encoding", "br")),
        ("no-key", 401, "auth", serving.request("POST", "/v1/embeddings").json("{}")),
        ("models-key", 401, "auth", serving.request("GET", "/v1/models").header("x-api-key", "sk-wrong")),
        ("method", 405, "wrong-method", serving.request("GET", CHAT)),
        ("models-method", 405, "wrong-method", serving.request("PUT", "/v1/models")),
        ("path", 404, "unknown-path", serving.request("GET", "/v1/nosuch?key=sk-in-query")),
        ("model", 404, "unknown-model", serving.request("GET", "/v1/models/x").header("x-api-key", "sk-ann")),
    ];
    for (id, status, outcome, request) in cases {
        let answer = request.header("x-request-id", id).send().await;
        assert_eq!((answer.status, answer.header("x-request-id")), (status, Some(id)));
        let line = line_of(&serving, id).await;
        assert_eq!((&line["status"], &line["outcome"]), (&json!(status), &json!(outcome)), "{line}");
    }
    let gone = chat(r#"{"model":"fast","messages":[]}"#).header("x-request-id", "gone").begin().await;
    eventually("the upstream is asked", async || a.hits() == 1).await;
    drop(gone);
    let line = line_of(&serving, "gone").await;
    assert_eq!((&line["status"], &line["outcome"]), (&json!(499), &json!("cancelled")), "{line}");
    for secret in ["sk-wrong", "sk-ann", "sk-in-query"] {
        assert!(!serving.log().contains(secret), "{secret} is in the log");
    }
}

/// The log's line about the end of one request.
async fn line_of(serving: &Serving, id: &str) -> Value {
    let mut found = Value::Null;
    eventually(&format!("the log names `{id}`"), async || {
        let log = serving.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of_request = lines.filter(|line| line["request_id"] == id && line["message"] == "request");
        found = of_request.next().unwrap_or_default();
        assert!(of_request.next().is_none(), "`{id}` is logged twice: {log}");
        !found.is_null()
    })
    .await;
    found
}

#[tokio::test]
async fn an_unknown_path_is_told_the_known_ones() {
    let (gateway, _a) = small().await;
    for (method, path) in [("POST", "/v1/nothing"), ("GET", "/"), ("GET", "/v1"), ("GET", "/v1/v1/models")] {
        let answer = gateway.request(method, path).send().await;
        let message = format!(
            "Unknown path: {method} {path}. This gateway serves /v1/chat/completions, /v1/completions, \
             /v1/embeddings, /v1/responses, /v1/rerank, /v1/moderations, /v1/images/*, /v1/audio/*, \
             /v1/messages, /v1/messages/count_tokens and /v1/models; others only where `passthrough` names a \
             provider."
        );
        assert_refused(&answer, 404, &error(&message, None, Some("unknown_url")), path);
    }
}

#[tokio::test]
async fn a_body_must_be_announced_as_json() {
    let (gateway, a) = small().await;
    let body = r#"{"model":"fast","messages":[]}"#;
    let answer = gateway.request("POST", CHAT).body(body).send().await;
    let none = "No content type. Send the header `Content-Type: application/json`.";
    assert_refused(&answer, 415, &error(none, None, Some("unsupported_content_type")), "none");
    let answer = gateway.request("POST", CHAT).header("content-type", "text/plain").body(body).send().await;
    let other = "Unsupported content type: 'text/plain'. Send the header `Content-Type: application/json`.";
    assert_refused(&answer, 415, &error(other, None, Some("unsupported_content_type")), "text/plain");
    assert_eq!(a.hits(), 0);
    let charset = "application/json; charset=utf-8";
    let answer = gateway.request("POST", CHAT).header("content-type", charset).body(body).send().await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).config(json!({"server": {"read_timeout": "400ms"}})).start().await;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"model\":"
    );
    let answer = gateway.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    let expected = error("The request body did not arrive in time.", None, Some("body_timeout"));
    assert!(answer.ends_with(&expected.to_string()), "{answer}");
    // a head that does not come is not answered
    assert_eq!(gateway.raw(b"POST /v1/cha").await, "");
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let (gateway, _a) = small().await;
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let answer = gateway.raw(garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }
    let headers: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let answer = gateway.raw(format!("GET /health HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{answer}");
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
}

#[tokio::test]
async fn deep_nesting_is_no_way_to_bring_it_down() {
    let (gateway, _a) = small().await;
    let body = format!(r#"{{"model":"fast","messages":[],"x":{}1{}}}"#, "[".repeat(400), "]".repeat(400));
    let answer = gateway.post(CHAT, body).send().await;
    assert_eq!(answer.status, 400, "{}", answer.body_text());
    let message = answer.error_message();
    assert!(message.contains("more than 128 levels of arrays and objects"), "{message}");
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
}

/// A gateway that takes no more than 1 KiB.
async fn small() -> (Gateway, Upstream) {
    let a = upstream().start().await;
    (gateway().model("fast", [&a]).config(json!({"server": {"body_limit": "1KiB"}})).start().await, a)
}

fn assert_refused(answer: &Answer, status: u16, body: &Value, what: &str) {
    assert_eq!((answer.status, answer.body_text()), (status, body.to_string().as_str()), "{what}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    assert!(answer.header("x-request-id").is_some(), "{what}");
}

fn error(message: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})
}

fn missing(field: &str) -> Value {
    error(&format!("Missing required parameter: '{field}'."), Some(field), Some("missing_required_parameter"))
}

fn wrong_type(field: &str, expected: &str, got: &str) -> Value {
    let message = format!("Invalid type for '{field}': expected {expected}, but got {got} instead.");
    error(&message, Some(field), Some("invalid_type"))
}
