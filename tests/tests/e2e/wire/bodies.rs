//! Points 12 to 14, 18 and 20: what must not change on the way, and how large it may be.

use serde_json::{Value, json};
use witgate_tests::{CHAT, DONE, chat_body, chat_events, gateway, upstream};

use super::FIRST;

#[tokio::test]
async fn wire_12_only_the_model_is_rewritten_in_a_request() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = "{ \"zeta\":1.0,\n\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 \u{1f600}\",\"x\":null}] , \
                \"model\" : \"fast\",\t\"temperature\":0.10,\"seed\":12345678901234567890123,\"alpha\":{\"b\":[1e3 ,2]}}\n";
    assert_eq!(gateway.post(CHAT, body).send().await.status, 200);
    assert_eq!(a.last().text(), body.replace("\"fast\"", "\"real-fast\""));
}

#[tokio::test]
async fn wire_12_an_answer_keeps_its_bytes() {
    let answer =
        "{\"zeta\" : 1.50,\n \"choices\":[ ],\"big\":12345678901234567890123,\"model\":\"other\",\"e\":\"\\u00e9\"}\n";
    let a = upstream().body(answer).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answered = gateway.chat("fast", "hi").await;
    assert_eq!((answered.status, answered.body_text()), (200, answer));
    assert_eq!(answered.header("content-length"), Some(answer.len().to_string().as_str()));
}

#[tokio::test]
async fn wire_12_a_long_answer_keeps_its_bytes_too() {
    let vector: Vec<String> = (0..40_000).map(|number| format!("0.{number:05}")).collect();
    let answer = format!("{{\"data\":[{{\"embedding\":[{}]}}]}}", vector.join(", "));
    let a = upstream().body(answer.as_str()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answered = gateway.post("/v1/embeddings", r#"{"model":"fast","input":"hi"}"#).send().await;
    assert_eq!((answered.status, answered.body_text() == answer), (200, true));
}

#[tokio::test]
async fn wire_13_nothing_of_an_answer_is_lost_and_its_model_is_the_upstream_s() {
    let answer = concat!(
        r#"{"id":"x","object":"chat.completion","created":1,"model":"other-2024-08-06","system_fingerprint":"fp_1","#,
        r#""service_tier":"default","choices":[{"index":0,"message":{"role":"assistant","content":"h\u00e9","#,
        r#""refusal":null,"annotations":[],"reasoning_content":"why"},"logprobs":{"content":[{"token":"h","#,
        r#""logprob":-1.00000000000000000001e-7,"bytes":[104],"top_logprobs":[]}]},"finish_reason":"stop"}],"#,
        r#""usage":{"prompt_tokens":12345678901234567890123,"completion_tokens":1.0},"x_extra":{"a":[1E5,-0]}}"#
    );
    let event = format!("data: {answer}\n\n");
    let a = upstream().body(answer).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.body_text(), answer);
    a.becomes(upstream().events([event.as_str(), DONE]));
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, [&event, DONE]);
}

#[tokio::test]
async fn wire_20_embeddings_are_asked_for_and_come_in_the_encoding_that_the_client_wants() {
    let answer =
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAEA="}],"model":"e"}"#;
    let a = upstream().body(answer).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let ask = r#"{"model":"fast","input":["a",[1,2]],"encoding_format":"base64","dimensions":2}"#;
    let answered = gateway.post("/v1/embeddings", ask).send().await;
    assert_eq!((answered.status, answered.body_text()), (200, answer));
    assert_eq!(a.last().text(), ask.replace("\"fast\"", "\"real-fast\""));
    // an upstream that does not know base64 gives numbers, and some SDKs would decode those
    a.becomes(upstream().body(answer.replace("\"AACAPwAAAEA=\"", "[1,2]")));
    assert_eq!(gateway.post("/v1/embeddings", ask).send().await.body_text(), answer);
    let of = |vector: &str| format!("{{\"data\":[{}]}}", vec![format!("{{\"embedding\":{vector}}}"); 20_000].join(","));
    a.becomes(upstream().body(of("[1, 2]")));
    assert_eq!(gateway.post("/v1/embeddings", ask).send().await.body_text(), of("\"AACAPwAAAEA=\""));
    let plain = ask.replace("base64", "float");
    assert_eq!(gateway.post("/v1/embeddings", plain).send().await.body_text(), of("[1, 2]"));
}

/// The parts of a long answer and of each event that name the model.
const NAMED: &str = r#""model":"other-2024-08-06""#;

