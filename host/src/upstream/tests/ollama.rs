//! Ollama's own API on the other side: requests that are translated on their way there, and answers on their way back;
//! and Ollama's clients at providers that speak otherwise. What the scripted servers say are the fixtures of
//! `witgate_core`, which follow the published references.

use serde_json::{Value, json as value};

use super::server::{Server, chunk, chunked, json};
use super::*;

const TOOLS: &str = include_str!("../../../core/tests/dialect/ollama/upstream/response/tools.json");
const TEXT_LINES: &str = include_str!("../../../core/tests/dialect/ollama/upstream/stream/text.sse");
const ERROR_LINES: &str = include_str!("../../../core/tests/dialect/ollama/upstream/stream/error.sse");
const UNENDED_LINES: &str = include_str!("../../../core/tests/dialect/ollama/upstream/stream/unended.sse");
const GENERATED: &str = include_str!("../../../core/tests/dialect/ollama/upstream/generate_response/text.json");
const EMBEDDED: &str = include_str!("../../../core/tests/dialect/ollama/upstream/embed_response/two.json");
const COMPLETION: &str = include_str!("../../../core/tests/dialect/ollama/downstream/response/text.json");
const CHUNKS: &str = include_str!("../../../core/tests/dialect/ollama/downstream/stream/text.sse");
const MESSAGE: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/response/text.json");
const MESSAGE_EVENTS: &str = include_str!("../../../core/tests/dialect/anthropic/upstream/stream/text.sse");

const LINES_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";

/// A provider whose own API is spoken.
fn configured(server: &Server) -> Configured {
    Configured {
        dialect: Dialect::Ollama,
        base_url: format!("http://{}", server.address),
        api_keys: vec![],
        ..provider(server.address)
    }
}

fn ollama(server: &Server) -> Upstreams {
    upstreams(&configured(server))
}

fn given(fixture: &str) -> String {
    serde_json::from_str::<Value>(fixture).unwrap()["given"].to_string()
}

/// The lines of a fixture as Ollama sends them.
fn lines_of(fixture: &str) -> String {
    let data = fixture.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|line| format!("{line}\n")).collect()
}

fn streaming(pieces: &[&str]) -> String {
    let chunks: String = pieces.iter().map(|data| chunk(data)).collect();
    format!("{LINES_HEAD}{chunks}0\r\n\r\n")
}

/// A server that answers like this, and the first thing that it is asked.
async fn watched(answer: String) -> (Server, tokio::sync::oneshot::Receiver<(String, Value)>) {
    let (sender, seen) = tokio::sync::oneshot::channel();
    let sender = Arc::new(std::sync::Mutex::new(Some(sender)));
    let server = Server::start(move |mut peer| {
        let (sender, answer) = (Arc::clone(&sender), answer.clone());
        async move {
            while let Some(request) = peer.request().await {
                if let Some(sender) = sender.lock().unwrap().take() {
                    let (head, body) = request.split_once("\r\n\r\n").unwrap();
                    sender.send((head.to_owned(), serde_json::from_str(body).unwrap())).unwrap();
                }
                peer.send(&answer).await;
            }
        }
    })
    .await;
    (server, seen)
}

fn asking(endpoint: Endpoint, body: &str) -> Ask {
    Ask { endpoint, ..ask(body) }
}

