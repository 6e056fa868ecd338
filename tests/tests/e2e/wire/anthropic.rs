//! Point 22: the same for clients of Anthropic.

use serde_json::{Value, json};
use witgate_tests::{chat_events, gateway, upstream};

#[tokio::test]
async fn wire_22_when_all_are_overloaded_the_client_is_told_in_its_dialect() {
    let a = upstream().status(503).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answer = gateway.post(MESSAGES, question("")).send().await;
    assert_eq!(answer.status, 529);
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    let told = answer.json();
    assert_eq!((&told["type"], &told["error"]["type"]), (&json!("error"), &json!("overloaded_error")));
    assert_eq!(gateway.chat("fast", "hi").await.status, 503);
}

const MESSAGES: &str = "/v1/messages";

fn question(more: &str) -> String {
    format!(r#"{{"model":"fast","max_tokens":64,"messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

#[tokio::test]
async fn wire_22_events_have_names_pings_and_a_usage_that_is_the_total() {
    let mut chunks = chat_events("hello there");
    chunks.insert(
        chunks.len() - 1,
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n".to_owned(),
    );
    let a = upstream().events(chunks).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let events = gateway.post(MESSAGES, question(r#","stream":true"#)).stream().await.rest().await;
    let read = |event: &String| -> (String, Value) {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        (name.to_owned(), serde_json::from_str(data.trim()).unwrap())
    };
    let events: Vec<_> = events.iter().map(read).collect();
    for (name, data) in &events {
        assert_eq!(data["type"], **name);
    }
    let names: Vec<_> = events.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let usage = &events[events.len() - 2].1["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["output_tokens"]),
        (&json!(3), &json!(4), &json!(3))
    );
}

#[tokio::test]
async fn wire_22_a_provider_s_own_events_come_as_they_are() {
    let events = [
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"real\",\"usage\":{\"input_tokens\":3}}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"h\\u00e9\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ];
    let a = upstream().events(events).start().await;
    let anthropic = json!({"providers": {"a": {"dialect": "anthropic"}}});
    let gateway = gateway().model("fast", [&a]).config(anthropic).start().await;
    let ask = gateway.post(MESSAGES, question(r#","stream":true"#)).header("anthropic-beta", "x-1");
    assert_eq!(ask.stream().await.rest().await, events);
    let seen = a.last().head;
    assert_eq!((seen.header("anthropic-version"), seen.header("anthropic-beta")), (Some("2023-06-01"), Some("x-1")));
    // in the middle, as the provider says it
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    a.becomes(upstream().events([events[0], events[2], error]));
    let got = gateway.post(MESSAGES, question(r#","stream":true"#)).stream().await.rest().await;
    assert_eq!(got, [events[0], events[2], error]);
}

#[tokio::test]
async fn wire_22_tokens_are_counted_for_coding_agents() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let counted = gateway.post("/v1/messages/count_tokens", question("")).send().await;
    assert_eq!((counted.status, counted.header("x-witgate-counted-by")), (200, Some("estimate")));
    assert!(counted.json()["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
    assert_eq!(a.hits(), 0);
}
