//! Requests, threads and seams, as they are on the wire.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::openai::{Usage, peek};
use crate::sse::Splitter;

fn refused(endpoint: Endpoint, more: &Value) -> Option<Obstacle> {
    let mut body = match endpoint {
        Endpoint::Completions | Endpoint::OllamaGenerate => json!({"model": "m", "prompt": "Say"}),
        Endpoint::Responses => json!({"model": "m", "input": "Say"}),
        _ => json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Say"}]}),
    };
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = body.to_string();
    obstacle(body.as_bytes(), &peek(body.as_bytes(), endpoint).unwrap())
}

#[test]
fn what_demands_more_than_text_is_not_gone_on_with() {
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    for (demand, expected) in [
        (json!({"tools": tool}), Obstacle::Tools),
        (json!({"functions": [{"name": "f"}]}), Obstacle::Tools),
        (json!({"response_format": {"type": "json_object"}}), Obstacle::Format),
        (json!({"response_format": {"type": "json_schema", "json_schema": {}}}), Obstacle::Format),
        (json!({"grammar": "root ::= \"a\""}), Obstacle::Format),
        (json!({"guided_choice": ["a"]}), Obstacle::Format),
        (json!({"structured_outputs": {"choice": ["a"]}}), Obstacle::Format),
        (json!({"n": 2}), Obstacle::Choices),
        (json!({"logprobs": true}), Obstacle::Logprobs),
        (json!({"modalities": ["text", "audio"]}), Obstacle::Audio),
        (
            json!({"messages": [{"role": "user", "content": "Say"}, {"role": "assistant", "content": "I"}]}),
            Obstacle::Prefilled,
        ),
    ] {
        assert_eq!(refused(Endpoint::Chat, &demand), Some(expected), "{demand}");
    }
    for (demand, expected) in [
        (json!({"prompt": ["a", "b"]}), Obstacle::Prompt),
        (json!({"prompt": [1, 2]}), Obstacle::Prompt),
        (json!({"echo": true}), Obstacle::Prompt),
        (json!({"suffix": "."}), Obstacle::Prompt),
        (json!({"logprobs": 2}), Obstacle::Logprobs),
        (json!({"best_of": 3}), Obstacle::Choices),
    ] {
        assert_eq!(refused(Endpoint::Completions, &demand), Some(expected), "{demand}");
    }
    for (demand, expected) in [
        (json!({"tools": tool}), Obstacle::Tools),
        (json!({"format": "json"}), Obstacle::Format),
        (json!({"think": "low"}), Obstacle::Reasoning),
        (json!({"logprobs": true}), Obstacle::Logprobs),
    ] {
        assert_eq!(refused(Endpoint::OllamaChat, &demand), Some(expected), "{demand}");
    }
    for (demand, expected) in [
        (json!({"tools": [{"type": "function", "name": "f"}]}), Obstacle::Tools),
        (json!({"text": {"format": {"type": "json_object"}}}), Obstacle::Format),
        (json!({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}), Obstacle::Format),
        (json!({"include": ["message.output_text.logprobs"]}), Obstacle::Logprobs),
        (
            json!({"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
            Obstacle::Prefilled,
        ),
    ] {
        assert_eq!(refused(Endpoint::Responses, &demand), Some(expected), "{demand}");
    }
    for demand in [json!({"raw": true}), json!({"context": [1]}), json!({"suffix": "."}), json!({"template": "x"})] {
        assert_eq!(refused(Endpoint::OllamaGenerate, &demand), Some(Obstacle::Prompt), "{demand}");
    }
    for (demand, expected) in [
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), Obstacle::Reasoning),
        (json!({"thinking": {"type": "adaptive"}}), Obstacle::Reasoning),
        (json!({"output_config": {"format": {"type": "json_schema", "schema": {}}}}), Obstacle::Format),
        (json!({"mcp_servers": [{"name": "s"}]}), Obstacle::Tools),
    ] {
        assert_eq!(refused(Endpoint::Messages, &demand), Some(expected), "{demand}");
    }
}

