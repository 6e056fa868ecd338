//! Fixtures of OpenAI's published shapes, and what cannot be carried over.

use proptest::prelude::*;
use serde_json::Value;

use super::downstream::{Target, ToEvents, error_event, is_failure, named_as_asked, request, response};
use crate::dialect::fixtures::{self, given, hold_all, hold_into, pretty, streamed, translated};
use crate::dialect::{CHAT_API, Chain, OnLoss, OutputLimit, Refusal, StreamTranslator, anthropic, ollama};
use crate::openai::UpstreamError;

const NOW: u64 = 1_795_395_005;
/// What was asked for, of which a response repeats a part.
const ASKED: &str = r#"{"model":"fast","input":"hi","instructions":"Be brief.","max_output_tokens":64,"metadata":{"team":"a"},"temperature":0.50,"tools":[{"type":"function","name":"f"}],"store":true,"stream":true}"#;

fn target(on_loss: OnLoss) -> Target<'static> {
    Target {
        model: "real",
        api: CHAT_API,
        output_limit: OutputLimit::MaxTokens,
        usage_unasked: false,
        takes_thoughts: false,
        on_loss,
    }
}

#[test]
fn responses_requests_become_chat_requests() {
    hold_all("responses/downstream/request", |fixture| translated(request(given(fixture), &target(OnLoss::default()))));
}

#[test]
fn chat_completions_become_responses() {
    hold_all("responses/downstream/response", |fixture| pretty(&response(given(fixture), ASKED, NOW).unwrap()));
}

#[test]
fn chunks_become_responses_events() {
    hold_all("responses/downstream/stream", |fixture| streamed(fixture, ToEvents::new(ASKED, NOW)));
}

#[test]
fn messages_events_become_responses_events_through_the_hub() {
    hold_all("responses/from_anthropic/stream", |fixture| {
        let to_chunks = Box::new(anthropic::upstream::ToChunks::new(NOW, true));
        streamed(fixture, Chain::new(to_chunks, Box::new(ToEvents::new(ASKED, NOW))))
    });
}

#[test]
fn ollama_s_lines_become_responses_events_through_the_hub() {
    hold_into("responses/from_ollama/stream", "ollama/upstream/stream", |fixture| {
        let stamp = ollama::upstream::Stamp { id: "chatcmpl-7".to_owned(), created: NOW };
        let to_chunks = Box::new(ollama::upstream::ToChunks::of_chat(stamp, true));
        streamed(fixture, Chain::new(to_chunks, Box::new(ToEvents::new(ASKED, NOW))))
    });
}

