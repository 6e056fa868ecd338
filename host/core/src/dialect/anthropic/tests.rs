//! Fixtures of Anthropic's and OpenAI's published shapes, each with what becomes of it in a file beside it
//! (`WITGATE_BLESS=1` writes those anew).

use proptest::prelude::*;
use serde_json::Value;

use super::{downstream, upstream};
use crate::dialect::fixtures::{self, given, hold_all, pretty, streamed, translated};
use crate::dialect::{OnLoss, OutputLimit, StreamTranslator};
use crate::openai::UpstreamError;

fn to_anthropic(on_loss: OnLoss) -> upstream::Target<'static> {
    upstream::Target { model: "claude-opus-5-5", max_tokens: upstream::DEFAULT_MAX_TOKENS, on_loss }
}

fn to_openai(on_loss: OnLoss) -> downstream::Target<'static> {
    downstream::Target { model: "real", output_limit: OutputLimit::MaxTokens, usage_unasked: false, on_loss }
}

#[test]
fn chat_requests_become_messages_requests() {
    hold_all("anthropic/upstream/request", |fixture| {
        translated(upstream::request(given(fixture), &to_anthropic(OnLoss::default())))
    });
}

#[test]
fn messages_become_chat_completions() {
    hold_all("anthropic/upstream/response", |fixture| {
        pretty(&upstream::response(given(fixture), 1_795_395_005).unwrap())
    });
}

#[test]
fn messages_events_become_chunks() {
    hold_all("anthropic/upstream/stream", |fixture| streamed(fixture, upstream::ToChunks::new(1_795_395_005, true)));
}

#[test]
fn anthropic_s_errors_become_openai_s() {
    hold_all("anthropic/upstream/errors", |fixture| {
        let told = UpstreamError::parse(given(fixture).as_bytes());
        pretty(str::from_utf8(&upstream::error(&told).to_json()).unwrap())
    });
}

#[test]
fn messages_requests_become_chat_requests() {
    hold_all("anthropic/downstream/request", |fixture| {
        translated(downstream::request(given(fixture), &to_openai(OnLoss::default())))
    });
}

#[test]
fn usage_that_comes_unasked_is_not_asked_for() {
    let body = r#"{"model":"m","max_tokens":1,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let asked = |usage_unasked| {
        let target = downstream::Target { usage_unasked, ..to_openai(OnLoss::default()) };
        downstream::request(body, &target).unwrap().body.contains(r#""stream_options":{"include_usage":true}"#)
    };
    assert!(asked(false));
    assert!(!asked(true));
}

#[test]
fn chat_completions_become_messages() {
    hold_all("anthropic/downstream/response", |fixture| pretty(&downstream::response(given(fixture)).unwrap()));
}

#[test]
fn chunks_become_messages_events() {
    hold_all("anthropic/downstream/stream", |fixture| streamed(fixture, downstream::ToEvents::new(7)));
}

#[test]
fn openai_s_errors_become_anthropic_s() {
    let told = UpstreamError { message: "No.".to_owned(), ..UpstreamError::default() };
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        let error = downstream::error(&told, Some(status));
        assert_eq!(error, format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"No."}}}}"#), "{status}");
    }
    let limited = UpstreamError { kind: Some("rate_limit_error".to_owned()), ..told };
    let event =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"No.\"}}\n\n";
    assert_eq!(downstream::error_event(&downstream::error(&limited, None)), event);
}

#[test]
fn usage_is_told_to_those_who_ask() {
    let event = |data: &str| format!("data: {data}\n\n");
    let mut quiet = upstream::ToChunks::new(1, false);
    let mut out = Vec::new();
    quiet.event(
        event(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#).as_bytes(),
        &mut out,
    );
    quiet.event(event(r#"{"type":"message_stop"}"#).as_bytes(), &mut out);
    let chunk = r#"{"id":"","object":"chat.completion.chunk","created":1,"model":"","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("data: {chunk}\n\ndata: [DONE]\n\n"));
}

/// A chat request with one more field.
fn chat_with(field: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],{field}}}"#)
}

/// A Messages request with one more field.
fn message_with(field: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"Hi"}}],{field}}}"#)
}

