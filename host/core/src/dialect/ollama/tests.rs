//! Fixtures of Ollama's and OpenAI's published shapes.

use proptest::prelude::*;
use serde_json::Value;

use super::ToOwnLines;
use super::downstream::{self, ToLines, Told};
use super::upstream::{self, Stamp, Target, ToChunks};
use crate::dialect::fixtures::{self, given, pretty, streamed, translated};
use crate::dialect::{Chain, OnLoss, OutputLimit, StreamTranslator, anthropic};
use crate::openai::UpstreamError;

fn hold_all(folder: &str, translate: impl Fn(&str) -> String) {
    fixtures::hold_all(&format!("ollama/{folder}"), translate);
}

fn target(on_loss: OnLoss) -> Target<'static> {
    Target { model: "llama3.2:latest", on_loss }
}

fn stamp() -> Stamp {
    Stamp { id: "chatcmpl-7".to_owned(), created: 1_795_395_005 }
}

#[test]
fn chat_requests_become_those_of_ollama() {
    hold_all("upstream/request", |fixture| translated(upstream::request(given(fixture), &target(OnLoss::default()))));
}

#[test]
fn ollama_s_answers_become_chat_completions() {
    hold_all("upstream/response", |fixture| pretty(&upstream::response(given(fixture), &stamp()).unwrap()));
}

#[test]
fn ollama_s_lines_become_chunks() {
    hold_all("upstream/stream", |fixture| streamed(fixture, ToChunks::of_chat(stamp(), true)));
}

#[test]
fn completions_go_by_generate_and_back() {
    hold_all("upstream/generate", |fixture| {
        translated(upstream::generate_request(given(fixture), &target(OnLoss::default())))
    });
    hold_all("upstream/generate_response", |fixture| {
        pretty(&upstream::generate_response(given(fixture), &stamp()).unwrap())
    });
    hold_all("upstream/generate_stream", |fixture| streamed(fixture, ToChunks::of_completion(stamp(), false)));
}

#[test]
fn embeddings_go_by_embed_and_back() {
    hold_all("upstream/embed", |fixture| {
        translated(upstream::embed_request(given(fixture), &target(OnLoss::default())))
    });
    hold_all("upstream/embed_response", |fixture| pretty(&upstream::embed_response(given(fixture)).unwrap()));
}

#[test]
fn ollama_s_errors_become_openai_s() {
    hold_all("upstream/errors", |fixture| {
        let told = UpstreamError::parse(given(fixture).as_bytes());
        pretty(str::from_utf8(&upstream::error(&told, "invalid_request_error").to_json()).unwrap())
    });
}

fn to_openai(on_loss: OnLoss) -> downstream::Target<'static> {
    downstream::Target { model: "real", output_limit: OutputLimit::MaxCompletionTokens, usage_unasked: false, on_loss }
}

#[test]
fn ollama_s_requests_become_chat_requests() {
    hold_all("downstream/chat", |fixture| {
        translated(downstream::chat_request(given(fixture), &to_openai(OnLoss::default())))
    });
    hold_all("downstream/generate", |fixture| {
        translated(downstream::generate_request(given(fixture), &to_openai(OnLoss::default())))
    });
}

#[test]
fn chat_completions_become_ollama_s_answers() {
    hold_all("downstream/response", |fixture| {
        let told = |told| pretty(&downstream::response(given(fixture), told).unwrap());
        format!("{}{}", told(Told::Message), told(Told::Response))
    });
}

#[test]
fn chunks_become_lines() {
    hold_all("downstream/stream", |fixture| streamed(fixture, ToLines::new(Told::Message)));
    hold_all("downstream/generate_stream", |fixture| streamed(fixture, ToLines::new(Told::Response)));
}

#[test]
fn ollama_s_embeddings_go_by_openai_s() {
    hold_all("downstream/embed", |fixture| {
        translated(downstream::embed_request(given(fixture), &to_openai(OnLoss::default())))
    });
    hold_all("downstream/embed_response", |fixture| pretty(&downstream::embed_response(given(fixture)).unwrap()));
}

#[test]
fn openai_s_errors_become_ollama_s() {
    let told =
        UpstreamError { message: "No \"x\".".to_owned(), code: Some("c".to_owned()), ..UpstreamError::default() };
    let error = downstream::error(&told);
    assert_eq!(error, r#"{"error":"No \"x\"."}"#);
    assert_eq!(downstream::error_line(&error), format!("{error}\n"));
    assert!(downstream::is_error(error.as_bytes()));
    assert!(!downstream::is_error(br#"{"error":{"message":"No."}}"#));
}

#[test]
fn lines_between_two_that_speak_ollama_are_left_alone() {
    let line = r#"{"model": "m",  "response":"\u00e9","done":false}"#;
    let mut out = Vec::new();
    ToOwnLines.event(format!("data: {line}\n\n").as_bytes(), &mut out);
    ToOwnLines.event(b": ping\n", &mut out);
    ToOwnLines.end(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), format!("{line}\n"));
}

/// A chat request with one more field.
fn chat_with(field: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],{field}}}"#)
}

