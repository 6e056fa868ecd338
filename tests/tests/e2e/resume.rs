//! Streams that break after the client has begun to read them, on a route that wants them gone on with.

use std::time::Instant;

use serde_json::{Value, json};
use witgate_tests::gateway::{Builder, Gateway, metric_in};
use witgate_tests::{CHAT, Upstream, chat_events, eventually, gateway, upstream};

use crate::program::Serving;

/// Events of a chat with an id of its own: its role, a word each, and the end.
fn chat(id: &str, words: &[&str]) -> Vec<String> {
    let chunk = |delta: Value, finish: Option<&str>| {
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": id.len(), "model": format!("model-{id}"),
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        });
        format!("data: {chunk}\n\n")
    };
    let role = chunk(json!({"role": "assistant", "content": ""}), None);
    let words = words.iter().map(|word| chunk(json!({"content": word}), None));
    let end = [chunk(json!({}), Some("stop")), "data: [DONE]\n\n".to_owned()];
    [role].into_iter().chain(words).chain(end).collect()
}

/// What a client makes of the events.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    roles: usize,
    ids: Vec<String>,
    finishes: usize,
    ends: usize,
    error: Option<String>,
    comments: Vec<String>,
}

fn read(events: &str) -> Read {
    let mut read = Read::default();
    for line in events.lines() {
        if let Some(comment) = line.strip_prefix(": ") {
            read.comments.push(comment.to_owned());
        }
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data == "[DONE]" {
            read.ends += 1;
            continue;
        }
        let data: Value = serde_json::from_str(data).expect("JSON");
        if let Some(code) = data["error"]["code"].as_str() {
            read.error = Some(code.to_owned());
            continue;
        }
        let told = ["id", "created", "model"].map(|key| data[key].to_string()).join(" ");
        if read.ids.last() != Some(&told) {
            read.ids.push(told);
        }
        let choice = &data["choices"][0];
        read.text += choice["delta"]["content"].as_str().unwrap_or_default();
        read.roles += usize::from(choice["delta"]["role"].is_string());
        read.finishes += usize::from(choice["finish_reason"].is_string());
    }
    read
}

/// One whole answer of the upstream `a`, as if nothing had happened.
fn whole(text: &str, went_on: &[&str]) -> Read {
    Read {
        text: text.to_owned(),
        roles: 1,
        ids: vec!["\"a\" 1 \"model-a\"".to_owned()],
        finishes: 1,
        ends: 1,
        error: None,
        comments: went_on.iter().map(|deployment| format!("x-witgate-resumed: {deployment}")).collect(),
    }
}

/// A gateway over these that goes on with streams; all of them can.
fn resuming<'a>(upstreams: impl IntoIterator<Item = &'a Upstream>) -> Builder {
    let upstreams: Vec<_> = upstreams.into_iter().collect();
    let names = ["a", "b", "c"].into_iter().take(upstreams.len());
    let can: serde_json::Map<_, _> =
        names.map(|name| (name.to_owned(), json!({"continuation": "assistant-message"}))).collect();
    let config = json!({"routes": {"fast": {"resume": true}}, "providers": can});
    gateway().policies(&["in-order", "resilient"]).model("fast", upstreams).config(config)
}

