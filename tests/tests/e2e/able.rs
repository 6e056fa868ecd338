//! Only deployments that may be able of what a request needs are asked, and nobody is when none is.

use serde_json::{Value, json};
use witgate_tests::{Answer, CHAT, Gateway, Upstream, eventually, gateway, upstream};

const TOOLS: &str = r#"{"model":"fast","messages":[],"tools":[{"type":"function","function":{"name":"f"}}]}"#;
const IMAGE: &str = r#"{"model":"fast","messages":[{"role":"user","content":[{"type":"text","text":"what"},
    {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]}"#;

/// A gateway whose only deployment is this one.
async fn one(deployment: Value) -> (Gateway, Upstream) {
    let a = upstream().start().await;
    let config = json!({"deployments": {"fast@a": deployment}});
    (gateway().model("fast", [&a]).config(config).start().await, a)
}

fn assert_told(answer: &Answer, status: u16, message: &str, param: Option<&str>, code: Option<&str>) {
    let error = json!({"message": message, "type": "invalid_request_error", "param": param, "code": code});
    assert_eq!((answer.status, answer.body_text()), (status, json!({"error": error}).to_string().as_str()));
    assert!(answer.header("x-request-id").is_some());
}

#[tokio::test]
async fn a_request_goes_only_where_it_is_not_known_to_fail() {
    let (a, b) = (upstream().start().await, upstream().start().await);
    let config = json!({"deployments": {"fast@a": {"lacks": ["tools", "vision"]}}});
    let gateway = gateway().model("fast", [&a, &b]).config(config).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.deployment(), Some("fast@a"));
    // of `b` nothing is known
    for body in [TOOLS, IMAGE] {
        assert_eq!(gateway.post(CHAT, body).send().await.deployment(), Some("fast@b"), "{body}");
    }
}

#[tokio::test]
async fn a_failed_request_does_not_go_to_who_is_unable() {
    let (a, b, c) = (upstream().status(500).start().await, upstream().start().await, upstream().start().await);
    let config = json!({
        "deployments": {"other@b": {"lacks": ["vision"]}, "last@c": {}},
        "routes": {
            "fast": {"fallbacks": ["other", "last"], "policies": ["in-order", "resilient"]},
            "other": {}, "last": {},
        },
    });
    let gateway = gateway().model("fast", [&a]).model("other", [&b]).model("last", [&c]).config(config).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.deployment(), Some("other@b"));
    assert_eq!(gateway.post(CHAT, IMAGE).send().await.deployment(), Some("last@c"));
    assert_eq!(b.hits(), 1);
}

#[tokio::test]
async fn an_image_to_a_text_model_is_refused_without_asking_it() {
    let (gateway, a) = one(json!({"lacks": ["vision"]})).await;
    let message = "Invalid content type. image_url is only supported by certain models.";
    let answer = gateway.post(CHAT, IMAGE).send().await;
    assert_told(&answer, 400, message, Some("messages.[0].content.[1].type"), None);
    assert_eq!(a.hits(), 0);
    let series = r#"witgate_requests_total{endpoint="chat",outcome="unsupported",route="fast"}"#;
    assert_eq!(gateway.metric(series).await, 1.0);
}

#[tokio::test]
async fn tools_to_a_model_without_are_refused_without_asking_it() {
    let (gateway, a) = one(json!({"lacks": ["tools"]})).await;
    let message = "tools is not supported in this model. For a list of supported models, refer to \
                   https://platform.openai.com/docs/guides/function-calling#models-supporting-function-calling.";
    assert_told(&gateway.post(CHAT, TOOLS).send().await, 400, message, None, None);
    assert_eq!((a.hits(), gateway.chat("fast", "hi").await.status), (0, 200));
}

