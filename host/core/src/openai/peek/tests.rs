use super::*;

fn chat(body: &str) -> Result<Peek, RequestError> {
    peek(body.as_bytes(), Endpoint::Chat)
}

/// Message, `param` and `code` as the client gets them.
fn refusal(endpoint: Endpoint, body: &[u8]) -> (String, Option<String>, Option<String>) {
    let body = peek(body, endpoint).unwrap_err().body();
    assert_eq!(body.kind, "invalid_request_error");
    (body.message.into(), body.param.map(Into::into), body.code.map(Into::into))
}

fn refused(body: &str) -> (String, Option<String>, Option<String>) {
    refusal(Endpoint::Chat, body.as_bytes())
}

fn told(message: &str, param: &str, code: &str) -> (String, Option<String>, Option<String>) {
    (message.to_owned(), Some(param.to_owned()), Some(code.to_owned()))
}

#[test]
fn a_full_request_is_read() {
    let body = r#"{
        "messages": [
            {"role": "system", "content": "12345678"},
            {"role": "user", "content": [
                {"type": "text", "text": "abcd"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
            ]}
        ],
        "tools": [{"type": "function"}, {"type": "function"}], "functions": [{}],
        "modalities": ["text", "audio"],
        "stream": true, "stream_options": {"include_obfuscation": false, "include_usage": true},
        "max_tokens": 9, "max_completion_tokens": 7, "n": 2, "temperature": 0.5,
        "reasoning_effort": "low", "user": "ann", "prompt_cache_key": "k\u0065y",
        "response_format": {"type": "json_schema", "json_schema": {}},
        "model" : "gpt-4o"
    }"#;
    let peeked = chat(body).unwrap();
    assert_eq!(&body[peeked.model_span.clone()], "\"gpt-4o\"");
    assert!(body[peeked.prompt_span.clone()].starts_with("[\n") && body[peeked.prompt_span.clone()].ends_with(']'));
    assert_eq!(
        peeked,
        Peek {
            endpoint: Endpoint::Chat,
            model: "gpt-4o".into(),
            model_span: peeked.model_span.clone(),
            prompt_span: peeked.prompt_span.clone(),
            system_span: None,
            stream: true,
            include_usage: true,
            max_output_tokens: Some(7),
            choices: 2,
            session: Some("key".into()),
            messages: 2,
            tools: 3,
            images: 1,
            audio: 2,
            previous: None,
            json_schema: true,
            reasoning: true,
            // two messages and one image, and 12 bytes of text and 42 of tools
            prompt_tokens: 2 * 4 + 765 + 17,
        }
    );
}

