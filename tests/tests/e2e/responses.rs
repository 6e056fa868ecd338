//! Clients that speak OpenAI's Responses, at providers that have them and at providers that do not.

use serde_json::{Value, json};
use witgate_tests::{chat_events, eventually, gateway, upstream};

const RESPONSES: &str = "/v1/responses";

/// A question, with more fields.
fn question(more: &str) -> String {
    format!(r#"{{"model":"fast","input":"hi"{more}}}"#)
}

/// Makes the first upstream's provider one that has Responses.
fn first_has_responses() -> Value {
    json!({"providers": {"a": {"responses": true}}})
}

/// A response as OpenAI's API reference has it, with spaces that nobody else would put.
fn response(id: &str, text: &str) -> String {
    format!(
        r#"{{"id": "{id}", "object": "response", "created_at": 1, "status": "completed", "model": "real",
"output": [{{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{{"type":"output_text","text":"{text}","annotations":[]}}]}}],
"usage": {{"input_tokens":3,"input_tokens_details":{{"cached_tokens":1}},"output_tokens":2,"output_tokens_details":{{"reasoning_tokens":1}},"total_tokens":5}}}}"#
    )
}

fn event(name: &str, number: u32, members: &str) -> String {
    format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number}{members}}}\n\n")
}

const CREATED: &str = r#","response":{"id":"resp_1","status":"in_progress","usage":null}"#;