#[tokio::test]
async fn a_chat_with_a_model_that_embeds_is_refused_and_the_other_way_round() {
    let (gateway, a) = one(json!({"catalogue": "openai/text-embedding-3-small"})).await;
    let message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean \
                   to use v1/completions?";
    assert_told(&gateway.chat("fast", "hi").await, 404, message, Some("model"), None);
    assert_eq!(a.hits(), 0);
    let embedding = r#"{"model":"fast","input":"hi"}"#;
    assert_eq!(gateway.post("/v1/embeddings", embedding).send().await.status, 200);
    let (gateway, a) = one(json!({"catalogue": "openai/gpt-4o"})).await;
    let message = "You are not allowed to generate embeddings from this model";
    assert_told(&gateway.post("/v1/embeddings", embedding).send().await, 403, message, None, None);
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn a_prompt_that_cannot_fit_the_window_is_refused_and_one_that_may_is_sent() {
    let (gateway, a) = one(json!({"context_tokens": 1000})).await;
    let words = |count| "word ".repeat(count);
    assert_eq!(gateway.chat("fast", &words(1000)).await.status, 200);
    assert_eq!(a.hits(), 1);
    let message = "This model's maximum context length is 1000 tokens. However, your messages resulted in at least \
                   1001 tokens. Please reduce the length of the messages.";
    let answer = gateway.chat("fast", &words(1001)).await;
    assert_told(&answer, 400, message, Some("messages"), Some("context_length_exceeded"));
    assert_eq!(a.hits(), 1);
    // whose client says that the window is longer than usual
    let body = json!({"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": words(1001)}]});
    let ask = || gateway.post("/v1/messages", body.to_string());
    let answer = ask().header("anthropic-beta", "x,context-1m-2025-08-07").send().await;
    assert_eq!((answer.status, a.hits()), (200, 2));
    let told = ask().send().await.json();
    let expected =
        json!({"type": "invalid_request_error", "message": "prompt is too long: at least 1001 tokens > 1000 maximum"});
    assert_eq!((&told["type"], &told["error"]), (&json!("error"), &expected));
    // counting is not refused
    assert_eq!(gateway.post("/v1/messages/count_tokens", body.to_string()).send().await.status, 200);
}

#[tokio::test]
async fn of_several_the_one_whose_window_is_long_enough_is_asked() {
    let (a, b) = (upstream().start().await, upstream().start().await);
    let config = json!({"deployments": {"fast@a": {"context_tokens": 100}, "fast@b": {"context_tokens": 5000}}});
    let gateway = gateway().model("fast", [&a, &b]).config(config).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.deployment(), Some("fast@a"));
    assert_eq!(gateway.chat("fast", &"word ".repeat(200)).await.deployment(), Some("fast@b"));
}

#[tokio::test]
async fn a_capability_s_name_leads_to_who_has_it_by_the_catalogue_too() {
    let (a, b) = (upstream().start().await, upstream().start().await);
    let config = json!({
        "deployments": {
            "text@a": {"provider": "a", "catalogue": "openai/gpt-4"},
            "sees@b": {"provider": "b", "catalogue": "openai/gpt-4o"},
            "code@a": {"provider": "a", "capabilities": ["code_generation"]},
        },
        "routes": {"able": {
            "capabilities": ["auto", "vision", "code_generation"], "deployments": ["text@a", "sees@b", "code@a"],
            "policies": ["capability", "in-order"],
        }},
    });
    let gateway = gateway().model("fast", [&a]).model("other", [&b]).config(config).start().await;
    for (model, body, deployment) in [
        ("vision", "[]", "sees@b"),
        ("code_generation", "[]", "code@a"),
        ("auto", "[]", "text@a"),
        // by policy and by what is needed
        ("auto", r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]"#, "sees@b"),
    ] {
        let answer = gateway.post(CHAT, format!(r#"{{"model":"{model}","messages":{body}}}"#)).send().await;
        assert_eq!((answer.status, answer.deployment()), (200, Some(deployment)), "{model} {body}");
    }
}

#[tokio::test]
async fn what_a_server_of_one_s_own_tells_need_not_be_configured() {
    let listed = json!({"object": "list", "data": [{
        "id": "whatever", "object": "model", "meta": {"n_ctx": 100},
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    }]});
    let a = upstream().at("/v1/models", upstream().body(listed.to_string())).start().await;
    let probed = json!({"providers": {"a": {"probe": {"enabled": true}}}});
    let gateway = gateway().model("fast", [&a]).config(probed).start().await;
    eventually("it has told", async || gateway.post(CHAT, IMAGE).send().await.status == 400).await;
    let sent = a.hits_at(CHAT);
    let message = "This model's maximum context length is 100 tokens. However, your messages resulted in at least \
                   101 tokens. Please reduce the length of the messages.";
    let answer = gateway.chat("fast", &"word ".repeat(101)).await;
    assert_told(&answer, 400, message, Some("messages"), Some("context_length_exceeded"));
    assert_eq!(a.hits_at(CHAT), sent);
    assert_eq!(gateway.chat("fast", &"word ".repeat(100)).await.status, 200);
}