/// A chat request of one message.
fn chat_of(message: &str) -> String {
    format!(r#"{{"model":"m","messages":[{message}]}}"#)
}

/// A completion with one more field.
fn completion_with(field: &str) -> String {
    format!(r#"{{"model":"m","prompt":"Hi",{field}}}"#)
}

fn refusal(param: &str) -> String {
    format!(
        "'{param}' cannot be carried over to Ollama's API, which this model is served by. Leave it out, or ask for a model \
         that takes it."
    )
}

#[test]
fn a_demand_is_refused_or_told_as_configured() {
    for (body, param) in [
        (chat_with(r#""n":2"#), "n"),
        (chat_with(r#""modalities":["text","audio"]"#), "modalities"),
        (chat_with(r#""audio":{"voice":"alloy"}"#), "audio"),
        (chat_with(r#""functions":[{"name":"f"}]"#), "functions"),
        (chat_with(r#""function_call":"auto""#), "function_call"),
        (chat_with(r#""web_search_options":{"a":1}"#), "web_search_options"),
        (chat_with(r#""tool_choice":"required""#), "tool_choice"),
        (chat_with(r#""tool_choice":{"type":"function","function":{"name":"f"}}"#), "tool_choice"),
        (chat_with(r#""tools":[{"type":"custom","custom":{"name":"c"}}]"#), "tools.type=custom"),
        (chat_with(r#""response_format":{"type":"grammar"}"#), "response_format"),
        (chat_of(r#"{"role":"function","content":"x"}"#), "messages.role=function"),
        (
            chat_of(r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}"#),
            "messages.content.image_url.url (not a data: URL)",
        ),
        (
            chat_of(r#"{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}"#),
            "messages.content.type=file",
        ),
        (
            chat_of(r#"{"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{}}]}"#),
            "messages.tool_calls.type",
        ),
    ] {
        let refused = upstream::request(&body, &target(OnLoss::RefuseDemands)).unwrap_err();
        assert_eq!(refused.to_string(), refusal(param));
        assert_eq!(upstream::request(&body, &target(OnLoss::Drop)).unwrap().dropped, [param], "{body}");
    }
    for (body, param) in [
        (completion_with(r#""n":2"#), "n"),
        (completion_with(r#""best_of":3"#), "best_of"),
        (completion_with(r#""echo":true"#), "echo"),
        (completion_with(r#""logprobs":3"#), "logprobs"),
        (r#"{"model":"m","prompt":["a","b"]}"#.to_owned(), "prompt (several texts, or tokens)"),
        (r#"{"model":"m","prompt":[1,2]}"#.to_owned(), "prompt (several texts, or tokens)"),
    ] {
        let refused = upstream::generate_request(&body, &target(OnLoss::RefuseDemands)).unwrap_err();
        assert_eq!(refused.to_string(), refusal(param));
        assert_eq!(upstream::generate_request(&body, &target(OnLoss::Drop)).unwrap().dropped, [param], "{body}");
    }
    let tokens = r#"{"model":"m","input":[[1,2],[3]]}"#;
    let refused = upstream::embed_request(tokens, &target(OnLoss::RefuseDemands)).unwrap_err();
    assert_eq!(refused.to_string(), refusal("input (tokens)"));
}

#[test]
fn what_openai_has_no_word_for_is_refused_or_told() {
    let generate = |field: &str| format!(r#"{{"model":"m","prompt":"Hi",{field}}}"#);
    for (field, param) in [
        (r#""template":"{{ .Prompt }}""#, "template"),
        (r#""suffix":"end""#, "suffix"),
        (r#""raw":true"#, "raw"),
        (r#""context":[1,2]"#, "context"),
    ] {
        let refused = downstream::generate_request(&generate(field), &to_openai(OnLoss::RefuseDemands)).unwrap_err();
        let message = format!(
            "'{param}' cannot be carried over to OpenAI's chat completions API, which this model is served by. Leave it \
             out, or ask for a model that takes it."
        );
        assert_eq!(refused.to_string(), message);
        let dropped = downstream::generate_request(&generate(field), &to_openai(OnLoss::Drop)).unwrap().dropped;
        assert_eq!(dropped, [param]);
    }
    let hints = chat_with(r#""options":{"num_ctx":8192,"num_thread":2},"keep_alive":-1"#);
    let made = downstream::chat_request(&hints, &to_openai(OnLoss::default())).unwrap();
    assert_eq!(made.dropped, ["options.num_ctx", "options.num_thread", "keep_alive"]);
    assert!(downstream::chat_request(&hints, &to_openai(OnLoss::Refuse)).is_err());
}

#[test]
fn what_is_wrong_in_ollama_s_words_is_told_with_its_place() {
    for (body, told) in [
        (chat_of("7"), "Invalid 'messages[0]': it is not an object."),
        (
            chat_of(r#"{"role":"bot","content":"x"}"#),
            "Invalid 'messages[0].role': expected `system`, `user`, `assistant` or `tool`, but got \"bot\".",
        ),
        (
            chat_of(r#"{"role":"user","content":"x","images":[7]}"#),
            "Invalid 'messages[0].images[0]': expected a string of base64.",
        ),
        (
            chat_of(r#"{"role":"assistant","tool_calls":[7]}"#),
            "Invalid 'messages[0].tool_calls[0]': it is not an object.",
        ),
        (
            chat_of(r#"{"role":"assistant","tool_calls":[{"function":{}}]}"#),
            "Invalid 'messages[0].tool_calls[0].function.name': it is missing.",
        ),
        (chat_with(r#""tools":7"#), "Invalid 'tools': expected an array."),
        (chat_with(r#""tools":[{"type":"function"}]"#), "Invalid 'tools[0].function.name': it is missing."),
        (chat_with(r#""format":"yaml""#), "Invalid 'format': expected `json` or a JSON schema."),
        (chat_with(r#""think":"hard""#), "Invalid 'think': expected a boolean, or `low`, `medium`, `high` or `max`."),
        (chat_with(r#""options":7"#), "Invalid 'options': expected an object."),
    ] {
        assert_eq!(downstream::chat_request(&body, &to_openai(OnLoss::Drop)).unwrap_err().to_string(), told, "{body}");
    }
}

#[test]
fn a_hint_is_refused_only_by_the_strict() {
    let body = chat_with(r#""parallel_tool_calls":false"#);
    assert_eq!(upstream::request(&body, &target(OnLoss::RefuseDemands)).unwrap().dropped, ["parallel_tool_calls"]);
    let refused = upstream::request(&body, &target(OnLoss::Refuse)).unwrap_err();
    assert_eq!(refused.to_string(), refusal("parallel_tool_calls"));
    // What says nothing is lost without a word.
    let neutral = chat_with(r#""n":1,"logit_bias":{},"store":false,"modalities":["text"],"metadata":null"#);
    assert_eq!(upstream::request(&neutral, &target(OnLoss::Refuse)).unwrap().dropped, [""; 0]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (body, told) in [
        (chat_of("7"), "Invalid 'messages[0]': it is not an object."),
        (
            chat_of(r#"{"role":"bot","content":"x"}"#),
            "Invalid 'messages[0].role': expected `system`, `developer`, `user`, `assistant` or `tool`, but got \"bot\".",
        ),
        (chat_of(r#"{"role":"user","content":7}"#), "Invalid 'messages[0].content': expected a string or an array."),
        (chat_of(r#"{"role":"user","content":[7]}"#), "Invalid 'messages[0].content[0]': it is not an object."),
        (
            chat_of(r#"{"role":"user","content":[{"type":"image_url"}]}"#),
            "Invalid 'messages[0].content[0].image_url.url': it is missing.",
        ),
        (
            chat_of(r#"{"role":"user","content":[{"type":"input_audio"}]}"#),
            "Invalid 'messages[0].content[0].input_audio.data': it is missing.",
        ),
        (chat_of(r#"{"role":"tool","content":"x"}"#), "Invalid 'messages[0].tool_call_id': it is missing."),
        (
            chat_of(r#"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"[]"}}]}"#),
            "Invalid 'messages[0].tool_calls[0].function.arguments': the text is not a JSON object.",
        ),
        (
            chat_of(r#"{"role":"assistant","tool_calls":[{"id":"a"}]}"#),
            "Invalid 'messages[0].tool_calls[0]': `function.name` is missing.",
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
        (
            chat_with(r#""reasoning_effort":"huge""#),
            "Invalid 'reasoning_effort': expected `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`, but got \"huge\".",
        ),
        (chat_with(r#""reasoning_effort":1"#), "Invalid 'reasoning_effort': expected a string."),
    ] {
        assert_eq!(upstream::request(&body, &target(OnLoss::Drop)).unwrap_err().to_string(), told, "{body}");
    }
}

#[test]
fn what_is_no_answer_is_not_translated() {
    for body in ["", "[]", "{}", r#"{"message":{"content":"half"},"done":false}"#, r#"{"error":"no"}"#] {
        assert!(upstream::response(body, &stamp()).is_err(), "{body}");
        assert!(upstream::generate_response(body, &stamp()).is_err(), "{body}");
        assert!(upstream::embed_response(body).is_err(), "{body}");
    }
    let told = upstream::response("{}", &stamp()).unwrap_err().to_string();
    assert_eq!(told, "the answer is not one of Ollama's API, so it cannot be told in OpenAI's API");
    for body in ["", "[]", "{}", r#"{"choices":[]}"#, r#"{"error":{"message":"no"}}"#] {
        assert!(downstream::response(body, Told::Message).is_err(), "{body}");
        assert!(downstream::embed_response(body).is_err(), "{body}");
    }
    let told = downstream::response("{}", Told::Message).unwrap_err().to_string();
    let wanted =
        "the answer is not a completion of OpenAI's chat completions API, so it cannot be told in Ollama's API";
    assert_eq!(told, wanted);
}

#[test]
fn a_messages_client_is_told_what_ollama_streams() {
    fixtures::hold_into("anthropic/from_ollama/stream", "ollama/upstream/stream", |fixture| {
        let to_chunks = Box::new(ToChunks::of_chat(stamp(), true));
        streamed(fixture, Chain::new(to_chunks, Box::new(anthropic::downstream::ToEvents::new(7))))
    });
}

#[test]
fn a_client_of_ollama_s_is_told_what_anthropic_streams() {
    fixtures::hold_into("ollama/from_anthropic/stream", "anthropic/upstream/stream", |fixture| {
        let to_chunks = Box::new(anthropic::upstream::ToChunks::new(1_795_395_005, true));
        streamed(fixture, Chain::new(to_chunks, Box::new(ToLines::new(Told::Message))))
    });
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
        "tool_calls",
        "function",
        "image_url",
        "url",
        "data:x;base64,y",
        "images",
        "thinking",
        "id",
        "name",
        "arguments",
        "message",
        "response",
        "done",
        "done_reason",
        "embeddings",
        "eval_count",
        "input",
        "prompt",
        "options",
        "tools",
        "format",
        "stop",
        "error",
        "logprobs",
        "é\u{1F600}\"\\",
    ])
}

proptest! {
    #[test]
    fn whatever_comes_gives_json_or_a_refusal(value in any_json()) {
        let body = value.to_string();
        let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
        for request in [body.clone(), chat_with(&format!(r#""tools":[{body}]"#)), chat_of(&body)] {
            if let Ok(made) = upstream::request(&request, &target(OnLoss::Drop)) {
                prop_assert!(is_json(&made.body), "{}", made.body);
            }
            if let Ok(made) = downstream::chat_request(&request, &to_openai(OnLoss::Drop)) {
                prop_assert!(is_json(&made.body), "{}", made.body);
            }
        }
        for made in [
            upstream::generate_request(&body, &target(OnLoss::Drop)),
            upstream::embed_request(&body, &target(OnLoss::Drop)),
            downstream::generate_request(&body, &to_openai(OnLoss::Drop)),
            downstream::embed_request(&body, &to_openai(OnLoss::Drop)),
        ] {
            prop_assert!(made.as_ref().map_or(true, |made| is_json(&made.body)), "{made:?}");
        }
        for made in [
            upstream::response(&body, &stamp()),
            upstream::generate_response(&body, &stamp()),
            upstream::embed_response(&body),
        ] {
            prop_assert!(made.as_ref().map_or(true, |made| is_json(made)), "{made:?}");
        }
        let mut out = Vec::new();
        for mut chunks in [ToChunks::of_chat(stamp(), true), ToChunks::of_completion(stamp(), true)] {
            chunks.event(format!("data: {body}\n\n").as_bytes(), &mut out);
            chunks.end(&mut out);
        }
        for line in String::from_utf8(out).unwrap().lines().filter_map(|line| line.strip_prefix("data: ")) {
            prop_assert!(line == "[DONE]" || is_json(line), "{line}");
        }
        let (mut lines, mut out) = (ToLines::new(Told::Message), Vec::new());
        lines.event(format!("data: {body}\n\n").as_bytes(), &mut out);
        lines.end(&mut out);
        for line in String::from_utf8(out).unwrap().lines() {
            prop_assert!(is_json(line), "{line}");
        }
    }
}