#[tokio::test]
async fn wire_14_the_model_of_an_answer_is_the_upstream_s_unless_the_route_gives_it_the_client_s() {
    let rest = r#""choices":[{"index":0,"message":{"model":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}"#;
    let answer = format!("{{\"id\":\"x\", {NAMED}, {rest}");
    let long = format!("{{\"data\":[{}],{NAMED}}}", vec![r#"{"embedding":[1,2],"model":"x"}"#; 10_000].join(","));
    let events = [
        format!("data: {{{NAMED},{rest}\n\n"),
        format!("data: {{{rest}\n\n").replace("\"id\"", NAMED),
        DONE.to_owned(),
    ];
    let a = upstream().body(answer.clone()).start().await;
    let config = json!({
        "routes": {"fast": {"rewrite_model": true, "cache": {"ttl": "1m"}}}, "aliases": {"quick": "fast"},
    });
    let gateway = gateway().model("fast", [&a]).model("plain", [&a]).config(config).start().await;
    let renamed = |text: &str, name: &str| text.replace(NAMED, &format!(r#""model":"{name}""#));
    for (asked, named) in [("plain", "other-2024-08-06"), ("fast", "fast"), ("quick", "quick"), ("fast", "fast")] {
        let got = gateway.chat(asked, "hi").await;
        assert_eq!(got.body_text(), renamed(&answer, named), "{asked}");
    }
    // an alias is another answer, so that only the last one came from the cache
    assert_eq!(a.hits(), 3);
    a.becomes(upstream().body(long.clone()));
    for (asked, named) in [("plain", "other-2024-08-06"), ("fast", "fast")] {
        let got = gateway.post("/v1/embeddings", format!(r#"{{"model":"{asked}","input":"x"}}"#)).send().await;
        assert_eq!(got.body_text(), renamed(&long, named), "{asked}");
    }
    a.becomes(upstream().events(events.clone()));
    for (asked, named) in [("plain", "other-2024-08-06"), ("fast", "fast")] {
        let got = gateway.stream(asked, "hello").await.rest().await;
        assert_eq!(got, events.clone().map(|event| renamed(&event, named)), "{asked}");
    }
}

#[tokio::test]
async fn wire_14_a_translated_answer_gives_the_client_s_name_too() {
    let a = upstream().chat("hello").start().await;
    let gateway =
        gateway().model("fast", [&a]).config(json!({"routes": {"fast": {"rewrite_model": true}}})).start().await;
    let responses = r#"{"model":"fast","input":"hi"}"#;
    assert_eq!(gateway.post("/v1/responses", responses).send().await.json()["model"], "fast");
    let messages = r#"{"model":"fast","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(gateway.post("/v1/messages", messages).send().await.json()["model"], "fast");
    for (path, body) in [("/v1/responses", responses), ("/v1/messages", messages)] {
        let body = body.replace("\"fast\"", "\"fast\",\"stream\":true");
        let text = gateway.post(path, body).stream().await.rest().await.concat();
        assert!(text.contains(r#""model":"fast""#) && !text.contains(r#""model":"real""#), "{text}");
    }
}

#[tokio::test]
async fn wire_18_a_body_of_many_mebibytes_is_taken_as_it_comes_from_a_coding_agent() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let of = |length: usize| format!(r#"{{"model":"fast","messages":[],"pad":"{}"}}"#, "x".repeat(length));
    for mebibytes in [3, 12, 31] {
        let answer = gateway.post(CHAT, of(mebibytes << 20)).send().await;
        assert_eq!((answer.status, answer.body_text()), (200, &*chat_body("ok")), "{mebibytes}");
    }
    assert_eq!(a.hits(), 3);
}

#[tokio::test]
async fn wire_20_several_choices_keep_their_index_however_they_mix() {
    let other = FIRST.replace("\"index\":0", "\"index\":1");
    let last = |index: u32| {
        format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n")
    };
    let events =
        [FIRST.to_owned(), other.clone(), FIRST.to_owned(), last(1), FIRST.to_owned(), last(0), DONE.to_owned()];
    let a = upstream().events(events.clone()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let ask = r#"{"model":"fast","messages":[],"n":2,"stream":true}"#;
    assert_eq!(gateway.post(CHAT, ask).stream().await.rest().await, events);
    assert_eq!(a.last().json()["n"], Value::from(2));
    a.becomes(upstream());
    assert_eq!(gateway.stream("fast", "hi").await.rest().await, chat_events("ok"));
}
