//! Clients that speak Anthropic's dialect, whatever the provider speaks; providers that speak it, whatever the client.

use serde_json::{Value, json};
use witgate_tests::{Upstream, chat_events, gateway, upstream};

const MESSAGES: &str = "/v1/messages";

/// A question in Anthropic's dialect, with more fields.
fn question(more: &str) -> String {
    format!(r#"{{"model":"fast","max_tokens":64,"messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

/// A message that says this, as Anthropic's API reference has it.
fn message(text: &str) -> String {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "real",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    })
    .to_string()
}

/// Makes the first upstream's provider one that speaks Messages.
fn first_speaks_messages() -> Value {
    json!({"providers": {"a": {"dialect": "anthropic"}}})
}

#[tokio::test]
async fn a_message_fails_over_from_one_dialect_to_the_other() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let a = upstream().status(529).body(overloaded.to_string()).start().await;
    let b = upstream().chat("hello").start().await;
    let gateway = gateway().model("fast", [&a, &b]).config(first_speaks_messages()).start().await;
    let answer = gateway.post(MESSAGES, question("")).send().await;
    assert_eq!((answer.status, answer.attempts(), answer.deployment()), (200, Some("2"), Some("fast@b")));
    assert_eq!(answer.json()["content"], json!([{"type": "text", "text": "hello"}]));
    // and a chat the other way
    a.becomes(upstream().body(message("bonjour")));
    assert_eq!(gateway.chat("fast", "hi").await.text(), "bonjour");
    let counted = r#"witgate_requests_total{endpoint="messages",outcome="served",route="fast"}"#;
    assert_eq!(gateway.metric(counted).await, 1.0);
}

#[tokio::test]
async fn a_stream_of_messages_that_breaks_off_ends_with_an_error_event() {
    let a = upstream().events(chat_events("hello there").into_iter().take(2)).cut().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let text = gateway.post(MESSAGES, question(r#","stream":true"#)).send().await.body_text().to_owned();
    assert!(text.starts_with("event: message_start\n"), "{text}");
    let (_, end) = text.rsplit_once("event: error\ndata: ").unwrap_or_else(|| panic!("no error event: {text}"));
    let told: Value = serde_json::from_str(end.trim()).unwrap();
    assert_eq!((&told["type"], &told["error"]["type"]), (&json!("error"), &json!("api_error")));
    assert!(!text.contains("message_stop"), "{text}");
}

#[tokio::test]
async fn a_translated_answer_is_cached_with_what_was_left_out() {
    let a = upstream().chat("hello").start().await;
    let cached = json!({"routes": {"fast": {"cache": {"ttl": "1m"}}}});
    let gateway = gateway().model("fast", [&a]).config(cached).start().await;
    let ask = || gateway.post(MESSAGES, question(r#","thinking":{"type":"adaptive"}"#)).send();
    let (first, second) = (ask().await, ask().await);
    assert_eq!((first.header("x-witgate-cache"), second.header("x-witgate-cache")), (Some("miss"), Some("hit")));
    assert_eq!(first.body_text(), second.body_text());
    assert_eq!(second.header("x-witgate-dropped"), Some("thinking"));
    // a chat of the same content is another question
    assert_eq!(gateway.chat("fast", "hi").await.header("x-witgate-cache"), Some("miss"));
    // what its limit ended is not kept
    let cut = json!({"choices": [{"index": 0, "message": {"content": "he"}, "finish_reason": "length"}]});
    a.becomes(upstream().body(cut.to_string()));
    let ask = || gateway.post(MESSAGES, question(r#","top_k":1"#)).send();
    let (first, second) = (ask().await, ask().await);
    assert_eq!(first.json()["stop_reason"], "max_tokens");
    assert_eq!(second.header("x-witgate-cache"), Some("miss"));
}

#[tokio::test]
async fn a_loss_is_refused_or_told_as_the_provider_s_configuration_says() {
    let a = upstream().body(message("hello")).start().await;
    let gateway = gateway().model("fast", [&a]).config(first_speaks_messages()).start().await;
    let ask = |more: &str| {
        let body = format!(r#"{{"model":"fast","messages":[{{"role":"user","content":"hi"}}],{more}}}"#);
        gateway.post("/v1/chat/completions", body).send()
    };
    let refused = ask(r#""logprobs":true"#).await;
    let message = "'logprobs' cannot be carried over to Anthropic's Messages API, which this model is served by. Leave it \
                   out, or ask for a model that takes it.";
    let error = json!({"error": {
        "message": message, "type": "invalid_request_error", "param": "logprobs", "code": "unsupported_parameter",
    }});
    assert_eq!((refused.status, refused.json()), (400, error));
    assert_eq!(a.hits(), 0);
    let answer = ask(r#""seed":1"#).await;
    assert_eq!((answer.text(), answer.header("x-witgate-dropped")), ("hello".to_owned(), Some("seed")));
    gateway.folder.edit_config(json!({"providers": {"a": {"on_loss": "drop"}}}));
    witgate_tests::eventually("the loss is told", async || {
        ask(r#""logprobs":true"#).await.header("x-witgate-dropped") == Some("logprobs")
    })
    .await;
}

#[tokio::test]
async fn tokens_are_counted_with_a_key_that_works() {
    let a = upstream().status(401).start().await;
    let keys = json!({"providers": {"a": {"dialect": "anthropic", "api_key": null, "api_keys": ["sk-1", "sk-2"]}}});
    let gateway = gateway().model("fast", [&a]).config(keys).start().await;
    gateway.post(MESSAGES, question("")).send().await;
    let key = |upstream: &Upstream| upstream.last().head.header("x-api-key").map(str::to_owned);
    let refused = key(&a);
    a.becomes(upstream().body(r#"{"input_tokens":14}"#));
    for _ in 0..4 {
        let counted = gateway.post("/v1/messages/count_tokens", question("")).send().await;
        assert_eq!((counted.status, counted.header("x-witgate-counted-by")), (200, Some("provider")));
        assert_ne!(key(&a), refused);
    }
}