#[test]
fn the_least_request_has_the_defaults() {
    let peeked = chat(r#"{"model":"m","messages":[]}"#).unwrap();
    assert_eq!(
        (peeked.stream, peeked.include_usage, peeked.choices, peeked.max_output_tokens),
        (false, false, 1, None)
    );
    assert_eq!((peeked.session, peeked.messages, peeked.prompt_tokens), (None, 0, 0));
    // null is as good as absent
    let nulls = r#"{"model":"m","messages":[],"stream":null,"n":null,"max_tokens":null,"user":null,"tools":null}"#;
    assert_eq!(chat(nulls).unwrap().choices, 1);
}

#[test]
fn the_other_endpoints_have_their_own_prompt() {
    let completion = peek(br#"{"model":"m","prompt":["abcd","efgh"],"messages":7}"#, Endpoint::Completions).unwrap();
    assert_eq!(completion.prompt_tokens, 3);
    let tokens = peek(br#"{"model":"m","input":[[1,2],[3]],"stream":true}"#, Endpoint::Embeddings).unwrap();
    assert_eq!((tokens.prompt_tokens, tokens.stream), (3, false));
}

#[test]
fn keys_and_names_may_be_written_with_escapes() {
    let body = r#"{"mod\u0065l":"a\"b","messages":[]}"#;
    let peeked = chat(body).unwrap();
    assert_eq!((&*peeked.model, &body[peeked.model_span]), ("a\"b", r#""a\"b""#));
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let plain = |message: &str| (message.to_owned(), None, None);
    assert_eq!(
        refused("{\"model\": \"m\",\n}"),
        plain("We could not parse the JSON body of your request: expected a key in double quotes at line 2, column 1.")
    );
    assert_eq!(
        refused(r#"{"model":"m","messages":[]} x"#),
        plain(
            "We could not parse the JSON body of your request: text after the end of the value at line 1, column 29."
        )
    );
    assert_eq!(
        refusal(Endpoint::Chat, b"{\"a\":\"\xff\"}"),
        plain("We could not parse the JSON body of your request: it is not UTF-8 at line 1, column 7.")
    );
    assert_eq!(refused("[]"), plain("The JSON body of your request must be an object, but it is an array."));
}

#[test]
fn what_must_be_there_is_asked_for() {
    assert_eq!(
        refused(r#"{"messages":[]}"#),
        told("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    );
    assert_eq!(
        refused(r#"{"model":"","messages":[]}"#),
        told(
            "Invalid 'model': the name is empty. Ask GET /v1/models for the names that you may use.",
            "model",
            "empty_string"
        )
    );
    for (endpoint, field) in
        [(Endpoint::Chat, "messages"), (Endpoint::Completions, "prompt"), (Endpoint::Embeddings, "input")]
    {
        let message = format!("Missing required parameter: '{field}'.");
        assert_eq!(refusal(endpoint, br#"{"model":"m"}"#), told(&message, field, "missing_required_parameter"));
    }
}

#[test]
fn wrong_types_are_refused() {
    let wrong = |field: &str, expected: &str, got: &str| {
        let message = format!("Invalid type for '{field}': expected {expected}, but got {got} instead.");
        told(&message, field, "invalid_type")
    };
    assert_eq!(refused(r#"{"model":4}"#), wrong("model", "a string", "a number"));
    assert_eq!(refused(r#"{"model":"m","messages":"hi"}"#), wrong("messages", "an array of objects", "a string"));
    assert_eq!(refused(r#"{"stream":"true"}"#), wrong("stream", "a boolean", "a string"));
    assert_eq!(refused(r#"{"n":"2"}"#), wrong("n", "an integer", "a string"));
    assert_eq!(refused(r#"{"max_tokens":{}}"#), wrong("max_tokens", "an integer", "an object"));
    assert_eq!(refused(r#"{"max_completion_tokens":[]}"#), wrong("max_completion_tokens", "an integer", "an array"));
    assert_eq!(
        refusal(Endpoint::Completions, br#"{"prompt":true}"#),
        wrong("prompt", "a string or an array", "a boolean")
    );
    assert_eq!(refusal(Endpoint::Embeddings, br#"{"input":{}}"#), wrong("input", "a string or an array", "an object"));
}

#[test]
fn numbers_have_their_ranges() {
    let with = |field: &str, number: &str| chat(&format!(r#"{{"model":"m","messages":[],"{field}":{number}}}"#));
    assert_eq!(with("n", "1").unwrap().choices, 1);
    assert_eq!(with("n", "3.0").unwrap().choices, 3);
    assert_eq!(with("max_tokens", "-1").unwrap().max_output_tokens, None);
    assert_eq!(with("max_tokens", "0").unwrap().max_output_tokens, Some(0));
    assert_eq!(with("max_tokens", "1e300").unwrap().max_output_tokens, Some(i32::MAX as u32));
    let out_of_range = |field: &str, number: &str, minimum: i64| {
        let message =
            format!("Invalid '{field}': expected an integer of at least {minimum}, but got {number} instead.");
        assert_eq!(with(field, number).unwrap_err().to_string(), message);
    };
    out_of_range("n", "0", 1);
    out_of_range("n", "1.5", 1);
    out_of_range("max_tokens", "-2", -1);
}

#[test]
fn a_field_that_routing_reads_is_there_once() {
    assert_eq!(
        refused(r#"{"model":"cheap","messages":[],"model":"dear"}"#),
        told("Duplicate parameter: 'model' is given more than once. Keep one of them.", "model", "duplicate_parameter")
    );
    assert_eq!(
        refused(r#"{"model":"cheap","messages":[],"Model":"dear"}"#),
        told("Unknown parameter: 'Model'. Write 'model' in lower case.", "Model", "unknown_parameter")
    );
    // others are the upstream's to judge
    assert!(chat(r#"{"model":"m","messages":[],"seed":1,"seed":2}"#).is_ok());
}

#[test]
fn messages_are_anthropic_s() {
    let body = r#"{"model":"m","max_tokens":64,"system":[{"type":"text","text":"Be brief, please."}],"messages":[
        {"role":"user","content":[{"type":"text","text":"abcd"},{"type":"image","source":{"type":"base64","data":"AAAA"}}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"city":"Paris"}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"rain"}]}]}
    ],"tools":[{"name":"f"}],"metadata":{"user_id":"ann"},"output_config":{"format":{"type":"json_schema"}},"stream":true}"#;
    let peeked = peek(body.as_bytes(), Endpoint::Messages).unwrap();
    assert_eq!(
        (peeked.messages, peeked.tools, peeked.images, peeked.json_schema, peeked.stream),
        (3, 1, 1, true, true)
    );
    assert_eq!((peeked.session.as_deref(), peeked.max_output_tokens), (Some("ann"), Some(64)));
    // three messages, one image, and 18 of text, call, result and tool
    assert_eq!(peeked.prompt_tokens, 3 * 4 + 765 + 18);
    assert_eq!(crate::openai::prompt_text(body.as_bytes(), &peeked), "Be brief, please.\nabcd\nrain");
    // a chat has its system prompt among the messages, and `system` is a field like any other
    assert_eq!(peek(body.as_bytes(), Endpoint::Chat).unwrap().system_span, None);
}

#[test]
fn messages_need_a_limit_and_counting_does_not() {
    let body = br#"{"model":"m","messages":[]}"#;
    let error = peek(body, Endpoint::Messages).unwrap_err();
    assert_eq!(error.to_string(), "Missing required parameter: 'max_tokens'.");
    assert!(peek(body, Endpoint::CountTokens).is_ok());
}

#[test]
fn responses_are_openai_s_newer_form() {
    let body = r#"{"model":"m","instructions":"Be brief, please.","max_output_tokens":64,"stream":true,
        "input":[{"role":"user","content":[{"type":"input_text","text":"abcd"},{"type":"input_image","image_url":"data:x"}]},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"},
            {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"rain"}]}],
        "tools":[{"type":"function","name":"f"}],"text":{"format":{"type":"json_schema","name":"n","schema":{}}},
        "previous_response_id":"resp_1","prompt_cache_key":"k"}"#;
    let peeked = peek(body.as_bytes(), Endpoint::Responses).unwrap();
    assert_eq!(
        (peeked.messages, peeked.tools, peeked.images, peeked.json_schema, peeked.stream),
        (3, 1, 1, true, true)
    );
    assert_eq!((peeked.session.as_deref(), peeked.max_output_tokens), (Some("k"), Some(64)));
    assert_eq!(peeked.previous.as_deref(), Some("resp_1"));
    // three messages, one image, and 24 of text, call, result and tool
    assert_eq!(peeked.prompt_tokens, 3 * 4 + 765 + 24);
    assert_eq!(crate::openai::prompt_text(body.as_bytes(), &peeked), "Be brief, please.\nabcd\nrain");
    let plain = peek(br#"{"model":"m","input":"abcd"}"#, Endpoint::Responses).unwrap();
    assert_eq!((plain.messages, plain.prompt_tokens, plain.stream, plain.previous), (1, 6, false, None));
    // these are fields of no other endpoint
    let chat = peek(br#"{"model":"m","messages":[],"max_output_tokens":"x","text":7}"#, Endpoint::Chat).unwrap();
    assert_eq!((chat.max_output_tokens, chat.json_schema), (None, false));
}

#[test]
fn a_response_is_to_an_input_or_goes_on_from_something() {
    let missing = told("Missing required parameter: 'input'.", "input", "missing_required_parameter");
    assert_eq!(refusal(Endpoint::Responses, br#"{"model":"m"}"#), missing);
    assert_eq!(refusal(Endpoint::Responses, br#"{"model":"m","previous_response_id":null}"#), missing);
    for field in [r#""previous_response_id":"resp_1""#, r#""conversation":{"id":"c"}"#, r#""prompt":{"id":"p"}"#] {
        let body = format!(r#"{{"model":"m",{field}}}"#);
        let peeked = peek(body.as_bytes(), Endpoint::Responses).unwrap();
        assert_eq!(crate::openai::prompt_text(body.as_bytes(), &peeked), "", "{field}");
    }
    let wrong = told(
        "Invalid type for 'input': expected a string or an array, but got a number instead.",
        "input",
        "invalid_type",
    );
    assert_eq!(refusal(Endpoint::Responses, br#"{"model":"m","input":7}"#), wrong);
    let range = "Invalid 'max_output_tokens': expected an integer of at least -1, but got 1.5 instead.";
    let body = br#"{"model":"m","input":"x","max_output_tokens":1.5}"#;
    assert_eq!(peek(body, Endpoint::Responses).unwrap_err().to_string(), range);
}

#[test]
fn an_image_that_is_no_base64_is_refused_in_the_words_of_the_dialect() {
    let part =
        |part: &str| format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":[{part}]}}]}}"#);
    let image = |url: &str| part(&format!(r#"{{"type":"image_url","image_url":{{"detail":"low","url":"{url}"}}}}"#));
    let told = ("Invalid base64 image_url.".to_owned(), None, Some("invalid_base64".to_owned()));
    assert_eq!(refused(&image("data:image/png;base64,AA*A")), told);
    assert_eq!(refused(&part(r#"{"type":"input_image","image_url":"data:image\/png;base64,A"}"#)), told);
    for good in ["data:image\\/png;base64,iVBO", "https://example.com/a.png"] {
        assert_eq!(chat(&image(good)).unwrap().images, 1, "{good}");
    }
    // what is no image is the upstream's to judge
    assert!(chat(&part(r#"{"type":"text","text":"x","image_url":{"url":"data:image/png;base64,A"}}"#)).is_ok());
    let source = |data: &str| {
        part(&format!(r#"{{"type":"image","source":{{"data":"{data}","media_type":"image/png","type":"base64"}}}}"#))
    };
    let message = "messages: image.source.base64: invalid base64 data".to_owned();
    let told = (message, None, Some("invalid_base64".to_owned()));
    assert_eq!(refusal(Endpoint::Messages, source("A").as_bytes()), told);
    assert!(peek(source("AAAA").as_bytes(), Endpoint::Messages).is_ok());
}

#[test]
fn a_question_to_a_reranker_is_read() {
    let body = r#"{"model":"r","query":"12345678","documents":["abcd",{"text":"efgh"}],"top_n":1}"#;
    let peeked = peek(body.as_bytes(), Endpoint::Rerank).unwrap();
    assert_eq!(&body[peeked.prompt_span.clone()], r#"["abcd",{"text":"efgh"}]"#);
    assert_eq!(peeked.prompt_tokens, 10);
    for (body, message, param, code) in [
        (
            r#"{"query":"q","documents":[]}"#,
            "Missing required parameter: 'model'.",
            "model",
            "missing_required_parameter",
        ),
        (
            r#"{"model":"r","documents":[]}"#,
            "Missing required parameter: 'query'.",
            "query",
            "missing_required_parameter",
        ),
        (
            r#"{"model":"r","query":"q"}"#,
            "Missing required parameter: 'documents'.",
            "documents",
            "missing_required_parameter",
        ),
        (
            r#"{"model":"r","query":["q"],"documents":[]}"#,
            "Invalid type for 'query': expected a string, but got an array instead.",
            "query",
            "invalid_type",
        ),
        (
            r#"{"model":"r","query":"q","documents":"d"}"#,
            "Invalid type for 'documents': expected an array, but got a string instead.",
            "documents",
            "invalid_type",
        ),
    ] {
        assert_eq!(refusal(Endpoint::Rerank, body.as_bytes()), told(message, param, code));
    }
}

#[test]
fn what_openai_has_a_default_model_for_needs_none() {
    let read = |endpoint, body: &str| peek(body.as_bytes(), endpoint).map(|peek| (peek.model, peek.prompt_tokens));
    assert_eq!(read(Endpoint::Moderations, r#"{"input":["abcd"]}"#), Ok(("omni-moderation-latest".into(), 2)));
    let parts =
        r#"{"model":"m","input":[{"type":"text","text":"abcd"},{"type":"image_url","image_url":{"url":"https://x"}}]}"#;
    assert_eq!(peek(parts.as_bytes(), Endpoint::Moderations).unwrap().images, 1);
    assert_eq!(read(Endpoint::Images, r#"{"prompt":"abcd","n":2}"#), Ok(("dall-e-2".into(), 2)));
    let list = refusal(Endpoint::Speech, br#"{"model":"m","input":["a"]}"#);
    assert_eq!(
        list,
        told("Invalid type for 'input': expected a string, but got an array instead.", "input", "invalid_type")
    );
    let none = refusal(Endpoint::Speech, br#"{"input":"a","voice":"alloy"}"#);
    assert_eq!(none, told("Missing required parameter: 'model'.", "model", "missing_required_parameter"));
}