async fn stream(gateway: &Gateway, more: &str) -> (Option<String>, String) {
    let body = format!(r#"{{"model":"fast","messages":[{{"role":"user","content":"count"}}],"stream":true{more}}}"#);
    let stream = gateway.post(CHAT, body).stream().await;
    let promised = stream.head.header("x-witgate-resume").map(str::to_owned);
    (promised, stream.rest().await.concat())
}

async fn became(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&format!(r#"witgate_broken_streams_total{{result="{result}",route="fast"}}"#)).await
}

#[tokio::test]
async fn a_stream_that_is_cut_is_gone_on_with_as_one() {
    let a = upstream().events(chat("a", &["one ", "two "])[..3].to_vec()).cut().start().await;
    let b = upstream().events(chat("other", &["three", " four"])).start().await;
    let gateway = resuming([&a, &b]).start().await;
    let (promised, events) = stream(&gateway, r#","max_tokens":9"#).await;
    assert_eq!(promised.as_deref(), Some("yes"));
    assert_eq!(read(&events), whole("one two three four", &["fast@b"]));
    let asked = json!({
        "model": "real-fast", "stream": true, "max_tokens": 7,
        "messages": [{"role": "user", "content": "count"}, {"role": "assistant", "content": "one two "}],
    });
    assert_eq!(b.last().json(), asked);
    for (deployment, outcome) in [("fast@a", "cut"), ("fast@b", "served")] {
        let series = format!(r#"witgate_attempts_total{{deployment="{deployment}",outcome="{outcome}"}}"#);
        eventually("each attempt has one outcome", async || gateway.metric(&series).await == 1.0).await;
    }
    assert_eq!(became(&gateway, "resumed").await, 1.0);
    assert_eq!(gateway.metric(r#"witgate_retries_total{kind="failover",route="fast"}"#).await, 1.0);
    let served = r#"witgate_requests_total{endpoint="chat",outcome="served",route="fast"}"#;
    assert_eq!(gateway.metric(served).await, 1.0);
}

#[tokio::test]
async fn whatever_breaks_it_the_client_reads_one_answer() {
    let one = chat("a", &["one "])[..2].to_vec();
    let half = &chat("a", &["ne\u{1f600}ver"])[1];
    let half = half.as_bytes()[..half.find('\u{1f600}').unwrap() + 2].to_vec();
    let halved = [one.concat().into_bytes(), half].concat();
    let error =
        "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
    let with_error = [&one[..], &[error.to_owned()]].concat();
    let broken = [
        ("cut", upstream().events(one.clone()).cut()),
        ("ended without its end", upstream().events(one.clone())),
        ("stalled", upstream().events(one.clone()).stall()),
        ("cut within a character", upstream().events([halved]).cut()),
        ("an error in the stream", upstream().events(with_error.clone())),
        ("an error with the text before it", upstream().events([with_error.concat()])),
        ("no SSE", upstream().events([one.concat(), "x".repeat(17 << 20)])),
    ];
    let a = upstream().start().await;
    let b = upstream().events(chat("b", &["two"])).start().await;
    let patience = json!({"providers": {"a": {"idle_timeout": "400ms"}}, "breaker": {"consecutive_failures": 1000}});
    let gateway = resuming([&a, &b]).config(patience).start().await;
    for (what, reply) in broken {
        a.becomes(reply);
        assert_eq!(read(&stream(&gateway, "").await.1), whole("one two", &["fast@b"]), "{what}");
    }
}

#[tokio::test]
async fn two_failures_in_a_row_are_gone_on_with() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().events(chat("b", &["two "])[..2].to_vec()).cut().start().await;
    let c = upstream().events(chat("c", &["three"])).start().await;
    let gateway = resuming([&a, &b, &c]).start().await;
    assert_eq!(read(&stream(&gateway, "").await.1), whole("one two three", &["fast@b", "fast@c"]));
    assert_eq!(c.last().json()["messages"][1]["content"], "one two ");
    assert_eq!(became(&gateway, "resumed").await, 2.0);
    // one that cannot even begin is passed over
    b.becomes(upstream().status(500));
    assert_eq!(read(&stream(&gateway, "").await.1), whole("one three", &["fast@c"]));
    assert_eq!(c.last().json()["messages"][1]["content"], "one ");
    // and when all fail, the client is told what broke the stream
    c.becomes(upstream().reset());
    let told = read(&stream(&gateway, "").await.1);
    assert_eq!((told.text.as_str(), told.error.as_deref(), told.ends), ("one ", Some("cut"), 0));
    assert_eq!(told.comments, ["x-witgate-not-resumed: failed"]);
    assert_eq!(became(&gateway, "failed").await, 1.0);
}

#[tokio::test]
async fn an_upstreams_own_error_reaches_the_client_when_nobody_goes_on() {
    let error =
        "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
    let events = [chat("a", &["one "])[..2].concat(), error.to_owned()];
    let a = upstream().events(events.clone()).start().await;
    let b = upstream().start().await;
    let cannot = json!({"providers": {"a": {"continuation": "none"}, "b": {"continuation": "none"}}});
    let gateway = resuming([&a, &b]).config(cannot).start().await;
    let (promised, got) = stream(&gateway, "").await;
    assert_eq!((promised.as_deref(), b.hits()), (Some("yes"), 0));
    assert_eq!(got, [&*events[0], ": x-witgate-not-resumed: no-deployment\n", error].concat());
    let series = r#"witgate_attempts_total{deployment="fast@a",outcome="error-in-stream"}"#;
    eventually("it is counted", async || gateway.metric(series).await == 1.0).await;
    assert_eq!(became(&gateway, "no-deployment").await, 1.0);
}

#[tokio::test]
async fn what_cannot_be_gone_on_with_says_so_and_ends_as_before() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().start().await;
    let gateway = resuming([&a, &b]).config(json!({"breaker": {"consecutive_failures": 1000}})).start().await;
    for (demand, label) in [
        (r#","tools":[{"type":"function","function":{"name":"f"}}]"#, "tools"),
        (r#","response_format":{"type":"json_object"}"#, "format"),
        (r#","n":2"#, "choices"),
        (r#","logprobs":true"#, "logprobs"),
    ] {
        let (promised, events) = stream(&gateway, demand).await;
        assert_eq!(promised, Some(format!("no; {label}")));
        let told = read(&events);
        assert_eq!((told.text.as_str(), told.error.as_deref(), told.ends), ("one ", Some("cut"), 0), "{label}");
        assert_eq!(told.comments, [format!("x-witgate-not-resumed: {label}")]);
    }
    assert_eq!(b.hits(), 0);
    // nor what turned out to be more than text
    let reasons = chat("a", &["one "])[1].replace("content", "reasoning_content");
    a.becomes(upstream().events([reasons]).cut());
    let (promised, events) = stream(&gateway, "").await;
    assert_eq!(promised.as_deref(), Some("yes"));
    assert_eq!(read(&events).comments, ["x-witgate-not-resumed: reasoning"]);
    assert_eq!((b.hits(), became(&gateway, "reasoning").await), (0, 1.0));
}

#[tokio::test]
async fn without_resume_nothing_is_promised_and_nobody_asked() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().start().await;
    let gateway = resuming([&a, &b]).config(json!({"routes": {"fast": {"resume": false}}})).start().await;
    let (promised, events) = stream(&gateway, "").await;
    let told = read(&events);
    assert_eq!((promised, told.error.as_deref(), b.hits()), (None, Some("cut"), 0));
    assert!(told.comments.is_empty());
}

#[tokio::test]
async fn where_nothing_has_been_said_the_request_is_asked_again_whatever_it_is() {
    let a = upstream().events(chat("a", &[])[..1].to_vec()).cut().start().await;
    let b = upstream().events(chat("b", &["two"])).start().await;
    let cannot = json!({"providers": {"b": {"continuation": "none"}}});
    let gateway = resuming([&a, &b]).config(cannot).start().await;
    let (_, events) =
        stream(&gateway, r#","tools":[{"type":"function","function":{"name":"f"}}],"max_tokens":3"#).await;
    assert_eq!(read(&events), whole("two", &["fast@b"]));
    assert_eq!((b.last().json()["messages"].as_array().unwrap().len(), &b.last().json()["max_tokens"]), (1, &json!(3)));
}

#[tokio::test]
async fn the_hosts_bounds_hold_for_going_on_too() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().events(chat("b", &["two"])).start().await;
    let gateway = resuming([&a, &b]).start().await;
    for (what, bound) in [
        ("attempts", json!({"server": {"max_attempts": 1}})),
        ("budget", json!({"server": {"max_attempts": 4}, "retries": {"share": 0, "per_second": 0}})),
        ("not twice", json!({"retries": {"share": 1, "per_second": 10}, "routes": {"fast": {"idempotent": false}}})),
    ] {
        let generation = gateway.generation().await;
        gateway.folder.edit_config(bound);
        eventually("it is in service", async || gateway.generation().await > generation).await;
        let told = read(&stream(&gateway, "").await.1);
        assert_eq!((told.error.as_deref(), told.ends, b.hits()), (Some("cut"), 0, 0), "{what}");
        assert_eq!(told.comments, ["x-witgate-not-resumed: bounded"], "{what}");
    }
    assert_eq!(became(&gateway, "bounded").await, 3.0);
}

#[tokio::test]
async fn the_deadline_holds_over_all_attempts() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().silent().start().await;
    let limit = json!({"routes": {"fast": {"timeout": "700ms"}}});
    let gateway = resuming([&a, &b]).config(limit).start().await;
    let started = Instant::now();
    let told = read(&stream(&gateway, "").await.1);
    assert_eq!((told.error.as_deref(), told.ends, b.hits()), (Some("cut"), 0, 1));
    assert!((600..5_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    eventually("the upstream is let go", async || b.open_connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_meanwhile_cancels_who_was_asked() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().silent().start().await;
    let gateway = Serving::start(&resuming([&a, &b]).write()).await;
    let body = r#"{"model":"fast","messages":[],"stream":true}"#;
    let mut stream = gateway.request("POST", CHAT).header("x-request-id", "left").json(body).stream().await;
    stream.event().await;
    eventually("the other one is asked", async || b.hits() == 1).await;
    drop(stream);
    eventually("it is let go", async || b.open_connections() == 0).await;
    eventually("it is logged", async || gateway.log().contains("\"status\":499")).await;
    let metrics = gateway.request("GET", "/metrics").send().await;
    let metric = |series| metric_in(metrics.body_text(), series);
    assert_eq!(metric(r#"witgate_attempts_total{deployment="fast@a",outcome="cut"}"#), 1.0);
    assert_eq!(metric(r#"witgate_attempts_total{deployment="fast@b",outcome="cancelled"}"#), 1.0);
    assert_eq!((metric(r#"witgate_in_flight{deployment="fast@b"}"#), metric("witgate_body_bytes")), (0.0, 0.0));
}

#[tokio::test]
async fn a_gateway_that_ends_meanwhile_says_so() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().silent().start().await;
    let grace = json!({"server": {"shutdown_grace": "300ms"}});
    let mut gateway = Serving::start(&resuming([&a, &b]).config(grace).write()).await;
    let body = r#"{"model":"fast","messages":[],"stream":true}"#;
    let stream = gateway.request("POST", CHAT).json(body).stream().await;
    eventually("the other one is asked", async || b.hits() == 1).await;
    gateway.signal("TERM");
    let told = read(&stream.rest().await.concat());
    assert_eq!((told.text.as_str(), told.error.as_deref(), told.ends), ("one ", Some("shutting_down"), 0));
    assert_eq!(gateway.end().await, Some(0), "{}", gateway.log());
    eventually("it is let go", async || b.open_connections() == 0).await;
}

#[tokio::test]
async fn the_place_of_the_stream_that_broke_is_free_for_the_one_that_goes_on() {
    let a = upstream().every(2, upstream().events(chat("later", &["two"])));
    let a = a.events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let one = json!({"deployments": {"fast@a": {"max_concurrency": 1}}, "server": {"queue": {"timeout": "1s"}}});
    let gateway = resuming([&a]).config(one).start().await;
    assert_eq!(read(&stream(&gateway, "").await.1), whole("one two", &["fast@a"]));
    eventually("all is free", async || gateway.metric(r#"witgate_in_flight{deployment="fast@a"}"#).await == 0.0).await;
    assert_eq!(gateway.metric(r#"witgate_retries_total{kind="retry",route="fast"}"#).await, 1.0);
}

#[tokio::test]
async fn usage_is_that_of_all_attempts_and_the_log_says_what_was_done() {
    let a = upstream().events(chat("a", &["one ", "two "])[..3].to_vec()).cut().start().await;
    let mut events = chat("b", &["three"]);
    events.insert(3, "data: {\"id\":\"b\",\"choices\":[],\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":1,\"total_tokens\":41}}\n\n".to_owned());
    let b = upstream().events(events).start().await;
    let gateway = Serving::start(&resuming([&a, &b]).write()).await;
    let body = r#"{"model":"fast","messages":[{"role":"user","content":"count"}],"stream":true,"stream_options":{"include_usage":true}}"#;
    let stream = gateway.request("POST", CHAT).json(body).stream().await.rest().await.concat();
    // 6 is the estimate of the prompt, of which the stream that broke has told nothing
    assert!(
        stream.contains(
            r#"{"id":"a","choices":[],"usage":{"prompt_tokens":46,"completion_tokens":3,"total_tokens":49}}"#
        ),
        "{stream}"
    );
    eventually("it is logged", async || gateway.log().contains("\"message\":\"request\"")).await;
    let log = gateway.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["message"] == "request").unwrap();
    let told = ["outcome", "deployment", "attempts", "resumes", "tokens_in", "tokens_out"].map(|key| line[key].clone());
    assert_eq!(told, [json!("served"), json!("fast@b"), json!(2), json!(1), json!(46), json!(3)]);
}

#[tokio::test]
async fn an_answer_out_of_two_is_not_kept() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().events(chat("b", &["two"])).start().await;
    let gateway = resuming([&a, &b]).config(json!({"routes": {"fast": {"cache": {"ttl": "1m"}}}})).start().await;
    for hits in 1..=2 {
        assert_eq!(read(&stream(&gateway, "").await.1), whole("one two", &["fast@b"]));
        assert_eq!((a.hits(), b.hits()), (hits, hits));
    }
}

#[tokio::test]
async fn each_server_is_asked_in_its_own_way() {
    let a = upstream().events(chat("a", &["one "])[..2].to_vec()).cut().start().await;
    let b = upstream().events(chat("b", &["two"])).start().await;
    let gateway = resuming([&a, &b]).start().await;
    let message = json!({"role": "assistant", "content": "one "});
    let prefix = json!({"role": "assistant", "content": "one ", "prefix": true});
    for (way, message, flags) in [
        ("continue-final-message", &message, (json!(true), json!(false))),
        ("prefix", &prefix, (Value::Null, Value::Null)),
    ] {
        let generation = gateway.generation().await;
        gateway.folder.edit_config(json!({"deployments": {"fast@b": {"continuation": way}}}));
        eventually("it is in service", async || gateway.generation().await > generation).await;
        assert_eq!(read(&stream(&gateway, "").await.1), whole("one two", &["fast@b"]), "{way}");
        let asked = b.last().json();
        assert_eq!(asked["messages"][1], *message);
        assert_eq!((asked["continue_final_message"].clone(), asked["add_generation_prompt"].clone()), flags, "{way}");
    }
}

#[tokio::test]
async fn completions_are_gone_on_with_anywhere() {
    let event = |id: &str, text: &str, finish: Value| {
        format!("data: {}\n\n", json!({"id": id, "choices": [{"index": 0, "text": text, "finish_reason": finish}]}))
    };
    let a = upstream().events([event("a", "one ", Value::Null)]).cut().start().await;
    let b = upstream().events([event("b", "two", json!("length"))]).start().await;
    let cannot = json!({"providers": {"a": {"continuation": "none"}, "b": {"continuation": "none"}}});
    let gateway = resuming([&a, &b]).config(cannot).start().await;
    let body = r#"{"model":"fast","prompt":"count: ","stream":true}"#;
    let events = gateway.post("/v1/completions", body).stream().await.rest().await.concat();
    let wanted = [
        event("a", "one ", Value::Null),
        ": x-witgate-resumed: fast@b\n".to_owned(),
        event("a", "two", json!("length")),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(events, wanted.concat());
    assert_eq!(b.last().json()["prompt"], "count: one ");
}

/// The data of each event, by name.
fn messages(events: &str) -> Vec<(String, Value)> {
    let named = events.split("event: ").skip(1).filter_map(|event| event.split_once("\ndata: "));
    let data = |text: &str| serde_json::from_str(text.lines().next().unwrap_or_default()).expect("JSON");
    named.map(|(name, text)| (name.to_owned(), data(text))).collect()
}

#[tokio::test]
async fn a_message_is_gone_on_with_across_dialects() {
    // the first speaks chat completions, the second Messages, and the client Messages
    let a = upstream().events(chat("a", &["one ", "two\n"])[..3].to_vec()).cut().start().await;
    let event = |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap());
    let b = upstream()
        .events([
            event(json!({"type": "message_start", "message": {"id": "msg_b", "type": "message", "role": "assistant",
                "model": "b", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}})),
            event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
            event(
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\nthree"}}),
            ),
            event(json!({"type": "content_block_stop", "index": 0})),
            event(
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
            ),
            event(json!({"type": "message_stop"})),
        ])
        .start()
        .await;
    let dialect = json!({"providers": {"b": {"dialect": "anthropic"}}});
    let gateway = resuming([&a, &b]).config(dialect).start().await;
    let body = r#"{"model":"fast","max_tokens":64,"messages":[{"role":"user","content":"count"}],"stream":true}"#;
    let stream = gateway.post("/v1/messages", body).stream().await;
    assert_eq!(stream.head.header("x-witgate-resume"), Some("yes"));
    let events = stream.rest().await.concat();
    let events = messages(&events);
    let names: Vec<&str> = events.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let text: String = events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(text, "one two\nthree", "the blank that was left out does not come twice");
    assert!(events.iter().all(|(_, data)| data["index"].is_null() || data["index"] == 0));
    assert_eq!(events[0].1["message"]["id"], "a");
    assert_eq!(events[7].1["usage"]["output_tokens"], 4);
    let asked = b.last().json();
    assert_eq!((&asked["messages"][1]["content"], &asked["max_tokens"]), (&json!("one two"), &json!(62)));
    // and a chat that a message goes on with
    assert_eq!(read(&stream_chat(&gateway).await), whole("one two\nthree", &["fast@b"]));
}

#[tokio::test]
async fn a_client_of_ollama_s_reads_one_answer_too() {
    let a = upstream().events(chat("a", &["one ", "two "])[..3].to_vec()).cut().start().await;
    let b = upstream().events(chat("other", &["three", " four"])).start().await;
    let gateway = resuming([&a, &b]).start().await;
    let body = r#"{"model":"fast","messages":[{"role":"user","content":"count"}],"options":{"num_predict":9}}"#;
    let answer = gateway.post("/api/chat", body).send().await;
    assert_eq!(answer.header("x-witgate-resume"), Some("yes"));
    let lines: Vec<Value> = answer.body_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!(text, "one two three four");
    assert!(lines.iter().all(|line| line["model"] == "model-a"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line["done"] == true).count(), 1);
    let asked =
        [("count", "user"), ("one two ", "assistant")].map(|(text, role)| json!({"role": role, "content": text}));
    assert_eq!((&b.last().json()["messages"], &b.last().json()["max_tokens"]), (&json!(asked), &json!(7)));
    assert_eq!(became(&gateway, "resumed").await, 1.0);
    // and where nobody goes on
    b.becomes(upstream().status(503));
    let told = gateway.post("/api/chat", body).send().await;
    let last: Value = serde_json::from_str(told.body_text().lines().last().unwrap()).unwrap();
    assert!(last["error"].is_string(), "{last}");
}

#[tokio::test]
async fn a_client_of_responses_reads_one_answer_too() {
    let a = upstream().events(chat("a", &["one ", "two "])[..3].to_vec()).cut().start().await;
    let b = upstream().events(chat("other", &["three", " four"])).start().await;
    let gateway = resuming([&a, &b]).start().await;
    let body = r#"{"model":"fast","input":"count","stream":true,"max_output_tokens":9}"#;
    let ask = async || {
        let stream = gateway.post("/v1/responses", body).stream().await;
        assert_eq!(stream.head.header("x-witgate-resume"), Some("yes"));
        let text = stream.rest().await.concat();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect::<Vec<Value>>()
    };
    let events = ask().await;
    let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..events.len() as u64).map(Some).collect::<Vec<_>>());
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let last = &events[11]["response"];
    assert_eq!(last["output"][0]["content"][0]["text"], "one two three four");
    assert_eq!(
        ["id", "model", "created_at"].map(|key| &last[key]),
        ["id", "model", "created_at"].map(|key| &events[0]["response"][key])
    );
    assert_eq!(last["output"][0]["id"], events[2]["item"]["id"]);
    let asked =
        [("count", "user"), ("one two ", "assistant")].map(|(text, role)| json!({"role": role, "content": text}));
    assert_eq!((&b.last().json()["messages"], &b.last().json()["max_tokens"]), (&json!(asked), &json!(7)));
    // and where nobody goes on
    b.becomes(upstream().status(503));
    let events = ask().await;
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["sequence_number"]), (&json!("response.failed"), &json!(events.len() - 1)));
    assert!(events.iter().all(|event| event["type"] != "response.completed"));
}

async fn stream_chat(gateway: &Gateway) -> String {
    stream(gateway, "").await.1
}

#[tokio::test]
async fn a_stream_that_does_not_break_goes_byte_for_byte() {
    let a = upstream().chat("one two three").start().await;
    let gateway = resuming([&a]).start().await;
    assert_eq!(stream(&gateway, "").await.1, chat_events("one two three").concat());
}