#[test]
fn what_asks_for_text_is_gone_on_with() {
    let plain = json!({
        "response_format": {"type": "text"}, "n": 1, "logprobs": false, "tools": [], "stop": ["."], "seed": 7,
        "temperature": 0.5, "stream_options": {"include_usage": true}, "modalities": ["text"], "grammar": null,
        "messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Say"}],
    });
    assert_eq!(refused(Endpoint::Chat, &plain), None);
    let plain = json!({"echo": false, "best_of": 1, "logprobs": null, "suffix": ""});
    assert_eq!(refused(Endpoint::Completions, &plain), None);
    assert_eq!(refused(Endpoint::Messages, &json!({"thinking": {"type": "disabled"}, "tools": []})), None);
    let plain =
        json!({"text": {"format": {"type": "text"}, "verbosity": "low"}, "tools": [], "include": [], "store": false});
    assert_eq!(refused(Endpoint::Responses, &plain), None);
    let plain = json!({"think": false, "format": "", "options": {"num_ctx": 9}, "keep_alive": "5m", "raw": false});
    assert_eq!(refused(Endpoint::OllamaChat, &plain), None);
    assert_eq!(refused(Endpoint::OllamaGenerate, &plain), None);
}

#[test]
fn every_kind_of_stream_can_be_joined() {
    let joined: Vec<_> = Endpoint::ALL.into_iter().filter(|endpoint| joins(*endpoint)).collect();
    let openai = [Endpoint::Chat, Endpoint::Completions, Endpoint::Messages, Endpoint::Responses];
    assert_eq!(joined, [&openai[..], &[Endpoint::OllamaChat, Endpoint::OllamaGenerate]].concat());
}

#[test]
fn labels_are_told_apart() {
    let mut labels: Vec<_> = Obstacle::ALL.map(Obstacle::label).into();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Obstacle::ALL.len());
}

const SO_FAR: SoFar<'_> = SoFar { text: "one \"two\"\n", tokens: 4 };

fn asked(endpoint: Endpoint, how: Continuation, body: &str) -> Option<String> {
    continued(body, endpoint, how, &SO_FAR)
}

