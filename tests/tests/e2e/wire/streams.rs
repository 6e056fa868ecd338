//! Points 1 to 6: streams.

use serde_json::{Value, json};
use witgate_tests::{CHAT, DONE, chat_events, gateway, upstream};

use super::{FIRST, LAST};

#[tokio::test]
async fn wire_01_each_sse_frame_goes_out_as_soon_as_it_is_in() {
    let a = upstream().chat("one two three").by_permit().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    a.let_go(1);
    let mut stream = gateway.stream("fast", "hi").await;
    let events = chat_events("one two three");
    assert_eq!(stream.event().await, events[0]);
    for event in &events[1..] {
        a.let_go(1);
        assert_eq!(stream.event().await, *event);
    }
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn wire_01_sse_frames_may_end_their_lines_in_any_way() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for end in ["\n\n", "\r\r", "\r\n\r\n", "\r\n\n", "\n\r\n"] {
        let events = [FIRST, LAST, DONE].map(|event| event.replace("\n\n", end));
        a.becomes(upstream().events(events.clone()));
        let got = gateway.stream("fast", "hi").await.rest().await.concat();
        assert_eq!(got, events.concat(), "{end:?}");
        // and cut anywhere: of the very last line end, what comes after the blank line is of no use to anybody
        let bytes = events.concat().into_bytes();
        a.becomes(upstream().events(bytes.chunks(1).map(<[u8]>::to_vec)));
        let got = gateway.stream("fast", "hi").await.rest().await.concat();
        assert_eq!(got.trim_end(), events.concat().trim_end(), "{end:?} byte by byte");
    }
}

#[tokio::test]
async fn wire_01_sse_frames_keep_their_bytes_however_they_are_cut() {
    let event =
        "event: chunk\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\u{e9}\u{1f600}\"}}] }\r\n\r\n";
    let bytes = [event, FIRST, LAST, DONE].concat().into_bytes();
    let gateway_sees: Vec<Vec<u8>> = bytes.chunks(3).map(<[u8]>::to_vec).collect();
    let a = upstream().events(gateway_sees).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!(events.concat(), [event, FIRST, LAST, DONE].concat());
}

#[tokio::test]
async fn wire_01_a_stream_says_what_it_is_and_who_sends_it() {
    let a = upstream().header("openai-processing-ms", "7").start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.status, 200);
    assert_eq!(
        stream.head.names(),
        [
            "cache-control",
            "content-type",
            "date",
            "openai-processing-ms",
            "transfer-encoding",
            "x-accel-buffering",
            "x-request-id",
            "x-witgate-attempts",
            "x-witgate-deployment",
            "x-witgate-policy",
            "x-witgate-reason",
        ]
    );
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.head.header("cache-control"), Some("no-cache"));
    assert_eq!(stream.head.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.rest().await, chat_events("ok"));
}

#[tokio::test]
async fn wire_02_the_end_is_told_exactly_once() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for (upstreams, clients) in [
        (vec![FIRST, LAST, DONE], vec![FIRST, LAST, DONE]),
        // some servers just close
        (vec![FIRST, LAST], vec![FIRST, LAST, DONE]),
        // and what comes after the end is not for the client
        (vec![FIRST, LAST, DONE, DONE], vec![FIRST, LAST, DONE]),
    ] {
        a.becomes(upstream().events(upstreams));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await, clients);
    }
    // and neither Messages nor Responses have one
    a.becomes(upstream());
    let messages = r#"{"model":"fast","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let responses = r#"{"model":"fast","stream":true,"input":"hi"}"#;
    for (path, body, last) in
        [("/v1/messages", messages, "message_stop"), ("/v1/responses", responses, "response.completed")]
    {
        let events = gateway.post(path, body).stream().await.rest().await;
        let ends: Vec<_> = events.iter().filter(|event| event.starts_with(&format!("event: {last}\n"))).collect();
        assert_eq!(ends, [events.last().unwrap()], "{path}");
        assert!(!events.concat().contains("[DONE]"), "{path}");
    }
}

#[tokio::test]
async fn wire_03_an_error_in_a_stream_has_openai_s_shape_whatever_the_upstream_s_was() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let event = |message: &str, kind: &str, code: Value| {
        let error = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
        format!("data: {error}\n\n")
    };
    for (theirs, ours) in [
        ("event: error\ndata: {\"message\":\"boom\",\"code\":7}\n\n", event("boom", "server_error", json!("7"))),
        ("data: {\"error\":\"boom\"}\n\n", event("boom", "server_error", Value::Null)),
        ("event: error\ndata: boom\n\n", event("boom", "server_error", Value::Null)),
        // Anthropic's
        (
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
                .to_owned(),
        ),
    ] {
        a.becomes(upstream().events([FIRST, theirs]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, &ours], "{theirs}");
        // in one piece with what is before and after it
        a.becomes(upstream().events([[FIRST, theirs].concat()]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, &ours], "{theirs}");
    }
    // nothing comes after it, and nothing is waited for
    let error = event("boom", "server_error", Value::Null);
    a.becomes(upstream().events([FIRST, &error, LAST, DONE]).stall());
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, &error]);
    witgate_tests::eventually("the upstream is let go", async || a.open_connections() == 0).await;
    a.becomes(upstream().events([[FIRST, "data: {\"error\":\"boom\"}\n\n", LAST, DONE].concat()]));
    let events = gateway.stream("fast", "hi").await.rest().await;
    assert_eq!(events, [FIRST, &error]);
}