/// The events of a streamed response, the last one tells the end.
fn events() -> [String; 3] {
    let usage = r#"{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2,"total_tokens":5}"#;
    let whole = format!(r#","response":{{"id":"resp_1","status":"completed","usage":{usage}}}"#);
    [
        event("response.created", 0, CREATED),
        event(
            "response.output_text.delta",
            1,
            r#","item_id":"msg_1","output_index":0,"content_index":0,"delta":"hello""#,
        ),
        event("response.completed", 2, &whole),
    ]
}

/// Names of events, in their order.
fn names(stream: &str) -> Vec<&str> {
    stream.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

#[tokio::test]
async fn a_provider_that_has_responses_gets_the_bytes_and_its_bytes_come_back() {
    let a = upstream().body(response("resp_1", "hello")).start().await;
    let gateway = gateway().model("fast", [&a]).config(first_has_responses()).start().await;
    let ask = r#"{ "input":[{"type":"item_reference","id":"x"}], "model" : "fast", "seed":12345678901234567890 }"#;
    for path in ["/v1/responses", "/responses", "/v1/responses/", "/responses/"] {
        let answer = gateway.post(path, ask).send().await;
        assert_eq!((answer.status, answer.body_text()), (200, &*response("resp_1", "hello")), "{path}");
        assert_eq!(a.last().head.start, "POST /v1/responses HTTP/1.1");
        assert_eq!(a.last().text(), ask.replace("\"fast\"", "\"real-fast\""));
    }
    let served = r#"witgate_requests_total{endpoint="responses",outcome="served",route="fast"}"#;
    assert_eq!(gateway.metric(served).await, 4.0);
    for (direction, tokens) in [("in", 12.0), ("out", 8.0), ("cached", 4.0)] {
        let series = format!(r#"witgate_tokens_total{{deployment="fast@a",direction="{direction}"}}"#);
        eventually("tokens are counted as the upstream says", async || gateway.metric(&series).await == tokens).await;
    }
}

#[tokio::test]
async fn the_events_of_a_provider_s_response_come_as_they_are_and_nothing_is_put_after_them() {
    let a = upstream().events(events()).start().await;
    let gateway = gateway().model("fast", [&a]).config(first_has_responses()).start().await;
    let stream = gateway.post(RESPONSES, question(r#","stream":true"#)).stream().await;
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.rest().await, events());
    let tokens = r#"witgate_tokens_total{deployment="fast@a",direction="out"}"#;
    eventually("tokens are counted as the upstream says", async || gateway.metric(tokens).await == 2.0).await;
    // `[DONE]` is no event of this API
    a.becomes(upstream().events(events().into_iter().chain(["data: [DONE]\n\n".to_owned()])));
    assert_eq!(gateway.post(RESPONSES, question(r#","stream":true"#)).stream().await.rest().await, events());
}

#[tokio::test]
async fn a_response_is_translated_for_a_provider_that_does_not_have_them() {
    let a = upstream().chat("hello").start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let more = r#","instructions":"Be brief.","max_output_tokens":9,"temperature":0.50,"metadata":{"team":"a"},"truncation":"auto""#;
    let answer = gateway.post(RESPONSES, question(more)).send().await;
    let sent = r#"{"model":"real-fast","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}],"max_tokens":9,"temperature":0.50}"#;
    assert_eq!((a.last().head.start.as_str(), a.last().text()), ("POST /v1/chat/completions HTTP/1.1", sent));
    assert_eq!((answer.status, answer.header("x-witgate-dropped")), (200, Some("truncation")));
    let told = answer.json();
    assert_eq!(
        (&told["id"], &told["object"], &told["status"]),
        (&json!("resp_1"), &json!("response"), &json!("completed"))
    );
    assert_eq!(told["output"][0]["content"][0]["text"], "hello");
    assert_eq!((&told["metadata"], &told["store"]), (&json!({"team": "a"}), &json!(false)));
    assert_eq!((&told["usage"]["input_tokens"], &told["usage"]["output_tokens"]), (&json!(3), &json!(2)));
}

#[tokio::test]
async fn a_translated_stream_comes_event_by_event() {
    let a = upstream().chat("hello there").by_permit().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    a.let_go(1);
    let mut stream = gateway.post(RESPONSES, question(r#","stream":true"#)).stream().await;
    let mut got = String::new();
    for name in ["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"] {
        let event = stream.event().await;
        assert!(event.starts_with(&format!("event: response.{name}\n")), "{name}: {event}");
        got += &event;
    }
    a.let_go(3);
    got += &stream.rest().await.concat();
    let last = ["output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"];
    assert_eq!(names(&got)[5..], last.map(|name| format!("response.{name}")));
    assert!(!got.contains("[DONE]"), "{got}");
    assert_eq!(a.last().json()["stream_options"], json!({"include_usage": true}));
}

#[tokio::test]
async fn a_response_fails_over_between_providers_with_and_without_them() {
    let a = upstream().status(500).start().await;
    let b = upstream().chat("hello").start().await;
    let gateway = gateway().model("fast", [&a, &b]).config(first_has_responses()).start().await;
    let answer = gateway.post(RESPONSES, question("")).send().await;
    assert_eq!((answer.status, answer.attempts(), answer.deployment()), (200, Some("2"), Some("fast@b")));
    assert_eq!(answer.json()["output"][0]["content"][0]["text"], "hello");
    assert_eq!((a.hits_at("/v1/responses"), b.hits_at("/v1/chat/completions")), (1, 1));
    // what fails with its first event has not begun
    let failed = event("response.failed", 0, r#","response":{"error":{"code":"server_error","message":"No."}}"#);
    a.becomes(upstream().events([failed]));
    let stream = gateway.post(RESPONSES, question(r#","stream":true"#)).stream().await;
    assert_eq!(stream.head.header("x-witgate-deployment"), Some("fast@b"));
    assert_eq!(names(&stream.rest().await.concat()).last(), Some(&"response.completed"));
}

#[tokio::test]
async fn a_failure_within_a_stream_is_told_as_responses_tell_it() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).config(first_has_responses()).start().await;
    let ask = || gateway.post(RESPONSES, question(r#","stream":true"#)).stream();
    let [created, delta, _] = events();
    // in the upstream's own words, as they are
    let failed = event("response.failed", 2, r#","response":{"error":{"code":"server_error","message":"No."}}"#);
    let error = event("error", 2, r#","code":"server_error","message":"No.","param":null"#);
    let chunk = "data: {\"error\":{\"message\":\"No.\"}}\n\n";
    for told in [&*failed, &error, chunk] {
        a.becomes(upstream().events([&*created, &delta, told, &delta]));
        assert_eq!(ask().await.rest().await, [&*created, &delta, told], "{told}");
    }
    // in another shape, and where it just breaks off
    a.becomes(upstream().events([&*created, &delta, "data: {\"error\":\"No.\"}\n\n"]));
    let ours = |code: &str, message: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"code\":{code},\"message\":\"{message}\",\"param\":null,\"sequence_number\":2}}\n\n"
        )
    };
    assert_eq!(ask().await.rest().await, [&*created, &delta, &ours("null", "No.")]);
    a.becomes(upstream().events([&*created, &delta]));
    let cut = "the answer broke off: the stream ended without a finish_reason";
    assert_eq!(ask().await.rest().await, [&*created, &delta, &ours("\"cut\"", cut)]);
}

#[tokio::test]
async fn a_translated_stream_that_breaks_off_ends_with_a_failed_response() {
    let a = upstream().events(chat_events("hello there").into_iter().take(2)).cut().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let text = gateway.post(RESPONSES, question(r#","stream":true"#)).stream().await.rest().await.concat();
    let (_, end) = text.rsplit_once("event: response.failed\ndata: ").unwrap_or_else(|| panic!("no end: {text}"));
    let told: Value = serde_json::from_str(end.trim()).unwrap();
    assert_eq!(told["response"]["status"], "failed");
    assert_eq!(told["response"]["error"]["code"], "server_error");
    assert_eq!(told["response"]["output"][0]["content"][0]["text"], "hello there");
    assert_eq!(told["sequence_number"], names(&text).len() - 1);
    assert!(!text.contains("response.completed"), "{text}");
}

#[tokio::test]
async fn what_chat_completions_cannot_do_is_refused_before_anything_is_sent_or_left_out_as_configured() {
    let a = upstream().chat("hello").start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let ask = |more: &str| gateway.post(RESPONSES, question(more)).send();
    for (more, param) in [
        (r#","previous_response_id":"resp_0""#, "previous_response_id"),
        (r#","conversation":"conv_1""#, "conversation"),
        (r#","background":true"#, "background"),
        (r#","tools":[{"type":"web_search"}]"#, "tools.type=web_search"),
    ] {
        let refused = ask(more).await;
        let message = format!(
            "'{param}' cannot be carried over to OpenAI's chat completions API, which this model is served by. Leave it \
             out, or ask for a model that takes it."
        );
        let error = json!({"error": {
            "message": message, "type": "invalid_request_error", "param": param, "code": "unsupported_parameter",
        }});
        assert_eq!((refused.status, refused.json()), (400, error));
    }
    assert_eq!(a.hits(), 0);
    gateway.folder.edit_config(json!({"providers": {"a": {"on_loss": "drop"}}}));
    eventually("the loss is told", async || {
        ask(r#","tools":[{"type":"web_search"}]"#).await.header("x-witgate-dropped") == Some("tools.type=web_search")
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_speaks_messages_answers_responses_too() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "real",
        "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "bonjour"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 2},
    });
    let a = upstream().body(message.to_string()).start().await;
    let anthropic = json!({"providers": {"a": {"dialect": "anthropic"}}});
    let gateway = gateway().model("fast", [&a]).config(anthropic).start().await;
    let answer = gateway.post(RESPONSES, question(r#","max_output_tokens":9,"truncation":"auto""#)).send().await;
    assert_eq!(a.last().head.start, "POST /v1/messages HTTP/1.1");
    assert_eq!((answer.status, answer.header("x-witgate-dropped")), (200, Some("truncation")));
    let output = answer.json()["output"].clone();
    assert_eq!((&output[0]["type"], &output[0]["content"][0]["text"]), (&json!("reasoning"), &json!("Hm.")));
    assert_eq!(output[1]["content"][0]["text"], "bonjour");
    // by the name that the client knows
    let refused = gateway.post(RESPONSES, question(r#","text":{"format":{"type":"json_object"}}"#)).send().await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("text.format")));
}

#[tokio::test]
async fn only_a_response_that_nobody_keeps_is_cached() {
    let a = upstream().body(response("resp_1", "hello")).start().await;
    let cached = json!({"routes": {"fast": {"cache": {"ttl": "1m"}}}, "providers": {"a": {"responses": true}}});
    let gateway = gateway().model("fast", [&a]).config(cached).start().await;
    let ask = |more: &str| gateway.post(RESPONSES, question(more)).send();
    let unstored = r#","store":false"#;
    let (first, second) = (ask(unstored).await, ask(unstored).await);
    assert_eq!((first.header("x-witgate-cache"), second.header("x-witgate-cache")), (Some("miss"), Some("hit")));
    assert_eq!(first.body_text(), second.body_text());
    for stored in ["", r#","store":true"#, r#","store":false,"previous_response_id":"resp_1""#] {
        assert_eq!(ask(stored).await.header("x-witgate-cache"), Some("bypass"), "{stored}");
    }
    // what its limit ended is not kept
    a.becomes(upstream().body(response("resp_2", "he").replace("completed", "incomplete")));
    let limited = r#","store":false,"max_output_tokens":1"#;
    let (first, second) = (ask(limited).await, ask(limited).await);
    assert_eq!((first.header("x-witgate-cache"), second.header("x-witgate-cache")), (Some("miss"), Some("miss")));
    // streams of both kinds are
    a.becomes(upstream().events(events()));
    let streamed = r#","store":false,"stream":true"#;
    let (first, second) = (ask(streamed).await, ask(streamed).await);
    assert_eq!((second.header("x-witgate-cache"), first.body_text()), (Some("hit"), second.body_text()));
}

#[tokio::test]
async fn a_client_that_leaves_a_translated_stream_cancels_the_upstream() {
    let a = upstream().events(chat_events("hello there").into_iter().take(1)).stall().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let mut stream = gateway.post(RESPONSES, question(r#","stream":true"#)).stream().await;
    assert!(stream.event().await.starts_with("event: response.created\n"));
    drop(stream);
    eventually("the upstream is let go", async || a.open_connections() == 0).await;
    let series = r#"witgate_attempts_total{deployment="fast@a",outcome="cancelled"}"#;
    eventually("it is counted", async || gateway.metric(series).await == 1.0).await;
}

#[tokio::test]
async fn bad_responses_requests_are_told_in_openai_s_words() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for (body, message, param, code) in [
        (r#"{"model":"fast"}"#, "Missing required parameter: 'input'.", "input", "missing_required_parameter"),
        (
            r#"{"model":"fast","input":7}"#,
            "Invalid type for 'input': expected a string or an array, but got a number instead.",
            "input",
            "invalid_type",
        ),
        (
            r#"{"model":"fast","input":[{"role":"bot","content":"x"}]}"#,
            "Invalid 'input[0].role': expected `user`, `assistant`, `system` or `developer`, but got \"bot\".",
            "input[0].role",
            "invalid_value",
        ),
    ] {
        let refused = gateway.post(RESPONSES, body).send().await;
        let error =
            json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}});
        assert_eq!((refused.status, refused.json()), (400, error));
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn a_response_goes_on_only_where_the_one_before_it_lies() {
    let a = upstream().body(response("resp_a", "hello")).start().await;
    let b = upstream().body(response("resp_b", "bonjour")).start().await;
    let both = json!({
        "providers": {"a": {"responses": true}, "b": {"responses": true}},
        "auth": {"keys": [{"name": "ann", "key": "sk-ann"}, {"name": "bob", "key": "sk-bob"}]},
    });
    let gateway = gateway().model("fast", [&a, &b]).model("only-b", [&b]).config(both).start().await;
    let ask = |model: &str, key: &str, more: &str| {
        let body = format!(r#"{{"model":"{model}","input":"hi"{more}}}"#);
        gateway.post(RESPONSES, body).header("authorization", &format!("Bearer {key}")).send()
    };
    let after = |id: &str| format!(r#","previous_response_id":"{id}""#);
    assert_eq!(ask("fast", "sk-ann", "").await.deployment(), Some("fast@a"));
    assert_eq!(ask("only-b", "sk-ann", "").await.deployment(), Some("only-b@b"));
    for (id, deployment) in [("resp_b", "fast@b"), ("resp_a", "fast@a"), ("resp_unknown", "fast@a")] {
        assert_eq!(ask("fast", "sk-ann", &after(id)).await.deployment(), Some(deployment), "{id}");
    }
    let refused = ask("only-b", "sk-ann", &after("resp_a")).await;
    let error = json!({"error": {
        "message": "Previous response with id 'resp_a' not found: it was made by a provider that this model is not served \
                    by. Ask for the model that made it, or send the whole conversation.",
        "type": "invalid_request_error", "param": "previous_response_id", "code": "previous_response_not_found",
    }});
    assert_eq!((refused.status, refused.json()), (400, error));
    // of another's responses nothing is known, not even that they are somewhere else
    assert_eq!(ask("only-b", "sk-bob", &after("resp_a")).await.status, 200);
    // and where it lies is where it can be answered
    b.becomes(upstream().status(500));
    let failed = ask("fast", "sk-ann", &after("resp_b")).await;
    assert_eq!((failed.status, failed.attempts(), failed.deployment()), (502, Some("1"), Some("fast@b")));
    // a stream tells its id too
    a.becomes(upstream().events(events()));
    assert_eq!(ask("fast", "sk-ann", r#","stream":true"#).await.status, 200);
    b.becomes(upstream().body(response("resp_c", "bonjour")));
    assert_eq!(ask("only-b", "sk-ann", &after("resp_1")).await.status, 400);
}

#[tokio::test]
async fn what_is_asked_about_a_response_reaches_the_provider_that_made_it() {
    let a = upstream().body(response("resp_a", "hello")).start().await;
    let b = upstream().body(response("resp_b", "bonjour")).start().await;
    let both = json!({
        "providers": {"a": {"responses": true}, "b": {"responses": true}},
        "auth": {"keys": [{"name": "ann", "key": "sk-ann"}, {"name": "bob", "key": "sk-bob"}]},
    });
    let gateway = gateway().model("of-a", [&a]).model("of-b", [&b]).config(both).start().await;
    let ask = |method: &str, path: &str, key: &str| {
        gateway.request(method, path).header("authorization", &format!("Bearer {key}")).send()
    };
    for model in ["of-a", "of-b"] {
        let body = format!(r#"{{"model":"{model}","input":"hi"}}"#);
        let made = gateway.post(RESPONSES, body).header("authorization", "Bearer sk-ann").send().await;
        assert_eq!(made.status, 200);
    }
    for (method, path) in [
        ("GET", "/v1/responses/resp_b?include=x"),
        ("DELETE", "/v1/responses/resp_b"),
        ("POST", "/v1/responses/resp_b/cancel"),
        ("GET", "/v1/responses/resp_b/input_items"),
    ] {
        let answer = ask(method, path, "sk-ann").await;
        assert_eq!((answer.status, answer.body_text()), (200, &*response("resp_b", "bonjour")), "{method} {path}");
        assert_eq!(b.last().head.start, format!("{method} {path} HTTP/1.1"));
        assert_eq!(b.last().head.header("authorization"), Some("Bearer sk-provider"));
    }
    assert_eq!(a.hits(), 1);
    // of another tenant's, and of what was never made here, nothing is known
    let message = |id: &str| {
        format!(
            "Response with id '{id}' not found: none of this id has been made for you since this gateway was started. \
             `passthrough.paths` can name the provider that keeps responses."
        )
    };
    for (id, key) in [("resp_b", "sk-bob"), ("resp_c", "sk-ann")] {
        let answer = ask("GET", &format!("/v1/responses/{id}"), key).await;
        let error = json!({"error": {
            "message": message(id), "type": "invalid_request_error", "param": null, "code": "response_not_found",
        }});
        assert_eq!((answer.status, answer.json()), (404, error));
    }
    assert_eq!(gateway.get("/v1/responses/resp_b").await.status, 401);
    assert_eq!((a.hits(), b.hits()), (1, 5));
}