/// A request with one more field.
fn with(field: &str) -> String {
    format!(r#"{{"model":"m","input":"Hi",{field}}}"#)
}

fn with_item(item: &str) -> String {
    format!(r#"{{"model":"m","input":[{item}]}}"#)
}

#[test]
fn a_demand_is_refused_or_told_as_configured() {
    for (body, param) in [
        (with(r#""previous_response_id":"resp_1""#), "previous_response_id"),
        (with(r#""conversation":"conv_1""#), "conversation"),
        (with(r#""prompt":{"id":"p"}"#), "prompt"),
        (with(r#""background":true"#), "background"),
        (with(r#""context_management":[{"type":"compaction"}]"#), "context_management"),
        (with(r#""moderation":{"model":"m"}"#), "moderation"),
        (with(r#""tools":[{"type":"web_search"}]"#), "tools.type=web_search"),
        (with(r#""tools":[{"type":"custom","name":"c"}]"#), "tools.type=custom"),
        (with(r#""tools":[{"type":"mcp","server_label":"x"}]"#), "tools.type=mcp"),
        (with(r#""tool_choice":{"type":"allowed_tools","mode":"auto","tools":[]}"#), "tool_choice"),
        (with(r#""tool_choice":{"type":"web_search"}"#), "tool_choice"),
        (with_item(r#"{"type":"item_reference","id":"msg_1"}"#), "input.type=item_reference"),
        (
            with_item(r#"{"role":"user","content":[{"type":"input_image","file_id":"file-1"}]}"#),
            "input.content.file_id",
        ),
        (with_item(r#"{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}"#), "input.content.file_id"),
        (
            with_item(r#"{"role":"user","content":[{"type":"input_file","file_url":"https://x"}]}"#),
            "input.content.file_url",
        ),
        (with_item(r#"{"role":"user","content":[{"type":"input_video"}]}"#), "input.content.input_video"),
    ] {
        let refused = request(&body, &target(OnLoss::RefuseDemands)).unwrap_err();
        let message = format!(
            "'{param}' cannot be carried over to OpenAI's chat completions API, which this model is served by. Leave it \
             out, or ask for a model that takes it."
        );
        assert_eq!(refused.to_string(), message);
        let told = refused.body();
        assert_eq!((told.param.as_deref(), told.code.as_deref()), (Some(param), Some("unsupported_parameter")));
        assert_eq!(request(&body, &target(OnLoss::Drop)).unwrap().dropped, [param], "{body}");
    }
}

#[test]
fn a_hint_is_refused_only_by_the_strict() {
    for (field, param) in [
        (r#""store":true"#, "store"),
        (r#""truncation":"auto""#, "truncation"),
        (r#""max_tool_calls":2"#, "max_tool_calls"),
        (r#""reasoning":{"summary":"auto"}"#, "reasoning.summary"),
        (r#""include":["reasoning.encrypted_content"]"#, "include=reasoning.encrypted_content"),
        (r#""stream_options":{"include_obfuscation":true}"#, "stream_options.include_obfuscation"),
    ] {
        assert_eq!(request(&with(field), &target(OnLoss::RefuseDemands)).unwrap().dropped, [param]);
        let refused = request(&with(field), &target(OnLoss::Refuse)).unwrap_err();
        assert_eq!(refused.body().param.as_deref(), Some(param));
    }
    let neutral = with(
        r#""store":false,"background":false,"truncation":"disabled","previous_response_id":null,"include":[],"metadata":{"a":"b"},"top_logprobs":0,"reasoning":{"effort":null}"#,
    );
    assert_eq!(request(&neutral, &target(OnLoss::Refuse)).unwrap().dropped, [""; 0]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (body, told) in [
        (r#"{"model":"m","input":7}"#.to_owned(), "Invalid 'input': expected a string or an array."),
        (with_item("7"), "Invalid 'input[0]': it is not an object."),
        (with_item(r#"{"role":"user"}"#), "Invalid 'input[0].content': it is missing."),
        (
            with_item(r#"{"role":"bot","content":"x"}"#),
            "Invalid 'input[0].role': expected `user`, `assistant`, `system` or `developer`, but got \"bot\".",
        ),
        (with_item(r#"{"role":"user","content":7}"#), "Invalid 'input[0].content': expected a string or an array."),
        (with_item(r#"{"role":"user","content":[7]}"#), "Invalid 'input[0].content[0]': it is not an object."),
        (
            with_item(r#"{"type":"function_call","name":"f"}"#),
            "Invalid 'input[0]': `call_id` or `name` of a `function_call` is missing.",
        ),
        (with_item(r#"{"type":"function_call_output","output":"x"}"#), "Invalid 'input[0].call_id': it is missing."),
        (with_item(r#"{"type":"function_call_output","call_id":"c"}"#), "Invalid 'input[0].output': it is missing."),
        (with(r#""instructions":7"#), "Invalid 'instructions': expected a string."),
        (with(r#""tools":7"#), "Invalid 'tools': expected an array."),
        (with(r#""tools":[7]"#), "Invalid 'tools[0]': it is not an object."),
        (with(r#""tools":[{"name":"f"}]"#), "Invalid 'tools[0].type': it is missing."),
        (with(r#""tools":[{"type":"function"}]"#), "Invalid 'tools[0].name': it is missing."),
        (
            with(r#""tool_choice":"maybe""#),
            "Invalid 'tool_choice': expected `none`, `auto`, `required` or an object, but got \"maybe\".",
        ),
        (with(r#""tool_choice":{"type":"function"}"#), "Invalid 'tool_choice.name': it is missing."),
        (with(r#""tool_choice":{}"#), "Invalid 'tool_choice.type': it is missing."),
        (with(r#""text":{"format":7}"#), "Invalid 'text.format': expected an object."),
        (
            with(r#""text":{"format":{"type":"xml"}}"#),
            "Invalid 'text.format.type': expected `text`, `json_object` or `json_schema`, but got \"xml\".",
        ),
        (with(r#""text":{"format":{"type":"json_schema","schema":{}}}"#), "Invalid 'text.format.name': it is missing."),
        (
            with(r#""text":{"format":{"type":"json_schema","name":"n"}}"#),
            "Invalid 'text.format.schema': it is missing.",
        ),
    ] {
        assert_eq!(request(&body, &target(OnLoss::Drop)).unwrap_err().to_string(), told, "{body}");
    }
}

#[test]
fn a_further_translation_speaks_of_the_client_s_fields() {
    let chat = request(&with(r#""text":{"format":{"type":"json_object"}}"#), &target(OnLoss::Refuse)).unwrap().body;
    let target = anthropic::upstream::Target { model: "claude", max_tokens: 9, on_loss: OnLoss::RefuseDemands };
    let refused: Refusal = anthropic::upstream::request(&chat, &target).unwrap_err();
    assert_eq!(refused.renamed(named_as_asked).body().param.as_deref(), Some("text.format"));
}

/// The whole way there and back: a client that sends the output back gives Anthropic its thinking with its signatures.
#[test]
fn what_anthropic_thought_goes_back_to_it_with_its_signature() {
    let blocks = r#"[{"type":"thinking","thinking":"Hm.","signature":"s\"1"},{"type":"redacted_thinking","data":"d"}]"#;
    let message = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{},{{"type":"tool_use","id":"t","name":"f","input":{{}}}}],"stop_reason":"tool_use","usage":{{"input_tokens":1,"output_tokens":1}}}}"#,
        &blocks[1..blocks.len() - 1]
    );
    let chat = anthropic::upstream::response(&message, NOW).unwrap();
    let told: Value = serde_json::from_str(&response(&chat, ASKED, NOW).unwrap()).unwrap();
    let [reasoning, call] = [&told["output"][0], &told["output"][1]];
    assert_eq!((&reasoning["type"], &call["type"]), (&"reasoning".into(), &"function_call".into()));
    let result = serde_json::json!({"type": "function_call_output", "call_id": "t", "output": "rain"});
    let again =
        serde_json::json!({"model": "m", "input": [{"role": "user", "content": "hi"}, reasoning, call, result]});
    let back =
        |takes_thoughts| request(&again.to_string(), &Target { takes_thoughts, ..target(OnLoss::default()) }).unwrap();
    let chat = back(true);
    assert_eq!(chat.dropped, [""; 0]);
    let anthropic = anthropic::upstream::Target { model: "c", max_tokens: 9, on_loss: OnLoss::Refuse };
    let sent = anthropic::upstream::request(&chat.body, &anthropic).unwrap().body;
    assert!(sent.contains(&format!("{},{{\"type\":\"tool_use\"", &blocks[..blocks.len() - 1])), "{sent}");
    // nobody else could make anything of it
    let chat = back(false);
    assert_eq!(chat.dropped, ["input.type=reasoning"]);
    assert!(!chat.body.contains("thinking"), "{}", chat.body);
    // and it is no thinking of Anthropic's whatever a client sends
    for other in ["gAAAA", "[]", "[7]", r#"[{"type":"text","text":"x"}]"#] {
        let item = serde_json::json!({"type": "reasoning", "summary": [], "encrypted_content": other});
        let body = with_item(&item.to_string());
        let sent = request(&body, &Target { takes_thoughts: true, ..target(OnLoss::default()) }).unwrap();
        assert_eq!(sent.dropped, ["input.type=reasoning"], "{other}");
    }
}

#[test]
fn what_is_no_answer_is_not_translated() {
    for body in ["", "[]", "{}", r#"{"choices":[]}"#, r#"{"error":{"message":"no"}}"#] {
        assert!(response(body, ASKED, NOW).is_err(), "{body}");
    }
    let told = response("{}", ASKED, NOW).unwrap_err().to_string();
    let wanted =
        "the answer is not a completion of OpenAI's chat completions API, so it cannot be told in the Responses API";
    assert_eq!(told, wanted);
}

#[test]
fn a_stream_that_breaks_off_fails_as_far_as_it_has_come() {
    let told =
        UpstreamError { message: "It broke.".to_owned(), code: Some("cut".to_owned()), ..UpstreamError::default() };
    let mut out = Vec::new();
    let mut stream = ToEvents::new(ASKED, NOW);
    stream.event(b"data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n", &mut out);
    out.clear();
    stream.fail(&told, &mut out);
    let event = String::from_utf8(out.clone()).unwrap();
    let data = event.strip_prefix("event: response.failed\ndata: ").unwrap();
    let failed: Value = serde_json::from_str(data).unwrap();
    assert_eq!(failed["sequence_number"], 5);
    assert_eq!(failed["response"]["status"], "failed");
    assert_eq!(failed["response"]["error"], serde_json::json!({"code": "server_error", "message": "It broke."}));
    assert_eq!(failed["response"]["output"][0]["status"], "incomplete");
    assert_eq!(failed["response"]["output"][0]["content"][0]["text"], "Hel");
    assert!(is_failure(data.as_bytes()));
    // and is over then
    out.clear();
    stream.fail(&told, &mut out);
    stream.end(&mut out);
    assert_eq!(out, b"");
    // before anything has begun there is no response that could have failed
    ToEvents::new(ASKED, NOW).fail(&told, &mut out);
    let event = "event: error\ndata: {\"type\":\"error\",\"code\":\"cut\",\"message\":\"It broke.\",\"param\":null,\"sequence_number\":0}\n\n";
    assert_eq!(String::from_utf8(out).unwrap(), event);
    assert_eq!(error_event(&told, 0), event);
    assert!(is_failure(event.split_once("data: ").unwrap().1.as_bytes()));
    for other in ["", "{}", r#"{"type":"response.completed"}"#, r#"{"type":"error"}"#, r#"{"error":{"message":"x"}}"#] {
        assert!(!is_failure(other.as_bytes()), "{other}");
    }
}

#[test]
fn what_failed_is_told_in_a_word_that_clients_know() {
    for (kind, code, told) in [
        (Some("rate_limit_error"), None, "rate_limit_exceeded"),
        (None, Some("429"), "rate_limit_exceeded"),
        (Some("invalid_request_error"), Some("context_length_exceeded"), "invalid_prompt"),
        (Some("exceed_context_size_error"), None, "invalid_prompt"),
        (Some("server_error"), Some("stalled"), "server_error"),
        (None, None, "server_error"),
    ] {
        let error = UpstreamError {
            message: "No.".to_owned(),
            kind: kind.map(str::to_owned),
            code: code.map(str::to_owned),
            ..UpstreamError::default()
        };
        let wanted = format!(r#"{{"code":"{told}","message":"No."}}"#);
        assert_eq!(super::downstream::failure(&error), wanted, "{kind:?} {code:?}");
    }
}

/// JSON of the words that requests and chunks use, put together at random.
fn any_json() -> impl Strategy<Value = Value> {
    fixtures::any_json(vec![
        "type",
        "role",
        "content",
        "text",
        "user",
        "assistant",
        "message",
        "function_call",
        "function_call_output",
        "call_id",
        "name",
        "arguments",
        "output",
        "input",
        "input_text",
        "input_image",
        "image_url",
        "tools",
        "function",
        "choices",
        "delta",
        "tool_calls",
        "index",
        "id",
        "finish_reason",
        "usage",
        "error",
        "format",
        "json_schema",
    ])
}

proptest! {
    /// Whatever comes, what is made is JSON, and every event of a stream is numbered.
    #[test]
    fn nothing_that_is_made_is_malformed(input in any_json(), chunks in prop::collection::vec(any_json(), 0..6)) {
        let body = serde_json::json!({"model": "m", "input": input, "text": input, "tools": [input]}).to_string();
        if let Ok(made) = request(&body, &target(OnLoss::Drop)) {
            prop_assert!(serde_json::from_str::<Value>(&made.body).is_ok(), "{}", made.body);
        }
        if let Ok(made) = response(&input.to_string(), &body, NOW) {
            prop_assert!(serde_json::from_str::<Value>(&made).is_ok(), "{made}");
        }
        let mut stream = ToEvents::new(&body, NOW);
        let mut out = Vec::new();
        for chunk in chunks {
            stream.event(format!("data: {chunk}\n\n").as_bytes(), &mut out);
        }
        stream.end(&mut out);
        let text = String::from_utf8(out).unwrap();
        for (number, event) in text.split_terminator("\n\n").enumerate() {
            let data = event.split_once("\ndata: ").unwrap().1;
            let data: Value = serde_json::from_str(data).unwrap();
            prop_assert_eq!(&data["sequence_number"], number);
        }
    }
}