#[tokio::test]
async fn a_chat_is_asked_and_answered_by_ollama_s_own_api() {
    let (server, seen) = watched(json("200 OK", &given(TOOLS))).await;
    let request =
        ask(r#"{"model":"mine","messages":[{"role":"user","content":"Hi"}],"max_tokens":9,"logit_bias":{"1":2}}"#);
    let reply = request.whole(&ollama(&server)).await;
    assert_eq!(reply.headers.get("x-witgate-dropped").unwrap(), "logit_bias");
    let usage = reply.body.usage().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(169), Some(18)));
    let answer: Value = serde_json::from_str(&text(reply.body)).unwrap();
    let choice = &answer["choices"][0];
    assert_eq!((&answer["object"], &choice["finish_reason"]), (&value!("chat.completion"), &value!("tool_calls")));
    assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], r#"{"city":"Tokyo"}"#);
    let id = answer["id"].as_str().unwrap();
    assert!(id.starts_with("chatcmpl-") && id.len() > 20, "{id}");

    let (head, body) = seen.await.unwrap();
    assert!(head.starts_with("POST /api/chat HTTP/1.1\r\n") && !head.contains("authorization"), "{head}");
    let wanted = value!({
        "model": "theirs", "messages": [{"role": "user", "content": "Hi"}], "stream": false,
        "options": {"num_predict": 9},
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn lines_become_events_with_one_done_however_they_are_cut() {
    let all = lines_of(TEXT_LINES);
    for length in [1, 7, 64, 4096] {
        let pieces: Vec<&str> = all.as_bytes().chunks(length).map(|piece| str::from_utf8(piece).unwrap()).collect();
        let server = Server::answering(streaming(&pieces)).await;
        let mut events = stream().events(&ollama(&server)).await;
        let (text, failure) = drain(&mut events).await;
        assert_eq!(failure, None);
        assert_eq!(text.matches("data: [DONE]\n\n").count(), 1);
        assert!(text.ends_with("data: [DONE]\n\n") && text.contains(r#""delta":{"content":" sky"}"#), "{text}");
        // nobody asked for it, and yet it is known
        assert!(!text.contains("usage"), "{text}");
        let usage = events.tally().usage().unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(26), Some(282)));
    }
}

#[tokio::test]
async fn a_stream_that_fails_or_breaks_off_is_told() {
    let server = Server::answering(streaming(&[&lines_of(ERROR_LINES)])).await;
    let mut events = stream().events(&ollama(&server)).await;
    let (text, failure) = drain(&mut events).await;
    assert!(failure.is_none() && events.tally().failed());
    let told = r#"data: {"error":{"message":"an error was encountered while running the model","type":"server_error","param":null,"code":null}}"#;
    assert!(text.ends_with(&format!("{told}\n\n")), "{text}");
    let server = Server::answering(streaming(&[&lines_of(UNENDED_LINES)])).await;
    let mut events = stream().events(&ollama(&server)).await;
    let (_, failure) = drain(&mut events).await;
    assert_eq!(failure.unwrap().kind, FailureKind::Cut);
    // before anything was told, another may take its place
    let server = Server::answering(streaming(&["{\"error\":\"model runner has unexpectedly stopped\"}\n"])).await;
    let failure = stream().told(&ollama(&server)).await;
    assert_eq!(failure, told_in_stream("model runner has unexpectedly stopped"));
}

fn told_in_stream(message: &str) -> (FailureKind, u16, String) {
    told(FailureKind::ErrorInStream, 200, message)
}

#[tokio::test]
async fn what_ollama_s_errors_mean_is_known() {
    for (status, body, kind) in [
        ("404 Not Found", r#"{"error":"model 'theirs' not found"}"#, FailureKind::ModelNotFound),
        ("400 Bad Request", r#"{"error":"\"theirs\" does not support thinking"}"#, FailureKind::Unsupported),
        (
            "503 Service Unavailable",
            r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
            FailureKind::Overloaded,
        ),
        ("500 Internal Server Error", r#"{"error":"llama runner process has terminated"}"#, FailureKind::ServerError),
    ] {
        let server = Server::answering(json(status, body)).await;
        assert_eq!(chat().failure(&ollama(&server)).await.kind, kind, "{body}");
    }
    let server =
        Server::answering(json("400 Bad Request", r#"{"error":"\"theirs\" does not support thinking"}"#)).await;
    let body = chat().failure(&ollama(&server)).await.body.unwrap();
    let wanted = r#"{"error":{"message":"\"theirs\" does not support thinking","type":"invalid_request_error","param":null,"code":null}}"#;
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn completions_and_embeddings_have_paths_of_their_own() {
    let (server, seen) = watched(json("200 OK", &given(GENERATED))).await;
    let completion = asking(Endpoint::Completions, r#"{"model":"mine","prompt":"Why?","suffix":"."}"#);
    let answer: Value = serde_json::from_str(&text(completion.whole(&ollama(&server)).await.body)).unwrap();
    assert_eq!(
        (&answer["object"], &answer["choices"][0]["finish_reason"]),
        (&value!("text_completion"), &value!("stop"))
    );
    let (head, body) = seen.await.unwrap();
    assert!(head.starts_with("POST /api/generate HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, value!({"model": "theirs", "prompt": "Why?", "suffix": ".", "stream": false}));

    let (server, seen) = watched(json("200 OK", &given(EMBEDDED))).await;
    let embedding = asking(Endpoint::Embeddings, r#"{"model":"mine","input":["a","b"],"encoding_format":"base64"}"#);
    let answer: Value = serde_json::from_str(&text(embedding.whole(&ollama(&server)).await.body)).unwrap();
    assert_eq!(answer["usage"]["prompt_tokens"], 8);
    // as it was asked for, which Ollama cannot
    assert!(answer["data"][1]["embedding"].is_string(), "{answer}");
    let (head, body) = seen.await.unwrap();
    assert!(head.starts_with("POST /api/embed HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, value!({"model": "theirs", "input": ["a", "b"]}));
}

#[tokio::test]
async fn by_its_v1_ollama_is_spoken_to_as_openai_is() {
    let server = Server::start(|mut peer| async move {
        let request = peer.request().await.unwrap();
        assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
        peer.send(&json("200 OK", r#"{"choices":[]}"#)).await;
    })
    .await;
    let v1 = Configured { dialect: Dialect::Ollama, ..provider(server.address) };
    assert_eq!(text(chat().whole(&upstreams(&v1)).await.body), r#"{"choices":[]}"#);
}

const OWN_CHAT: &str = r#"{"model":"mine","messages":[{"role":"user","content":"Hi"}]"#;

fn own_chat(more: &str) -> Ask {
    asking(Endpoint::OllamaChat, &format!("{OWN_CHAT}{more}}}"))
}

#[tokio::test]
async fn a_client_of_ollama_s_is_answered_by_one_that_speaks_openai_s_dialect() {
    let (server, seen) = watched(json("200 OK", &given(COMPLETION))).await;
    let request = own_chat(r#","stream":false,"options":{"num_predict":9,"num_ctx":64}"#);
    let reply = request.whole(&upstreams(&provider(server.address))).await;
    assert_eq!(reply.headers.get("x-witgate-dropped").unwrap(), "options.num_ctx");
    assert_eq!(reply.body.usage().unwrap().completion_tokens, Some(10));
    let answer: Value = serde_json::from_str(&text(reply.body)).unwrap();
    assert_eq!(answer["message"]["content"], "Hello! How can I assist you today?");
    assert_eq!((&answer["done"], &answer["done_reason"]), (&value!(true), &value!("length")));
    let (head, body) = seen.await.unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, value!({"model": "theirs", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}));

    let server = Server::answering(chunked(&[CHUNKS.split_once('\n').unwrap().1])).await;
    let (text, failure) = drain(&mut own_chat("").events(&upstreams(&provider(server.address))).await).await;
    assert_eq!(failure, None);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!((&lines[0]["message"]["content"], &lines[0]["done"]), (&value!("Hello"), &value!(false)));
    assert_eq!((&lines[2]["done"], &lines[2]["eval_count"]), (&value!(true), &value!(3)));
}

#[tokio::test]
async fn a_client_of_ollama_s_is_answered_by_one_that_speaks_messages() {
    let (server, seen) = watched(json("200 OK", &given(MESSAGE))).await;
    let claude = |server: &Server| {
        upstreams(&Configured {
            dialect: Dialect::Anthropic,
            key_header: KeyHeader::XApiKey,
            ..provider(server.address)
        })
    };
    let answer = text(own_chat(r#","stream":false"#).whole(&claude(&server)).await.body);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["message"]["content"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    assert_eq!(answer["done"], true);
    assert!(seen.await.unwrap().0.starts_with("POST /v1/messages HTTP/1.1\r\n"));

    let server = Server::answering(chunked(&[MESSAGE_EVENTS.split_once('\n').unwrap().1])).await;
    let mut events = own_chat("").events(&claude(&server)).await;
    let (text, failure) = drain(&mut events).await;
    assert_eq!(failure, None);
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["done"], &last["prompt_eval_count"], &last["eval_count"]),
        (&value!(true), &value!(25), &value!(15))
    );
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
}

#[tokio::test]
async fn between_two_that_speak_ollama_every_byte_is_left_alone() {
    let own = r#"{"model": "mine",  "messages":[{"role":"user","content":"\u0048i"}],"think":true}"#;
    let all = lines_of(TEXT_LINES);
    let (server, seen) = watched(streaming(&[&all[..all.len() / 3], &all[all.len() / 3..]])).await;
    let mut events = asking(Endpoint::OllamaChat, own).events(&ollama(&server)).await;
    let (text, failure) = drain(&mut events).await;
    assert_eq!((text, failure), (all, None));
    let (head, body) = seen.await.unwrap();
    assert!(head.starts_with("POST /api/chat HTTP/1.1\r\n"), "{head}");
    assert_eq!((&body["model"], &body["think"]), (&value!("theirs"), &value!(true)));
    let whole = given(TOOLS);
    let server = Server::answering(json("200 OK", &whole)).await;
    assert_eq!(text_of(own_chat(r#","stream":false"#).whole(&ollama(&server)).await), whole);
}

fn text_of(reply: WholeReply) -> String {
    text(reply.body)
}

#[tokio::test]
async fn what_goes_wrong_for_a_client_of_ollama_s_is_a_line() {
    let error = r#"{"error":{"message":"The server had an error.","type":"server_error","param":null,"code":null}}"#;
    let first = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let server = Server::answering(chunked(&[first, &format!("data: {error}\n\n")])).await;
    let mut events = own_chat("").events(&upstreams(&provider(server.address))).await;
    let (text, _) = drain(&mut events).await;
    assert_eq!(text.lines().last(), Some(r#"{"error":"The server had an error."}"#));
    let demo = upstreams(&Configured { dialect: Dialect::Demo, ..provider("127.0.0.1:9".parse().unwrap()) });
    let refused = asking(Endpoint::OllamaGenerate, r#"{"model":"m","prompt":"Hi","raw":true}"#).failure(&demo).await;
    assert_eq!(refused.kind, FailureKind::Unsupported);
}