#[tokio::test]
async fn wire_03_nothing_is_committed_before_the_first_event() {
    let b = upstream().start().await;
    let bad = [
        ("cut before the first event", upstream().events([""; 0]).cut()),
        ("cut after a comment", upstream().events([": hi\n\n"]).cut()),
        ("ended before the first event", upstream().events([""; 0])),
        ("nothing but the end", upstream().events([DONE])),
        ("silent before the first event", upstream().events([""; 0]).stall()),
        ("not a stream", upstream().body(witgate_tests::chat_body("ok"))),
        ("a status", upstream().status(500)),
        ("a reset", upstream().reset()),
    ];
    let a = upstream().start().await;
    let patience = json!({"providers": {"a": {"first_byte_timeout": "500ms"}}});
    let gateway = gateway().model("fast", [&a, &b]).config(patience).start().await;
    for (what, reply) in bad {
        a.becomes(reply);
        let stream = gateway.stream("fast", "hi").await;
        assert_eq!(stream.head.header("x-witgate-deployment"), Some("fast@b"), "{what}");
        assert_eq!(stream.rest().await, chat_events("ok"), "{what}");
    }
}

#[tokio::test]
async fn wire_04_a_keep_alive_comment_comes_through_without_the_blank_line_that_breaks_sdks() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for (comment, passed) in [(": ping\n\n", ": ping\n"), (": ping\n", ": ping\n"), (":\r\n\r\n", ":\r\n")] {
        a.becomes(upstream().events([FIRST, comment, comment, LAST, DONE]));
        let got = gateway.stream("fast", "hi").await.rest().await.concat();
        assert_eq!(got, [FIRST, passed, passed, LAST, DONE].concat(), "{comment:?}");
        a.becomes(upstream().events([[FIRST, comment, LAST, DONE].concat()]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await.concat(), [FIRST, passed, LAST, DONE].concat());
    }
}

#[tokio::test]
async fn wire_04_an_event_without_data_does_not_reach_the_client() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for nothing in ["data:\n\n", "data: \n\n", "event: ping\n\n", "id: 7\n\n", "retry: 100\n\n", "\n\n\n"] {
        a.becomes(upstream().events([FIRST, nothing, LAST, DONE]));
        assert_eq!(gateway.stream("fast", "hi").await.rest().await, [FIRST, LAST, DONE], "{nothing:?}");
    }
}

#[tokio::test]
async fn wire_05_usage_comes_at_the_end_of_a_stream_that_asked_for_it_and_the_gateway_asks_for_none() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    let first = FIRST.replace("]}\n", "],\"usage\":null}\n");
    let a = upstream().events([&first, LAST, usage, DONE]).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let ask = r#"{"model":"fast","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(gateway.post(CHAT, ask).stream().await.rest().await, [&first, LAST, usage, DONE]);
    assert_eq!(a.last().text(), ask.replace("\"fast\"", "\"real-fast\""));
    gateway.stream("fast", "hi").await.rest().await;
    assert_eq!(a.last().json().get("stream_options"), None);
    // a stream that breaks has none
    a.becomes(upstream().events([first.as_str()]).cut());
    assert!(!gateway.post(CHAT, ask).stream().await.rest().await.concat().contains("prompt_tokens"));
}

#[tokio::test]
async fn wire_05_options_of_a_stream_are_not_touched() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = r#"{"stream": true, "model":"fast", "messages":[],"stream_options":{"include_obfuscation":false}}"#;
    gateway.post(CHAT, body).stream().await.rest().await;
    assert_eq!(a.last().text(), body.replace("\"fast\"", "\"real-fast\""));
}

#[tokio::test]
async fn wire_06_tool_calls_keep_their_order_and_index() {
    let delta = |delta: Value| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}));
    let call = |index: u32, call: Value| {
        let mut call = call;
        call["index"] = json!(index);
        delta(json!({"tool_calls": [call]}))
    };
    let events = [
        call(0, json!({"id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}})),
        call(1, json!({"id": "call_b", "type": "function", "function": {"name": "g", "arguments": ""}})),
        call(0, json!({"function": {"arguments": "{\"x\":"}})),
        call(1, json!({"function": {"arguments": "{}"}})),
        call(0, json!({"function": {"arguments": "1}"}})),
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n".to_owned(),
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n".to_owned(),
        "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned(),
        DONE.to_owned(),
    ];
    let a = upstream().events(events.clone()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, events);
}