#[test]
fn a_demand_is_refused_or_told_as_configured() {
    for (field, param) in [
        (r#""n":2"#, "n"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""top_logprobs":3"#, "top_logprobs"),
        (r#""modalities":["text","audio"]"#, "modalities"),
        (r#""audio":{"voice":"alloy"}"#, "audio"),
        (r#""functions":[{"name":"f"}]"#, "functions"),
        (r#""function_call":"auto""#, "function_call"),
        (r#""web_search_options":{"a":1}"#, "web_search_options"),
        (r#""response_format":{"type":"json_object"}"#, "response_format"),
        (r#""tools":[{"type":"custom","custom":{"name":"c"}}]"#, "tools.type=custom"),
        (r#""tool_choice":{"type":"allowed_tools"}"#, "tool_choice"),
    ] {
        let body = chat_with(field);
        let refused = upstream::request(&body, &to_anthropic(OnLoss::RefuseDemands)).unwrap_err();
        let message = format!(
            "'{param}' cannot be carried over to Anthropic's Messages API, which this model is served by. Leave it out, \
             or ask for a model that takes it."
        );
        assert_eq!(refused.to_string(), message);
        let dropped = upstream::request(&body, &to_anthropic(OnLoss::Drop)).unwrap();
        assert_eq!(dropped.dropped, [param], "{field}");
        assert!(!dropped.body.contains(field), "{}", dropped.body);
    }
    for (field, param) in [
        (r#""container":"c""#, "container"),
        (r#""mcp_servers":[{"url":"u"}]"#, "mcp_servers"),
        (r#""context_management":{"edits":[]}"#, "context_management"),
        (r#""inference_geo":"eu""#, "inference_geo"),
        (r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#, "tools.type=web_search_20250305"),
    ] {
        let body = message_with(field);
        let refused = downstream::request(&body, &to_openai(OnLoss::RefuseDemands)).unwrap_err();
        let message = format!(
            "'{param}' cannot be carried over to OpenAI's chat completions API, which this model is served by. Leave it \
             out, or ask for a model that takes it."
        );
        assert_eq!(refused.to_string(), message);
        assert_eq!(downstream::request(&body, &to_openai(OnLoss::Drop)).unwrap().dropped, [param]);
    }
}

#[test]
fn a_hint_is_refused_only_by_the_strict() {
    let body = chat_with(r#""seed":7"#);
    assert_eq!(upstream::request(&body, &to_anthropic(OnLoss::RefuseDemands)).unwrap().dropped, ["seed"]);
    let refused = upstream::request(&body, &to_anthropic(OnLoss::Refuse)).unwrap_err();
    let told = refused.body();
    assert_eq!((told.param.as_deref(), told.code.as_deref()), (Some("seed"), Some("unsupported_parameter")));
    // What says nothing is lost without a word.
    let neutral = chat_with(
        r#""n":1,"logprobs":false,"top_logprobs":0,"frequency_penalty":0.0,"logit_bias":{},"store":false,"modalities":["text"],"metadata":null"#,
    );
    assert_eq!(upstream::request(&neutral, &to_anthropic(OnLoss::Refuse)).unwrap().dropped, [""; 0]);
    let body = message_with(r#""thinking":{"type":"adaptive"}"#);
    assert_eq!(downstream::request(&body, &to_openai(OnLoss::RefuseDemands)).unwrap().dropped, ["thinking"]);
    assert!(downstream::request(&body, &to_openai(OnLoss::Refuse)).is_err());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let chat = |message: &str| format!(r#"{{"model":"m","messages":[{message}]}}"#);
    for (body, told) in [
        (chat("7"), "Invalid 'messages[0]': it is not an object."),
        (
            chat(r#"{"role":"bot","content":"x"}"#),
            "Invalid 'messages[0].role': expected `system`, `developer`, `user`, `assistant` or `tool`, but got \"bot\".",
        ),
        (chat(r#"{"role":"user","content":7}"#), "Invalid 'messages[0].content': expected a string or an array."),
        (chat(r#"{"role":"user","content":[7]}"#), "Invalid 'messages[0].content[0]': it is not an object."),
        (
            chat(r#"{"role":"user","content":[{"type":"image_url"}]}"#),
            "Invalid 'messages[0].content[0].image_url.url': it is missing.",
        ),
        (chat(r#"{"role":"tool","content":"x"}"#), "Invalid 'messages[0].tool_call_id': it is missing."),
        (
            chat(r#"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"[]"}}]}"#),
            "Invalid 'messages[0].tool_calls[0].function.arguments': the text is not a JSON object.",
        ),
        (
            chat(r#"{"role":"assistant","tool_calls":[{"id":"a"}]}"#),
            "Invalid 'messages[0].tool_calls[0]': `id` or `function.name` is missing.",
        ),
        (chat_with(r#""tools":7"#), "Invalid 'tools': expected an array."),
        (chat_with(r#""tools":[{"type":"function"}]"#), "Invalid 'tools[0].function.name': it is missing."),
        (
            chat_with(r#""tool_choice":"maybe""#),
            "Invalid 'tool_choice': expected `none`, `auto`, `required` or an object, but got \"maybe\".",
        ),
        (
            chat_with(r#""response_format":{"type":"json_schema"}"#),
            "Invalid 'response_format.json_schema.schema': it is missing.",
        ),
        (chat_with(r#""reasoning_effort":1"#), "Invalid 'reasoning_effort': expected a string."),
    ] {
        assert_eq!(upstream::request(&body, &to_anthropic(OnLoss::Drop)).unwrap_err().to_string(), told, "{body}");
    }
    for (body, told) in [
        (chat(r#"{"role":"user"}"#), "Invalid 'messages[0].content': it is missing."),
        (
            chat(r#"{"role":"bot","content":"x"}"#),
            "Invalid 'messages[0].role': expected `user`, `assistant` or `system`, but got \"bot\".",
        ),
        (chat(r#"{"role":"user","content":7}"#), "Invalid 'messages[0].content': expected a string or an array."),
        (
            chat(r#"{"role":"user","content":[{"type":"tool_result"}]}"#),
            "Invalid 'messages[0].content': `tool_use_id` of a `tool_result` is missing.",
        ),
        (
            chat(r#"{"role":"assistant","content":[{"type":"tool_use"}]}"#),
            "Invalid 'messages[0].content': `id` or `name` of a `tool_use` is missing.",
        ),
        (message_with(r#""system":[{"type":"image"}]"#), "Invalid 'system': expected text blocks alone."),
        (message_with(r#""tools":[{}]"#), "Invalid 'tools[0].name': it is missing."),
        (message_with(r#""tool_choice":{"type":"tool"}"#), "Invalid 'tool_choice.name': it is missing."),
        (message_with(r#""output_config":{"format":{}}"#), "Invalid 'output_config.format.schema': it is missing."),
    ] {
        assert_eq!(downstream::request(&body, &to_openai(OnLoss::Drop)).unwrap_err().to_string(), told, "{body}");
    }
}

#[test]
fn numbers_keep_their_text() {
    let input = r#"{"big": 12345678901234567890123, "exact": 1.500}"#;
    let arguments = Value::from(input).to_string();
    let call = format!(r#"{{"id":"c","type":"function","function":{{"name":"f","arguments":{arguments}}}}}"#);
    let chat = format!(r#"{{"model":"m","messages":[{{"role":"assistant","tool_calls":[{call}]}}],"top_p":0.10}}"#);
    let made = upstream::request(&chat, &to_anthropic(OnLoss::Refuse)).unwrap().body;
    assert!(made.contains(&format!(r#""input":{input}"#)) && made.contains(r#""top_p":0.10"#), "{made}");
    // and back again
    let back = downstream::request(&made, &to_openai(OnLoss::Refuse)).unwrap().body;
    assert!(back.contains(&call) && back.contains(r#""top_p":0.10"#), "{back}");
}

#[test]
fn what_is_no_answer_is_not_translated() {
    for body in ["", "[]", "{}", r#"{"type":"message"}"#, r#"{"error":{"message":"no"}}"#] {
        assert!(upstream::response(body, 1).is_err(), "{body}");
        assert!(downstream::response(body).is_err(), "{body}");
    }
    let told = upstream::response("{}", 1).unwrap_err().to_string();
    let wanted = "the answer is not a message of Anthropic's Messages API, so it cannot be told in OpenAI's chat completions API";
    assert_eq!(told, wanted);
}

/// JSON of the words that both dialects use, put together at random.
fn any_json() -> impl Strategy<Value = Value> {
    fixtures::any_json(vec![
        "type",
        "role",
        "content",
        "text",
        "user",
        "assistant",
        "tool",
        "tool_use",
        "tool_result",
        "tool_calls",
        "function",
        "image",
        "image_url",
        "source",
        "url",
        "data:x;base64,y",
        "thinking",
        "id",
        "name",
        "arguments",
        "{}",
        "input",
        "delta",
        "choices",
        "message",
        "index",
        "content_block",
        "content_block_start",
        "message_start",
        "usage",
        "system",
        "tools",
        "stop",
        "é\u{1F600}\"\\",
    ])
}

proptest! {
    #[test]
    fn whatever_comes_gives_json_or_a_refusal(value in any_json()) {
        let body = value.to_string();
        let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
        for request in [body.clone(), chat_with(&format!(r#""tools":[{body}]"#)), format!(r#"{{"model":"m","messages":[{body}]}}"#)] {
            if let Ok(made) = upstream::request(&request, &to_anthropic(OnLoss::Drop)) {
                prop_assert!(is_json(&made.body), "{}", made.body);
            }
            if let Ok(made) = downstream::request(&request, &to_openai(OnLoss::Drop)) {
                prop_assert!(is_json(&made.body), "{}", made.body);
            }
        }
        prop_assert!(upstream::response(&body, 1).is_ok_and(|made| is_json(&made)) || upstream::response(&body, 1).is_err());
        prop_assert!(downstream::response(&body).is_ok_and(|made| is_json(&made)) || downstream::response(&body).is_err());
        let event = format!("data: {body}\n\n");
        let (mut chunks, mut events, mut out) = (upstream::ToChunks::new(1, true), downstream::ToEvents::new(1), Vec::new());
        chunks.event(event.as_bytes(), &mut out);
        events.event(event.as_bytes(), &mut out);
        chunks.end(&mut out);
        events.end(&mut out);
        for line in String::from_utf8(out).unwrap().lines().filter_map(|line| line.strip_prefix("data: ")) {
            prop_assert!(line == "[DONE]" || is_json(line), "{line}");
        }
    }
}
