//! What a request costs: in the receipt, the log and the metrics, by whatever way an upstream counts.

use serde_json::{Value, json};
use witgate_tests::{CHAT, Gateway, Upstream, eventually, gateway, upstream};

use crate::program::Serving;

/// Prices of GPT-4o by the catalogue, of Claude Sonnet 4.5 and of a model that nobody knows.
fn prices() -> Value {
    json!({"deployments": {
        "gpt@a": {"provider": "a", "catalogue": "openai/gpt-4o"},
        "claude@b": {"provider": "b", "catalogue": "anthropic/claude-sonnet-4-5"},
        "nobody@a": {"provider": "a"},
        "thinks@a": {"provider": "a", "price": {"input": 1, "output": 2, "reasoning": 4, "cached_input": 0.5}},
    }, "routes": {
        "gpt": {"deployments": "gpt@a"}, "claude": {"deployments": "claude@b"},
        "nobody": {"deployments": "nobody@a"}, "thinks": {"deployments": "thinks@a"},
    }, "providers": {"b": {"dialect": "anthropic"}}})
}

fn openai_usage() -> Value {
    json!({
        "prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300,
        "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 100},
    })
}

fn openai(usage: &Value) -> String {
    json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": "real",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": usage,
    })
    .to_string()
}

fn anthropic() -> String {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "real",
        "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {
            "input_tokens": 1000, "cache_creation_input_tokens": 2000, "cache_read_input_tokens": 4000,
            "output_tokens": 300,
        },
    })
    .to_string()
}

async fn priced() -> (Gateway, [Upstream; 2]) {
    let a = upstream().body(openai(&openai_usage())).start().await;
    let b = upstream().body(anthropic()).start().await;
    (gateway().model("a", [&a]).model("b", [&b]).config(prices()).start().await, [a, b])
}

/// 600 × 2.5 + 400 × 1.25 + 300 × 10 millionths
const GPT: &str = "0.005";
/// 1000 × 3 + 2000 × 3.75 + 4000 × 0.3 + 300 × 15 millionths
const CLAUDE: &str = "0.0162";

#[tokio::test]
async fn the_receipt_has_the_exact_cost_cached_tokens_at_their_own_price() {
    let (gateway, _upstreams) = priced().await;
    let cost = async |path: &str, model: &str| {
        let body = json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
        let answer = gateway.post(path, body.to_string()).send().await;
        assert_eq!(answer.status, 200, "{path} {model}");
        answer.header("x-witgate-cost-usd").map(str::to_owned)
    };
    // the same whatever dialect the client speaks
    for path in [CHAT, "/v1/messages"] {
        assert_eq!(cost(path, "gpt").await.as_deref(), Some(GPT), "{path}");
    }
    assert_eq!(cost(CHAT, "claude").await.as_deref(), Some(CLAUDE));
    assert_eq!(cost("/v1/messages", "claude").await.as_deref(), Some(CLAUDE));
    // 600 × 1 + 400 × 0.5 + 200 × 2 + 100 × 4 millionths
    assert_eq!(cost(CHAT, "thinks").await.as_deref(), Some("0.0016"));
    // an unknown price is no price
    assert_eq!(cost(CHAT, "nobody").await, None);
}

#[tokio::test]
async fn metrics_add_up_cost_and_tokens() {
    let (gateway, _upstreams) = priced().await;
    for _ in 0..2 {
        gateway.chat("gpt", "hi").await;
    }
    gateway.chat("claude", "hi").await;
    for (series, value) in [
        (r#"witgate_cost_usd_total{deployment="gpt@a"}"#, 0.01),
        (r#"witgate_cost_usd_total{deployment="claude@b"}"#, 0.0162),
        (r#"witgate_route_cost_usd_total{route="gpt"}"#, 0.01),
        (r#"witgate_route_cost_usd_total{route="claude"}"#, 0.0162),
        (r#"witgate_tokens_total{deployment="gpt@a",direction="in"}"#, 2000.0),
        (r#"witgate_tokens_total{deployment="gpt@a",direction="cached"}"#, 800.0),
        (r#"witgate_tokens_total{deployment="gpt@a",direction="reasoning"}"#, 200.0),
        (r#"witgate_tokens_total{deployment="claude@b",direction="in"}"#, 7000.0),
        (r#"witgate_tokens_total{deployment="claude@b",direction="cache-write"}"#, 2000.0),
    ] {
        let told = gateway.metric(series).await;
        assert!((told - value).abs() < 1e-12, "{series} is {told}");
    }
}

#[tokio::test]
async fn of_a_stream_the_log_has_the_cost() {
    let chunk = |rest: Value| {
        let mut chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "real"});
        chunk.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        format!("data: {chunk}\n\n")
    };
    let events = [
        chunk(json!({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": null}]})),
        chunk(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})),
        chunk(json!({"choices": [], "usage": openai_usage()})),
        "data: [DONE]\n\n".to_owned(),
    ];
    let a = upstream().events(events).start().await;
    let b = upstream().start().await;
    let folder = gateway().model("a", [&a]).model("b", [&b]).config(prices()).write();
    let gateway = Serving::start(&folder).await;
    let request = gateway.request("POST", CHAT).json(r#"{"model":"gpt","stream":true,"messages":[]}"#);
    let answer = request.header("x-request-id", "streamed").send().await;
    assert_eq!((answer.status, answer.header("x-witgate-cost-usd")), (200, None));
    let whole = gateway.request("POST", CHAT).json(r#"{"model":"nobody","messages":[]}"#);
    whole.header("x-request-id", "unpriced").send().await;
    let line = async |id: &str| {
        eventually("it is logged", async || gateway.log().contains(id)).await;
        let log = gateway.log();
        serde_json::from_str::<Value>(log.lines().find(|line| line.contains(id)).unwrap()).unwrap()
    };
    let streamed = line("streamed").await;
    let told = ["usd", "tokens_in", "tokens_cached", "tokens_out", "tokens_reasoning"].map(|field| &streamed[field]);
    assert_eq!(told, [&json!(0.005), &json!(1000), &json!(400), &json!(300), &json!(100)]);
    assert_eq!(line("unpriced").await.get("usd"), None);
}

#[tokio::test]
async fn what_comes_from_the_cache_costs_nothing() {
    let (a, b) = (upstream().body(openai(&openai_usage())).start().await, upstream().start().await);
    let cached = json!({"routes": {"gpt": {"cache": {"ttl": "1m"}}}});
    let gateway = gateway().model("a", [&a]).model("b", [&b]).config(prices()).config(cached).start().await;
    let first = gateway.chat("gpt", "hi").await;
    assert_eq!((first.header("x-witgate-cache"), first.header("x-witgate-cost-usd")), (Some("miss"), Some(GPT)));
    let second = gateway.chat("gpt", "hi").await;
    assert_eq!((second.header("x-witgate-cache"), second.header("x-witgate-cost-usd")), (Some("hit"), Some("0")));
    assert!((gateway.metric(r#"witgate_route_cost_usd_total{route="gpt"}"#).await - 0.005).abs() < 1e-12);
}
