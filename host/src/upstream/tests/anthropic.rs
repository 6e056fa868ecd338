//! Two dialects: requests that are translated on their way to a provider, and answers on their way back. What the
//! scripted servers say are the fixtures of `witgate_core`, which follow the published references.

use serde_json::{Value, json as value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::server::{Peer, STREAM_HEAD, Server, chunk, chunked, json};
use super::*;

/// A server that answers like this, and what it is asked.
async fn watched(answer: String) -> (Server, UnboundedReceiver<String>) {
    let (sender, seen) = unbounded_channel();
    let server = Server::start(move |mut peer: Peer| {
        let (sender, answer) = (sender.clone(), answer.clone());
        async move {
            while let Some(request) = peer.request().await {
                sender.send(request).unwrap();
                peer.send(&answer).await;
            }
        }
    })
    .await;
    (server, seen)
}

fn anthropic(server: &Server) -> Upstreams {
    upstreams(&configured(server))
}

fn configured(server: &Server) -> Configured {
    Configured { dialect: Dialect::Anthropic, key_header: KeyHeader::XApiKey, ..provider(server.address) }
}

fn openai(server: &Server) -> Upstreams {
    upstreams(&provider(server.address))
}

fn messages(more: &str) -> Ask {
    let body = format!(r#"{{"model":"mine","max_tokens":64,"messages":[{{"role":"user","content":"Hi"}}]{more}}}"#);
    Ask { endpoint: Endpoint::Messages, ..ask(&body) }
}

fn given(fixture: &str) -> String {
    serde_json::from_str::<Value>(fixture).unwrap()["given"].to_string()
}

/// The events of a fixture, which begins with a line that says where it is from.
fn events_of(fixture: &str) -> &str {
    fixture.split_once('\n').unwrap().1
}

fn head_and_body(request: &str) -> (&str, Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head, serde_json::from_str(body).unwrap())
}

const TOOL_USE: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/response/tool_use.json");
const TEXT_EVENTS: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/stream/text.sse");
const ERROR_EVENTS: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/stream/error.sse");
const UNENDED_EVENTS: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/stream/unended.sse");
const OVERLOADED: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/errors/overloaded.json");
const INVALID: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/errors/invalid.json");
const COMPLETION: &str = include_str!("../../../core/tests/dialect/anthropic/downstream/response/text.json");
const CHUNKS: &str = include_str!("../../../core/tests/dialect/anthropic/downstream/stream/text.sse");

#[tokio::test]
async fn a_chat_is_asked_and_answered_in_messages() {
    let (server, mut seen) = watched(json("200 OK", &given(TOOL_USE))).await;
    let mut request = ask(r#"{"model":"mine","messages":[{"role":"user","content":"Hi"}],"seed":7,"stop":"END"}"#);
    request.headers.insert("x-api-key", "sk-clients".parse().unwrap());
    let reply = request.whole(&anthropic(&server)).await;
    assert_eq!(reply.headers.get("x-witgate-dropped").unwrap(), "seed");
    let usage = reply.body.usage().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(472), Some(89)));
    let answer: Value = serde_json::from_str(&text(reply.body)).unwrap();
    assert_eq!(
        (&answer["object"], &answer["choices"][0]["finish_reason"]),
        (&value!("chat.completion"), &value!("tool_calls"))
    );
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][1]["function"]["name"], "get_time");

    let asked = seen.recv().await.unwrap();
    let (head, body) = head_and_body(&asked);
    assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("x-api-key: sk-ours\r\n") && head.contains("anthropic-version: 2023-06-01\r\n"), "{head}");
    assert!(!head.contains("authorization") && !head.contains("sk-clients"), "{head}");
    let wanted = value!({
        "model": "theirs", "max_tokens": 8192, "stop_sequences": ["END"],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn a_streamed_chat_ends_with_one_done_however_the_events_are_cut() {
    let all = events_of(TEXT_EVENTS);
    for length in [1, 7, 64, 4096] {
        let pieces: Vec<&str> = all.as_bytes().chunks(length).map(|piece| str::from_utf8(piece).unwrap()).collect();
        let (server, _seen) = watched(chunked(&pieces)).await;
        let mut events = stream().events(&anthropic(&server)).await;
        let (text, failure) = drain(&mut events).await;
        assert_eq!(failure, None);
        assert_eq!(text.matches("data: [DONE]\n\n").count(), 1);
        assert!(text.ends_with("data: [DONE]\n\n") && text.contains(r#""delta":{"content":"Hello"}"#), "{text}");
        // nobody asked for it, and yet it is known
        assert!(!text.contains("usage"), "{text}");
        let usage = events.tally().usage().unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(25), Some(15)));
    }
}

#[tokio::test]
async fn what_anthropic_s_errors_mean_is_known() {
    let (server, _seen) = watched(json("529 Overloaded", &given(OVERLOADED))).await;
    let failure = chat().failure(&anthropic(&server)).await;
    assert_eq!((failure.kind, failure.status, &*failure.message), (FailureKind::Overloaded, 529, "Overloaded"));
    let (server, _seen) = watched(json("400 Bad Request", &given(INVALID))).await;
    let failure = chat().failure(&anthropic(&server)).await;
    assert_eq!((failure.kind, failure.status), (FailureKind::BadRequest, 400));
    let told = r#"{"error":{"message":"messages: at least one message is required","type":"invalid_request_error","param":null,"code":null}}"#;
    assert_eq!(failure.body.unwrap(), told);
    // in a stream that has begun, the client is told in its own dialect
    let (server, _seen) = watched(chunked(&[events_of(ERROR_EVENTS)])).await;
    let (text, failure) = drain(stream().events(&anthropic(&server)).await).await;
    let told = "data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":\"overloaded_error\"}}\n\n";
    assert!(text.ends_with(told) && !text.contains("[DONE]"), "{text}");
    assert_eq!(failure, None);
}

#[tokio::test]
async fn what_cannot_be_said_is_not_sent() {
    let (server, _seen) = watched(String::new()).await;
    let failure = ask(r#"{"model":"mine","messages":[],"n":2}"#).failure(&anthropic(&server)).await;
    let message = "'n' cannot be carried over to Anthropic's Messages API, which this model is served by. Leave it out, or \
                   ask for a model that takes it.";
    assert_eq!((failure.kind, failure.status, &*failure.message), (FailureKind::Unsupported, 0, message));
    let body = failure.body.unwrap();
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&told["error"]["param"], &told["error"]["code"]), (&value!("n"), &value!("unsupported_parameter")));

    let embedding = Ask { endpoint: Endpoint::Embeddings, ..ask(r#"{"model":"mine","input":"x"}"#) };
    let failure = embedding.failure(&anthropic(&server)).await;
    assert_eq!(failure.message, "This model's provider does not serve /embeddings; ask for another model.");
    assert_eq!(server.connections(), 0);

    let dropping = Configured { on_loss: OnLoss::Drop, ..configured(&server) };
    let failure = ask(r#"{"model":"mine","messages":[],"n":2}"#).failure(&upstreams(&dropping)).await;
    assert_ne!(failure.status, 400);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_service_is_not_asked_for_what_it_does_not_have() {
    let (server, mut seen) = watched(json("200 OK", &given(COMPLETION))).await;
    let azure =
        Configured { key_header: KeyHeader::ApiKey, lacks: &[Endpoint::Embeddings], ..provider(server.address) };
    let embedding = Ask { endpoint: Endpoint::Embeddings, ..ask(r#"{"model":"mine","input":"x"}"#) };
    let failure = embedding.failure(&upstreams(&azure)).await;
    assert_eq!((failure.kind, server.connections()), (FailureKind::Unsupported, 0));
    chat().whole(&upstreams(&azure)).await;
    let asked = seen.recv().await.unwrap();
    assert!(asked.contains("api-key: sk-ours\r\n") && !asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn all_of_anthropic_s_models_are_listed() {
    // Anthropic API reference, List Models
    let page = value!({
        "data": [{"type": "model", "id": "claude-opus-5-5", "display_name": "Claude Opus 5.5", "created_at": "2026-10-01T00:00:00Z"}],
        "has_more": false, "first_id": "claude-opus-5-5", "last_id": "claude-opus-5-5",
    });
    let (server, mut seen) = watched(json("200 OK", &page.to_string())).await;
    let models = models_of(&configured(&server), Duration::from_secs(2)).await.unwrap();
    assert_eq!(models.iter().map(|model| &*model.id).collect::<Vec<_>>(), ["claude-opus-5-5"]);
    let asked = seen.recv().await.unwrap();
    assert!(
        asked.starts_with("GET /v1/models?limit=1000 HTTP/1.1\r\n") && asked.contains("x-api-key: sk-ours"),
        "{asked}"
    );
}

#[tokio::test]
async fn the_demo_provider_answers_messages() {
    let demo = upstreams(&Configured { dialect: Dialect::Demo, ..provider("127.0.0.1:9".parse().unwrap()) });
    let answer: Value = serde_json::from_str(&text(messages("").whole(&demo).await.body)).unwrap();
    assert_eq!((&answer["type"], &answer["content"][0]["type"]), (&value!("message"), &value!("text")));
    let (text, failure) = drain(messages(r#","stream":true"#).events(&demo).await).await;
    assert!(
        text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n") && failure.is_none(),
        "{text}"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_message_is_malformed() {
    let (server, _seen) = watched(json("200 OK", r#"{"choices":[]}"#)).await;
    let message = "the answer is not a message of Anthropic's Messages API, so it cannot be told in OpenAI's chat completions API";
    assert_eq!(chat().told(&anthropic(&server)).await, told(FailureKind::Malformed, 200, message));
}

#[tokio::test]
async fn messages_between_those_who_speak_them_stay_as_they_are() {
    let odd = r#"{ "type":"message", "content":[], "usage":{"input_tokens":1,"output_tokens":2}, "new": 1.50 }"#;
    let (server, mut seen) = watched(json("200 OK", odd)).await;
    let mut request = messages(r#", "thinking" : {"type":"adaptive"}, "new": 1e2"#);
    for (name, value) in [("anthropic-version", "2027-01-01"), ("anthropic-beta", "b")] {
        request.headers.insert(name, value.parse().unwrap());
    }
    let reply = request.whole(&anthropic(&server)).await;
    assert_eq!(reply.headers.get("x-witgate-dropped"), None);
    assert_eq!(text(reply.body), odd);
    let asked = seen.recv().await.unwrap();
    assert!(asked.contains("anthropic-version: 2027-01-01\r\n") && asked.contains("anthropic-beta: b\r\n"), "{asked}");
    let body = r#"{"model":"theirs","max_tokens":64,"messages":[{"role":"user","content":"Hi"}], "thinking" : {"type":"adaptive"}, "new": 1e2}"#;
    assert!(asked.ends_with(body), "{asked}");

    let (server, _seen) = watched(chunked(&[events_of(TEXT_EVENTS)])).await;
    let (text, failure) = drain(messages(r#","stream":true"#).events(&anthropic(&server)).await).await;
    assert_eq!((&*text, failure), (events_of(TEXT_EVENTS), None));
    // a stream that its upstream just closes has its end all the same
    let (server, _seen) = watched(chunked(&[events_of(UNENDED_EVENTS)])).await;
    let (text, failure) = drain(messages(r#","stream":true"#).events(&anthropic(&server)).await).await;
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    assert_eq!((text, failure), (format!("{}{stop}", events_of(UNENDED_EVENTS)), None));
}

#[tokio::test]
async fn messages_are_asked_and_answered_in_a_chat() {
    let (server, mut seen) = watched(json("200 OK", &given(COMPLETION))).await;
    let reply = messages(r#","thinking":{"type":"adaptive"}"#).whole(&openai(&server)).await;
    assert_eq!(reply.headers.get("x-witgate-dropped").unwrap(), "thinking");
    let answer: Value = serde_json::from_str(&text(reply.body)).unwrap();
    assert_eq!((&answer["type"], &answer["stop_reason"]), (&value!("message"), &value!("max_tokens")));
    let asked = seen.recv().await.unwrap();
    let (head, body) = head_and_body(&asked);
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer sk-ours"), "{head}");
    let wanted = value!({"model": "theirs", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn a_stream_of_messages_is_made_of_chunks() {
    let (server, mut seen) = watched(chunked(&[events_of(CHUNKS)])).await;
    let (text, failure) = drain(messages(r#","stream":true"#).events(&openai(&server)).await).await;
    assert_eq!(failure, None);
    assert!(text.starts_with("event: message_start\ndata: {\"type\":\"message_start\","), "{text}");
    assert!(text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{text}");
    assert!(text.contains(
        r#""usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":3}"#
    ));
    let asked = seen.recv().await.unwrap();
    let (_, body) = head_and_body(&asked);
    assert_eq!(body["stream_options"], value!({"include_usage": true}));
}

#[tokio::test]
async fn each_event_is_translated_when_it_comes() {
    let (first, rest) = events_of(TEXT_EVENTS).split_once("event: content_block_delta").unwrap();
    let (first, rest) = (first.to_owned(), format!("event: content_block_delta{rest}"));
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = std::sync::Mutex::new(Some((wait, rest)));
    let server = Server::start(move |mut peer| {
        let script = wait.lock().unwrap().take();
        let first = first.clone();
        async move {
            let Some((wait, rest)) = script else { return };
            peer.request().await.unwrap();
            peer.send(&format!("{}{}", STREAM_HEAD, chunk(&first))).await;
            wait.await.unwrap();
            peer.send(&format!("{}0\r\n\r\n", chunk(&rest))).await;
            peer.wait_for_close().await;
        }
    })
    .await;
    let mut events = stream().events(&anthropic(&server)).await;
    let first = events.next().await.unwrap().unwrap();
    assert!(str::from_utf8(&first).unwrap().contains(r#""role":"assistant""#));
    go.send(()).unwrap();
    let (text, failure) = drain(events).await;
    assert!(text.ends_with("data: [DONE]\n\n") && failure.is_none(), "{text}");
}
