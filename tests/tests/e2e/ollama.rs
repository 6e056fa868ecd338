//! Clients that speak Ollama's dialect, whatever the provider speaks; providers that speak it, whatever the client; and
//! what an Ollama server says of its loaded models.

use serde_json::{Value, json};
use witgate_tests::{Upstream, chat_events, eventually, gateway, upstream};

const CHAT: &str = "/api/chat";

/// A question in Ollama's dialect, with more fields.
fn question(more: &str) -> String {
    format!(r#"{{"model":"fast","messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

/// An answer as Ollama's docs/api.md has it.
fn answer(text: &str) -> String {
    json!({
        "model": "real", "created_at": "2023-12-12T14:13:43.416799Z",
        "message": {"role": "assistant", "content": text}, "done": true, "done_reason": "stop",
        "total_duration": 5_191_566_416_u64, "prompt_eval_count": 26, "eval_count": 298,
    })
    .to_string()
}

/// Makes a provider one whose own API is spoken.
fn own_api(name: &str, server: &Upstream) -> Value {
    json!({"providers": {name: {"dialect": "ollama", "base_url": format!("http://{}", server.address())}}})
}

#[tokio::test]
async fn a_chat_fails_over_from_one_dialect_to_the_other() {
    let a = upstream().status(404).body(r#"{"error":"model 'fast' not found"}"#).start().await;
    let b = upstream().chat("hello").start().await;
    let gateway = gateway().model("fast", [&a, &b]).config(own_api("a", &a)).start().await;
    let told = gateway.post(CHAT, question(r#","stream":false"#)).send().await;
    assert_eq!((told.status, told.attempts(), told.deployment()), (200, Some("2"), Some("fast@b")));
    assert_eq!((&told.json()["message"]["content"], &told.json()["done"]), (&json!("hello"), &json!(true)));
    assert_eq!((a.hits_at("/api/chat"), b.hits_at("/v1/chat/completions")), (1, 1));
    // and a client of OpenAI's the other way
    a.becomes(upstream().body(answer("bonjour")));
    assert_eq!(gateway.chat("fast", "hi").await.text(), "bonjour");
    let counted = r#"witgate_requests_total{endpoint="ollama_chat",outcome="served",route="fast"}"#;
    assert_eq!(gateway.metric(counted).await, 1.0);
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_a_line_that_says_so() {
    let a = upstream().events(chat_events("hello there").into_iter().take(2)).cut().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let told = gateway.post(CHAT, question("")).send().await;
    assert_eq!(told.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = told.body_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.last().is_some_and(|line| line["error"].is_string()), "{lines:?}");
    assert!(lines.iter().all(|line| line["done"] != json!(true)), "{lines:?}");
}

#[tokio::test]
async fn the_window_that_ollama_gives_a_model_is_told() {
    const WHOLE: &str = r#","stream":false"#;
    let shown = r#"{"capabilities":["completion"],"parameters":"num_ctx 100"}"#;
    let a = upstream().body(answer("ok")).at("/api/show", upstream().body(shown)).start().await;
    let probed = json!({"providers": {"a": {"probe": {"enabled": true}}}});
    let gateway = gateway().model("fast", [&a]).config(own_api("a", &a)).config(probed).start().await;
    let words = |count| "word ".repeat(count);
    let ask = |count, more: &str| {
        let body = format!(r#"{{"model":"fast","messages":[{{"role":"user","content":"{}"}}]{more}}}"#, words(count));
        gateway.post(CHAT, body).send()
    };
    eventually("it has told", async || ask(101, WHOLE).await.status == 400).await;
    let sent = a.hits_at(CHAT);
    let told = ask(101, WHOLE).await.json();
    let message = "This model's maximum context length is 100 tokens. However, your messages resulted in at least 101 \
                   tokens. Please reduce the length of the messages.";
    assert_eq!((told, a.hits_at(CHAT)), (json!({"error": message}), sent));
    assert_eq!(ask(100, WHOLE).await.status, 200);
    // who says how long it shall be gets it
    assert_eq!(ask(101, r#","stream":false,"options":{"num_ctx":200}"#).await.status, 200);
}

#[tokio::test]
async fn whose_model_is_loaded_comes_first() {
    let cold = upstream().body(r#"{"models":[]}"#).start().await;
    let warm = upstream().body(r#"{"models":[{"name":"real-fast:latest","size":1}]}"#).start().await;
    let facts = json!({"enabled": true, "interval": "100ms", "idle": "100ms"});
    let own = |server: &Upstream| json!({"dialect": "ollama", "base_url": format!("http://{}", server.address()), "facts": facts});
    let ready = json!([{"use": "least-loaded", "settings": {"prefer_ready": true}}]);
    let gateway = gateway()
        .model("fast", [&cold, &warm])
        .config(json!({"providers": {"a": own(&cold), "b": own(&warm)}, "routes": {"fast": {"policies": ready}}}))
        .start()
        .await;
    let told = |id: &str, loaded| format!("witgate_upstream_model_loaded{{deployment=\"{id}\"}} {loaded}\n");
    eventually("both have told", async || {
        let metrics = gateway.get("/metrics").await.body_text().to_owned();
        metrics.contains(&told("fast@a", 0)) && metrics.contains(&told("fast@b", 1))
    })
    .await;
    // from now on the same server chats
    warm.becomes(upstream().body(answer("warm")));
    for _ in 0..4 {
        assert_eq!(gateway.chat("fast", "hi").await.deployment(), Some("fast@b"));
    }
}