#[test]
fn the_answer_so_far_becomes_the_last_message() {
    let body = r#"{"model":"m","messages":[ {"role":"user","content":"count"} ],"seed":1e2,"max_tokens":10}"#;
    let message = r#"{"role":"assistant","content":"one \"two\"\n"}"#;
    let with = |message: &str| {
        format!(
            r#"{{"model":"m","messages":[ {{"role":"user","content":"count"}},{message}],"seed":1e2,"max_tokens":6}}"#
        )
    };
    assert_eq!(asked(Endpoint::Chat, Continuation::Message, body), Some(with(message)));
    let prefix = r#"{"role":"assistant","content":"one \"two\"\n","prefix":true}"#;
    assert_eq!(asked(Endpoint::Chat, Continuation::Prefix, body), Some(with(prefix)));
    let flags = r#","max_tokens":6,"continue_final_message":true,"add_generation_prompt":false}"#;
    let flagged = with(message).replace(r#","max_tokens":6}"#, flags);
    assert_eq!(asked(Endpoint::Chat, Continuation::FinalMessage, body), Some(flagged.clone()));
    // what the client says of it is not said twice
    let own = body.replace(r#"{"model""#, r#"{"add_generation_prompt":true,"model""#);
    assert_eq!(asked(Endpoint::Chat, Continuation::FinalMessage, &own), Some(flagged));
    assert_eq!(asked(Endpoint::Chat, Continuation::Never, body), None);
    // Anthropic refuses blanks at the end
    let trimmed = r#"{"role":"assistant","content":"one \"two\""}"#;
    assert_eq!(asked(Endpoint::Messages, Continuation::Message, body), Some(with(trimmed)));
}

#[test]
fn a_message_of_blanks_alone_is_not_sent_to_anthropic() {
    let body = r#"{"messages":[{"role":"user","content":"count"}]}"#;
    let blanks = SoFar { text: "\n\n", tokens: 1 };
    assert_eq!(continued(body, Endpoint::Messages, Continuation::Message, &blanks).as_deref(), Some(body));
    assert!(continued(body, Endpoint::Chat, Continuation::Message, &blanks).is_some_and(|asked| asked != body));
}

#[test]
fn a_completions_prompt_becomes_longer() {
    let body = r#"{"model":"m","prompt":"count\u0021 ","max_tokens":3,"stream":true}"#;
    let wanted = r#"{"model":"m","prompt":"count! one \"two\"\n","max_tokens":1,"stream":true}"#;
    assert_eq!(asked(Endpoint::Completions, Continuation::Never, body).as_deref(), Some(wanted));
    assert_eq!(asked(Endpoint::Completions, Continuation::Never, r#"{"prompt":[1]}"#), None);
    assert_eq!(asked(Endpoint::Completions, Continuation::Never, r#"{"model":"m"}"#), None);
}

#[test]
fn ollama_s_limit_is_among_its_options() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"count"}],"options":{"num_predict":10,"top_k":1}}"#;
    let wanted = concat!(
        r#"{"model":"m","messages":[{"role":"user","content":"count"},{"role":"assistant","content":"one \"two\"\n"}],"#,
        r#""options":{"num_predict":6,"top_k":1}}"#
    );
    assert_eq!(asked(Endpoint::OllamaChat, Continuation::Message, body).as_deref(), Some(wanted));
    assert_eq!(asked(Endpoint::OllamaGenerate, Continuation::Message, r#"{"prompt":"count"}"#), None);
}

#[test]
fn limits_count_what_was_sent() {
    let limit = |value: &str| {
        let body = format!(r#"{{"prompt":"a","max_completion_tokens":{value}}}"#);
        let asked = asked(Endpoint::Completions, Continuation::Never, &body).unwrap();
        asked.rsplit_once(':').unwrap().1.trim_end_matches('}').to_owned()
    };
    assert_eq!(["5", "4", "1"].map(limit), ["1", "1", "1"]);
    assert_eq!(["6", "100"].map(limit), ["2", "96"]);
    // no limit, and what the server may judge
    assert_eq!(["-1", "0", "\"x\"", "8.5"].map(limit), ["-1", "0", "\"x\"", "8.5"]);
}

fn chunk(id: &str, delta: &Value, finish: Option<&str>) -> String {
    let chunk = json!({
        "id": id, "object": "chat.completion.chunk", "created": id.len(), "model": format!("model-{id}"),
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    });
    format!("data: {chunk}\n\n")
}

const DONE: &str = "data: [DONE]\n\n";

fn chat(id: &str, words: &[&str]) -> Vec<String> {
    let role = chunk(id, &json!({"role": "assistant", "content": ""}), None);
    let words = words.iter().map(|word| chunk(id, &json!({"content": word}), None));
    let usage = json!({
        "id": id, "object": "chat.completion.chunk", "created": id.len(), "model": format!("model-{id}"), "choices": [],
        "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22, "prompt_tokens_details": {"cached_tokens": 5}},
    });
    let ending = [chunk(id, &json!({}), Some("stop")), format!("data: {usage}\n\n"), DONE.to_owned()];
    [role].into_iter().chain(words).chain(ending).collect()
}

/// What the client gets of this piece.
fn pass(thread: &mut Thread, piece: &str) -> String {
    String::from_utf8(thread.pass(Bytes::copy_from_slice(piece.as_bytes())).to_vec()).unwrap()
}

fn used(prompt: u32, completion: u32) -> Usage {
    Usage {
        prompt_tokens: Some(prompt),
        completion_tokens: Some(completion),
        cached_tokens: Some(3),
        ..Usage::default()
    }
}

#[test]
fn a_later_stream_of_lines_goes_on_in_the_first_ones_name() {
    let line = |model: &str, text: &str| {
        let message = json!({"role": "assistant", "content": text});
        format!("{}\n", json!({"model": model, "created_at": "t", "message": message, "done": false}))
    };
    let last = |model: &str, prompt: u32, output: u32| {
        let message = json!({"role": "assistant", "content": ""});
        let counts = json!({
            "model": model, "message": message, "done": true, "done_reason": "stop", "prompt_eval_count": prompt,
            "eval_count": output,
        });
        format!("{counts}\n")
    };
    let mut thread = Thread::new(Endpoint::OllamaChat, None);
    let first = [line("a", "one "), line("a", "two \n")].concat();
    assert_eq!(pass(&mut thread, &first), first, "the first goes byte for byte");
    assert_eq!((thread.text(), thread.obstacle()), ("one two \n", None));
    thread.breaks(used(10, 2));
    thread.resumes(true);
    let second = [line("b", " \n"), line("b", "three"), last("b", 20, 3)].concat();
    let wanted = [line("a", "three"), last("a", 30, 5)].concat();
    let sorted = |lines: &str| lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    assert_eq!(sorted(&pass(&mut thread, &second)), sorted(&wanted));
    assert_eq!(thread.obstacle(), Some(Obstacle::Complete));
    // a prompt that is completed
    let mut thread = Thread::new(Endpoint::OllamaGenerate, None);
    pass(&mut thread, "{\"model\":\"a\",\"response\":\"one \",\"done\":false}\n");
    thread.breaks(used(10, 1));
    thread.resumes(false);
    let second =
        "{\"model\":\"b\",\"response\":\"\",\"done\":false}\n{\"model\":\"b\",\"response\":\"two\",\"done\":false}\n";
    assert_eq!(pass(&mut thread, second), "{\"model\":\"a\",\"response\":\"two\",\"done\":false}\n");
    for (line, obstacle) in [
        (json!({"message": {"content": "", "thinking": "hm"}}), Obstacle::Reasoning),
        (json!({"message": {"content": "", "tool_calls": [{"function": {}}]}}), Obstacle::Tools),
        (json!({"message": {"content": "x"}, "logprobs": [{}]}), Obstacle::Logprobs),
    ] {
        let mut thread = Thread::new(Endpoint::OllamaChat, None);
        pass(&mut thread, &format!("{line}\n"));
        assert_eq!(thread.obstacle(), Some(obstacle), "{line}");
    }
}

#[test]
fn a_later_stream_of_chunks_goes_on_in_the_first_ones_name() {
    let mut thread = Thread::new(Endpoint::Chat, None);
    let first = chat("a", &["one ", "two "])[..3].concat();
    assert_eq!(pass(&mut thread, &first), first, "the first goes byte for byte");
    assert_eq!((thread.text(), thread.obstacle()), ("one two ", None));
    thread.breaks(used(10, 2));
    thread.resumes(false);
    let second = chat("second", &["three", " four"]);
    let got: String = second.iter().map(|event| pass(&mut thread, event)).collect();
    let usage = concat!(
        r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"model-a","choices":[],"usage":"#,
        r#"{"prompt_tokens":30,"completion_tokens":4,"total_tokens":34,"prompt_tokens_details":{"cached_tokens":8}}}"#,
        "\n\n"
    );
    let wanted = [
        chunk("a", &json!({"content": "three"}), None),
        chunk("a", &json!({"content": " four"}), None),
        chunk("a", &json!({}), Some("stop")),
        usage.to_owned(),
        DONE.to_owned(),
    ];
    assert_eq!(got, wanted.concat());
    assert_eq!(thread.obstacle(), Some(Obstacle::Complete));
}

#[test]
fn comments_and_what_is_not_json_stay_as_they_are() {
    let mut thread = Thread::new(Endpoint::Chat, None);
    pass(&mut thread, &chunk("a", &json!({"content": "one"}), None));
    thread.breaks(used(1, 1));
    thread.resumes(false);
    for event in [": ping\n", "data: what\n\n", "\n", "data: [DONE]\n\n"] {
        assert_eq!(pass(&mut thread, event), event);
    }
}

#[test]
fn where_nothing_has_been_said_a_request_of_any_kind_starts_again() {
    let mut thread = Thread::new(Endpoint::Chat, Some(Obstacle::Tools));
    pass(&mut thread, &chunk("a", &json!({"role": "assistant", "content": null}), None));
    assert_eq!((thread.text(), thread.obstacle()), ("", None));
    thread.breaks(Usage::default());
    thread.resumes(false);
    let call = |id| chunk(id, &json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}), None);
    let role = chunk("b", &json!({"role": "assistant", "content": null}), None);
    assert_eq!(pass(&mut thread, &role), "");
    assert_eq!(pass(&mut thread, &call("b")), call("a"));
    assert_eq!(thread.obstacle(), Some(Obstacle::Tools));
    // a second choice has not had its role
    let mut thread = Thread::new(Endpoint::Chat, Some(Obstacle::Choices));
    pass(&mut thread, &chunk("a", &json!({"role": "assistant"}), None));
    thread.breaks(Usage::default());
    thread.resumes(false);
    let other = role.replace("\"index\":0", "\"index\":1");
    assert_eq!(pass(&mut thread, &other), other.replace("\"id\":\"b\"", "\"id\":\"a\"").replace("model-b", "model-a"));
}

#[test]
fn what_is_no_text_is_an_obstacle_from_then_on() {
    let after = |delta: &Value| {
        let mut thread = Thread::new(Endpoint::Chat, None);
        pass(&mut thread, &chunk("a", &json!({"content": "one"}), None));
        pass(&mut thread, &chunk("a", delta, None));
        assert_eq!(thread.text().is_empty(), thread.obstacle().is_some());
        thread.obstacle()
    };
    assert_eq!(after(&json!({"tool_calls": [{"index": 0}]})), Some(Obstacle::Tools));
    assert_eq!(after(&json!({"reasoning_content": "hm"})), Some(Obstacle::Reasoning));
    assert_eq!(after(&json!({"refusal": "no"})), Some(Obstacle::Content));
    assert_eq!(after(&json!({"content": "two", "refusal": null, "tool_calls": [], "reasoning": ""})), None);
    let mut thread = Thread::new(Endpoint::Chat, None);
    pass(&mut thread, &chunk("a", &json!({"content": "one"}), None).replace("\"index\":0", "\"index\":1"));
    assert_eq!(thread.obstacle(), Some(Obstacle::Choices));
    let mut thread = Thread::new(Endpoint::Completions, None);
    pass(&mut thread, "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":[\"a\"]}}]}\n\n");
    assert_eq!(thread.obstacle(), Some(Obstacle::Logprobs));
}

#[test]
fn text_is_kept_up_to_a_mebibyte() {
    let mut thread = Thread::new(Endpoint::Chat, None);
    let half = chunk("a", &json!({"content": "x".repeat(1 << 19)}), None);
    pass(&mut thread, &half);
    pass(&mut thread, &half);
    assert_eq!((thread.text().len(), thread.obstacle()), (1 << 20, None));
    pass(&mut thread, &chunk("a", &json!({"content": "x"}), None));
    assert_eq!((thread.text().len(), thread.obstacle()), (0, Some(Obstacle::TooLong)));
}

#[test]
fn blanks_that_were_left_out_do_not_come_twice() {
    let joined = |so_far: &str, words: &[&str]| {
        let mut thread = Thread::new(Endpoint::Chat, None);
        pass(&mut thread, &chunk("a", &json!({"content": so_far}), None));
        thread.breaks(Usage::default());
        thread.resumes(true);
        words.iter().for_each(|word| drop(pass(&mut thread, &chunk("a", &json!({"content": word}), None))));
        thread.text().to_owned()
    };
    assert_eq!(joined("one\n\n", &["\n\ntwo"]), "one\n\ntwo");
    assert_eq!(joined("one\n\n", &["\n", "\n", "\ntwo"]), "one\n\n\ntwo");
    assert_eq!(joined("one\n\n", &["\n", "two", "\n"]), "one\n\ntwo\n");
    assert_eq!(joined("one ", &["two "]), "one two ");
    assert_eq!(joined("one\u{2003}", &["\u{2002}two"]), "one\u{2003}\u{2002}two", "two blanks that begin alike");
    assert_eq!(joined("one", &[" two"]), "one two");
}

#[test]
fn a_completion_goes_on_too() {
    let event = |id: &str, text: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"{id}\",\"choices\":[{{\"text\":\"{text}\",\"index\":0,\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut thread = Thread::new(Endpoint::Completions, None);
    pass(&mut thread, &event("a", "one", "null"));
    thread.breaks(used(1, 1));
    thread.resumes(false);
    assert_eq!(pass(&mut thread, &event("b", "", "null")), "");
    assert_eq!(pass(&mut thread, &event("b", " two", "null")), event("a", " two", "null"));
    assert_eq!(pass(&mut thread, &event("b", "", "\"length\"")), event("a", "", "\"length\""));
    assert_eq!(thread.text(), "one two");
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

fn message(id: &str, words: &[&str]) -> Vec<String> {
    let start = json!({"type": "message_start", "message": {"id": id, "type": "message", "role": "assistant", "content": [],
        "model": id, "usage": {"input_tokens": 12, "output_tokens": 1}}});
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let words = words.iter().map(|word| {
        event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}))
    });
    let ending = [
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ];
    let beginning = [event(&start), event(&json!({"type": "ping"})), event(&block)];
    beginning.into_iter().chain(words).chain(ending.iter().map(event)).collect()
}

#[test]
fn a_later_message_goes_on_in_the_open_block() {
    let mut thread = Thread::new(Endpoint::Messages, None);
    let first = message("a", &["one ", "two"])[..5].concat();
    assert_eq!(pass(&mut thread, &first), first);
    assert_eq!(thread.text(), "one two");
    thread.breaks(used(12, 2));
    thread.resumes(true);
    let got: String = message("b", &[" three"]).iter().map(|event| pass(&mut thread, event)).collect();
    let whole = message("a", &[" three"]);
    let counted = whole[5].replace("\"output_tokens\":2", "\"output_tokens\":4,\"input_tokens\":21");
    assert_eq!(got, [&*whole[1], &whole[3], &whole[4], &counted, &whole[6]].concat());
    assert_eq!(thread.obstacle(), Some(Obstacle::Complete));
}

#[test]
fn a_block_that_nothing_goes_on_with_is_ended() {
    let broken = || {
        let mut thread = Thread::new(Endpoint::Messages, None);
        pass(&mut thread, &message("a", &["one"])[..4].concat());
        thread.breaks(used(12, 1));
        thread.resumes(true);
        thread
    };
    let stop = |index: u64| event(&json!({"type": "content_block_stop", "index": index}));
    // it ends at once
    let end = &message("b", &[])[4];
    assert!(pass(&mut broken(), end).starts_with(&stop(0)));
    // it goes on with something else
    let block = |index: u64| {
        event(
            &json!({"type": "content_block_start", "index": index, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
        )
    };
    let mut thread = broken();
    assert_eq!(pass(&mut thread, &block(0)), [stop(0), block(1)].concat());
    assert_eq!(pass(&mut thread, &stop(0)), stop(1));
    // the client's last block had ended
    let mut thread = Thread::new(Endpoint::Messages, None);
    pass(&mut thread, &message("a", &["one"])[..5].concat());
    thread.breaks(used(12, 1));
    thread.resumes(true);
    let second = message("b", &["two"]);
    assert_eq!(pass(&mut thread, &second[2]), second[2].replace("\"index\":0", "\"index\":1"));
    assert_eq!(pass(&mut thread, &second[3]), second[3].replace("\"index\":0", "\"index\":1"));
}

#[test]
fn thinking_is_an_obstacle_in_messages_too() {
    let mut thread = Thread::new(Endpoint::Messages, None);
    pass(&mut thread, &message("a", &["one"])[..3].concat());
    assert_eq!(thread.obstacle(), None, "an empty block says nothing");
    pass(
        &mut thread,
        &event(
            &json!({"type": "content_block_start", "index": 1, "content_block": {"type": "thinking", "thinking": ""}}),
        ),
    );
    assert_eq!(thread.obstacle(), Some(Obstacle::Reasoning));
}

/// Text, roles, ids and ends, as a client puts them together.
fn read(events: &str) -> (String, usize, Vec<String>, usize) {
    let (mut text, mut roles, mut ids, mut ends) = (String::new(), 0, Vec::new(), 0);
    for data in events.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            ends += usize::from(data == "[DONE]");
            continue;
        };
        ids.push(chunk["id"].as_str().unwrap().to_owned());
        let delta = &chunk["choices"][0]["delta"];
        text += delta["content"].as_str().unwrap_or_default();
        roles += usize::from(delta["role"].is_string());
    }
    ids.dedup();
    (text, roles, ids, ends)
}

#[test]
fn wherever_a_stream_is_cut_the_client_reads_one_answer() {
    let words = ["One", " h\u{e9}llo", " \u{1f600}", "\n\n", "two\"", "."];
    let whole = words.concat();
    let stream = chat("a", &words).concat();
    let finish = stream.find("\"stop\"").unwrap();
    // everywhere, in the middle of events and of characters too, up to where only the end is missing
    for cut in stream.find("\n\n").unwrap() + 2..finish {
        let mut thread = Thread::new(Endpoint::Chat, None);
        let mut splitter = Splitter::new(usize::MAX);
        splitter.push(Bytes::copy_from_slice(&stream.as_bytes()[..cut]));
        let mut got = String::new();
        while let Some(event) = splitter.next_event().unwrap() {
            got += &pass(&mut thread, str::from_utf8(&event).unwrap());
        }
        assert_eq!(thread.obstacle(), None, "{cut}");
        let rest = whole.strip_prefix(thread.text()).unwrap().to_owned();
        thread.breaks(used(1, 1));
        thread.resumes(false);
        let rest: Vec<&str> = rest.split_inclusive(' ').collect();
        got += &pass(&mut thread, &chat("b", &rest).concat());
        assert_eq!(read(&got), (whole.clone(), 1, vec!["a".to_owned()], 1), "{cut}");
    }
}

#[test]
fn an_answer_may_break_more_than_once() {
    let mut thread = Thread::new(Endpoint::Chat, None);
    let mut got = String::new();
    for (id, words) in [("a", ["one "]), ("b", ["two "]), ("c", ["three"])] {
        let events = chat(id, &words);
        let last = if id == "c" { events.len() } else { 2 };
        got += &pass(&mut thread, &events[..last].concat());
        if id != "c" {
            thread.breaks(used(10, 1));
            thread.resumes(false);
        }
    }
    assert_eq!(read(&got), ("one two three".to_owned(), 1, vec!["a".to_owned()], 1));
    assert!(got.contains(r#""prompt_tokens":40,"completion_tokens":4,"total_tokens":44"#), "{got}");
}

/// Events of a response with an id of its own: numbered, a message of these words, and the end.
fn response(id: &str, words: &[&str], usage: (u32, u32)) -> Vec<String> {
    let text = words.concat();
    let whole = |status: &str, output: Value, usage: Value| {
        json!({
            "id": format!("resp_{id}"), "object": "response", "created_at": id.len(), "status": status,
            "model": format!("model-{id}"), "output": output, "usage": usage,
        })
    };
    let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
    let item = |status: &str, content: Value| json!({"id": format!("msg_{id}"), "type": "message", "status": status, "role": "assistant", "content": content});
    let place = |more: Value| {
        let mut event = json!({"item_id": format!("msg_{id}"), "output_index": 0, "content_index": 0});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let (input, output) = usage;
    let usage = json!({
        "input_tokens": input, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + output,
    });
    let done = item("completed", json!([part(&text)]));
    let mut events = vec![
        ("response.created", json!({"response": whole("in_progress", json!([]), Value::Null)})),
        ("response.in_progress", json!({"response": whole("in_progress", json!([]), Value::Null)})),
        ("response.output_item.added", json!({"output_index": 0, "item": item("in_progress", json!([]))})),
        ("response.content_part.added", place(json!({"part": part("")}))),
    ];
    events
        .extend(words.iter().map(|word| ("response.output_text.delta", place(json!({"delta": word, "logprobs": []})))));
    events.extend([
        ("response.output_text.done", place(json!({"text": text, "logprobs": []}))),
        ("response.content_part.done", place(json!({"part": part(&text)}))),
        ("response.output_item.done", json!({"output_index": 0, "item": done})),
        ("response.completed", json!({"response": whole("completed", json!([done]), usage)})),
    ]);
    numbered(events)
}

fn numbered(events: Vec<(&str, Value)>) -> Vec<String> {
    let numbered = events.into_iter().enumerate().map(|(number, (name, mut event))| {
        event["type"] = name.into();
        event["sequence_number"] = number.into();
        format!("event: {name}\ndata: {event}\n\n")
    });
    numbered.collect()
}

/// The events' data.
fn events(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap())).collect()
}

#[test]
fn a_later_response_goes_on_in_the_first_ones_name() {
    let mut thread = Thread::new(Endpoint::Responses, None);
    // created, in progress, the item, its part, and two words
    let first = response("a", &["one ", "two "], (9, 9))[..6].concat();
    assert_eq!(pass(&mut thread, &first), first, "the first goes byte for byte");
    assert_eq!((thread.text(), thread.obstacle()), ("one two ", None));
    thread.breaks(used(10, 2));
    thread.resumes(false);
    let second: String =
        response("b", &["three", " four"], (20, 3)).iter().map(|event| pass(&mut thread, event)).collect();
    let mut wanted = events(&response("a", &["one ", "two ", "three", " four"], (30, 5)).concat());
    wanted.last_mut().unwrap()["response"]["usage"]["input_tokens_details"]["cached_tokens"] = 4.into();
    assert_eq!([events(&first), events(&second)].concat(), wanted);
    assert_eq!(thread.obstacle(), Some(Obstacle::Complete));
}

#[test]
fn a_response_of_which_nothing_was_said_begins_once() {
    let mut thread = Thread::new(Endpoint::Responses, Some(Obstacle::Tools));
    let first = response("a", &["one"], (9, 9))[..2].concat();
    pass(&mut thread, &first);
    assert_eq!(thread.obstacle(), None);
    thread.breaks(Usage::default());
    thread.resumes(false);
    let call = json!({"id": "fc_b", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"});
    let whole = json!({"id": "resp_b", "model": "model-b", "created_at": 7, "output": [call], "usage": null});
    let second = numbered(vec![
        ("response.created", json!({"response": {"id": "resp_b"}})),
        ("response.output_item.added", json!({"output_index": 0, "item": call})),
        ("response.output_item.done", json!({"output_index": 0, "item": call})),
        ("response.completed", json!({"response": whole})),
    ]);
    let got = events(&pass(&mut thread, &second.concat()));
    let numbers: Vec<_> = got.iter().map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, [Some(2), Some(3), Some(4)]);
    let last = json!({"id": "resp_a", "model": "model-a", "created_at": 1, "output": [call], "usage": null});
    assert_eq!(got[2]["response"], last);
}

#[test]
fn a_message_ends_where_a_later_response_thinks_first() {
    let mut thread = Thread::new(Endpoint::Responses, None);
    pass(&mut thread, &response("a", &["one"], (9, 9))[..5].concat());
    thread.breaks(used(10, 1));
    thread.resumes(false);
    let thought = json!({"id": "rs_b", "type": "reasoning", "summary": []});
    let second = numbered(vec![
        ("response.output_item.added", json!({"output_index": 0, "item": thought})),
        ("response.completed", json!({"response": {"id": "resp_b", "output": [thought]}})),
    ]);
    let got = events(&pass(&mut thread, &second.concat()));
    let told: Vec<_> =
        got.iter().map(|event| (event["type"].as_str().unwrap(), event["sequence_number"].as_u64())).collect();
    let wanted = [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.completed",
    ];
    assert_eq!(told, wanted.into_iter().zip((5..).map(Some)).collect::<Vec<_>>());
    assert_eq!((&got[0]["text"], &got[3]["output_index"]), (&json!("one"), &json!(1)));
    let message = json!({
        "id": "msg_a", "type": "message", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "one"}],
    });
    assert_eq!((&got[2]["item"], &got[4]["response"]["output"]), (&message, &json!([message, thought])));
}

#[test]
fn the_error_that_a_response_ends_with_has_the_next_number() {
    let mut thread = Thread::new(Endpoint::Responses, None);
    pass(&mut thread, &response("a", &["one"], (9, 9))[..5].concat());
    let told = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":1,\"message\":\"gone\"}\n\n";
    assert_eq!(thread.last_word(Bytes::from(told)), told, "nothing has been joined");
    thread.breaks(used(10, 1));
    thread.resumes(false);
    pass(&mut thread, &response("b", &["two"], (9, 9))[..5].concat());
    assert_eq!(thread.last_word(Bytes::from(told)), told.replace(":1,", ":6,"));
}
