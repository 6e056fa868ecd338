//! Endpoints beside chat: rerank, moderations, images, audio. They are routed by model like everything else, forms are
//! read until the model is known, and answers that are not JSON go by as they come.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use witgate_tests::redis::free_address;
use witgate_tests::{Answer, Gateway, eventually, gateway, in_time, upstream};

use crate::program::Serving;

const RERANKED: &str = r#"{"model":"real","object":"list","usage":{"prompt_tokens":7,"total_tokens":7},"results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":-1.5e0}]}"#;
const FORM: &str = "multipart/form-data; boundary=B";

/// A form with these parts: name (with more parameters) and value.
fn form(parts: &[(&str, &str)]) -> String {
    let part =
        |(name, value): &(&str, &str)| format!("--B\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n");
    format!("{}--B--\r\n", parts.iter().map(part).collect::<String>())
}

fn recording(model: &str) -> String {
    form(&[("\"file\"; filename=\"a.mp3\"", "sound"), ("\"model\"", model), ("\"language\"", "en")])
}

async fn send_form(gateway: &Gateway, path: &str, body: &str) -> Answer {
    gateway.request("POST", path).header("content-type", FORM).body(body).send().await
}

#[tokio::test]
async fn a_question_to_a_reranker_goes_through_with_only_the_model_changed() {
    let a = upstream().status(503).start().await;
    let b = upstream().body(RERANKED).start().await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    let body = r#"{"model": "fast","query":"q", "documents":["a",{"text":"b"}],"top_n":2,"return_documents":false}"#;
    for path in ["/v1/rerank", "/rerank", "/v2/rerank", "/v1/reranking", "/v1/rerank/"] {
        let answer = gateway.post(path, body).send().await;
        assert_eq!((answer.status, answer.body_text()), (200, RERANKED), "{path}");
        assert_eq!((answer.deployment(), answer.attempts()), (Some("fast@b"), Some("2")));
    }
    assert_eq!(b.last().head.path(), "/v1/rerank");
    assert_eq!(b.last().text(), body.replace("\"fast\"", "\"real-fast\""));
    let served = r#"witgate_requests_total{endpoint="rerank",outcome="served",route="fast"}"#;
    assert_eq!(gateway.metric(served).await, 5.0);
    assert_eq!(gateway.metric(r#"witgate_tokens_total{deployment="fast@b",direction="in"}"#).await, 35.0);
}

#[tokio::test]
async fn moderations_and_images_take_openai_s_default_model_where_none_is_named() {
    let a = upstream().body(r#"{"data":[]}"#).start().await;
    let more = json!({"aliases": {"omni-moderation-latest": "fast", "dall-e-2": "fast"}});
    let gateway = gateway().model("fast", [&a]).config(more).start().await;
    for (path, body, sent) in [
        ("/v1/moderations", r#"{"input":"x"}"#, r#"{"model":"real-fast","input":"x"}"#),
        ("/v1/images/generations", r#"{"prompt":"x","n":2}"#, r#"{"model":"real-fast","prompt":"x","n":2}"#),
        ("/v1/images/edits", r#"{"model":"fast","prompt":"x"}"#, r#"{"model":"real-fast","prompt":"x"}"#),
    ] {
        let answer = gateway.post(path, body).send().await;
        assert_eq!((answer.status, a.last().head.path(), a.last().text()), (200, path, sent));
    }
    let image = [("\"image\"; filename=\"a.png\"", "png")];
    assert_eq!(send_form(&gateway, "/v1/images/variations", &form(&image)).await.status, 200);
    assert_eq!(a.last().text(), form(&[&[("\"model\"", "real-fast")][..], &image].concat()));
}

#[tokio::test]
async fn speech_is_passed_on_as_it_comes() {
    let sound: Vec<u8> = (0..=255).collect();
    let events = upstream().header("content-type", "audio/mpeg").events([&sound[..], &sound[..9]]).by_permit();
    let a = upstream().status(500).start().await;
    let b = events.start().await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    let ask = gateway.post("/v1/audio/speech", r#"{"model":"fast","input":"hi","voice":"alloy"}"#);
    let begun = ask.header("accept", "application/octet-stream").begin().await;
    b.let_go(2);
    let answer = begun.answer().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("audio/mpeg")));
    assert_eq!(answer.body, [&sound[..], &sound[..9]].concat());
    assert_eq!((answer.attempts(), answer.deployment()), (Some("2"), Some("fast@b")));
    assert_eq!(b.last().head.header("accept"), Some("application/octet-stream"));
}

#[tokio::test]
async fn the_first_sound_is_there_before_the_last_and_a_client_that_leaves_ends_it() {
    let chunk = "data: {\"type\":\"speech.audio.delta\"}\n\n";
    let a = upstream().events([chunk, chunk]).by_permit().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = r#"{"model":"fast","input":"hi","voice":"alloy","stream_format":"sse"}"#;
    let stream = gateway.post("/v1/audio/speech", body);
    let (mut stream, ()) = tokio::join!(stream.stream(), async { a.let_go(1) });
    assert_eq!(stream.event().await, chunk);
    drop(stream);
    eventually("the upstream is told", async || a.abandoned() == 1).await;
    let cancelled = r#"witgate_requests_total{endpoint="speech",outcome="cancelled",route="fast"}"#;
    eventually("it is counted", async || gateway.metric(cancelled).await == 1.0).await;
}

#[tokio::test]
async fn sound_that_breaks_off_does_not_look_whole() {
    let a = upstream().header("content-type", "audio/mpeg").body("0123456789").cut().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let ask = gateway.post("/v1/audio/speech", r#"{"model":"fast","input":"hi","voice":"alloy"}"#);
    assert!(ask.try_send().await.is_err());
}

#[tokio::test]
async fn a_form_is_routed_by_its_model_and_fails_over_while_it_is_whole_in_memory() {
    let a = upstream().status(503).start().await;
    let b = upstream()
        .body(r#"{"text":"hello","usage":{"type":"tokens","input_tokens":9,"output_tokens":2}}"#)
        .start()
        .await;
    let gateway = gateway().model("fast", [&a, &b]).start().await;
    for path in ["/v1/audio/transcriptions", "/audio/translations", "/v1/images/edits", "/v1/images/variations/"] {
        let answer = send_form(&gateway, path, &recording("fast")).await;
        assert_eq!((answer.status, answer.attempts()), (200, Some("2")), "{path}");
        let received = b.last();
        assert_eq!(received.text(), recording("real-fast"));
        assert_eq!(received.head.header("content-type"), Some(FORM));
        assert_eq!(
            received.head.path().trim_start_matches("/v1"),
            path.trim_start_matches("/v1").trim_end_matches('/')
        );
        assert_eq!(received.head.header("authorization"), Some("Bearer sk-provider"));
    }
    assert_eq!(gateway.metric(r#"witgate_tokens_total{deployment="fast@b",direction="in"}"#).await, 36.0);
    // what is no JSON is passed on as it comes
    b.becomes(upstream().header("content-type", "text/plain; charset=utf-8").body("hello\n"));
    let answer = send_form(&gateway, "/v1/audio/transcriptions", &recording("fast")).await;
    assert_eq!((answer.body_text(), answer.header("content-type")), ("hello\n", Some("text/plain; charset=utf-8")));
}

#[tokio::test]
async fn a_wrong_form_is_refused_and_nobody_is_asked() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let whole = recording("fast");
    let ask = async |content_type: Option<&str>, body: &str| {
        let request = gateway.request("POST", "/v1/audio/transcriptions").body(body);
        let request = match content_type {
            Some(content_type) => request.header("content-type", content_type),
            None => request,
        };
        let answer = request.send().await;
        let error = &answer.json()["error"];
        (answer.status, answer.error_message(), error["param"].clone(), error["code"].clone())
    };
    let parse = |problem: &str| (400, format!("Could not parse multipart form: {problem}."), Value::Null, Value::Null);
    let media = |message: &str| (415, message.to_owned(), Value::Null, json!("unsupported_content_type"));
    let wrong = |message: &str, code: &str| (400, message.to_owned(), json!("model"), json!(code));
    let no_boundary = parse("the header `Content-Type` names no boundary of 1 to 70 characters");
    assert_eq!(ask(Some("multipart/form-data"), &whole).await, no_boundary);
    assert_eq!(
        ask(Some("application/json"), "{}").await,
        media("Unsupported content type: 'application/json'. Send a form, with `Content-Type: multipart/form-data`.")
    );
    assert_eq!(
        ask(None, &whole).await,
        media("No content type. Send a form, with `Content-Type: multipart/form-data`.")
    );
    assert_eq!(
        ask(Some("multipart/form-data; boundary=C"), &whole).await,
        parse("it does not begin with its boundary")
    );
    assert_eq!(ask(Some(FORM), &whole[..whole.len() - 6]).await, parse("it ends before its last boundary"));
    assert_eq!(
        ask(Some(FORM), &form(&[("\"file\"; filename=\"a\"", "sound")])).await,
        wrong("Missing required parameter: 'model'.", "missing_required_parameter")
    );
    assert_eq!(
        ask(Some(FORM), &form(&[("\"model\"", "fast"), ("\"model\"", "other")])).await,
        wrong("Duplicate parameter: 'model' is given more than once. Keep one of them.", "duplicate_parameter")
    );
    let unknown = "The model `other` does not exist; GET /v1/models lists those that do.";
    assert_eq!(
        ask(Some(FORM), &recording("other")).await,
        (404, unknown.into(), json!("model"), json!("model_not_found"))
    );
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn an_endpoint_that_a_provider_does_not_have_is_refused_in_words() {
    let gateway = gateway()
        .config(json!({
            "providers": {"demo": {"dialect": "demo"}}, "deployments": {"fast@demo": {}},
            "routes": {"fast": {"deployments": ["fast@demo"]}},
        }))
        .start()
        .await;
    let answer = gateway.post("/v1/rerank", r#"{"model":"fast","query":"q","documents":["d"]}"#).send().await;
    let told = "This model's provider does not serve /rerank; ask for another model.";
    assert_eq!((answer.status, answer.error_message()), (400, told.to_owned()));
    let answer = send_form(&gateway, "/v1/audio/transcriptions", &recording("fast")).await;
    assert_eq!(answer.status, 400);
}

/// Reads requests and forgets their bodies; says how many bytes came with each that came whole, then answers.
async fn sink(
    answer: &'static str,
) -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Result<usize, usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, tells) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let (mut head, mut buffer, mut came) = (Vec::new(), vec![0; 64 << 10], 0);
                let mut expected = None;
                while expected.is_none_or(|expected| came < expected) {
                    let count = stream.read(&mut buffer).await.unwrap_or(0);
                    if count == 0 {
                        let _ = told.send(Err(came));
                        return;
                    }
                    came += count;
                    if expected.is_none() {
                        head.extend_from_slice(&buffer[..count]);
                        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
                        if let Some(end) = text.find("\r\n\r\n") {
                            let length = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
                            expected = Some(end + 4 + length.parse::<usize>().unwrap());
                        }
                    }
                }
                let _ = told.send(Ok(came));
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, tells)
}

const TEXT: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"text\":\"ok\"}";
const BUSY: &str =
    "HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
const MIB: usize = 1 << 20;

/// Sends a form of this many mebibytes, the model first, the last boundary as it is given.
async fn upload(address: std::net::SocketAddr, mebibytes: usize, end: &str) -> String {
    in_time(async {
        let begin = form(&[("\"model\"", "fast")])
            .replace("--B--\r\n", "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n");
        let length = begin.len() + mebibytes * MIB + end.len();
        let head = format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{begin}"
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'x'; MIB];
        for _ in 0..mebibytes {
            if stream.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = stream.write_all(end.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    })
    .await
}

const END: &str = "\r\n--B--\r\n";

#[tokio::test]
async fn a_large_upload_takes_no_more_memory_than_a_small_one() {
    let (address, mut came) = sink(TEXT).await;
    let folder = gateway().model_at("fast", &[address]).write();
    let serving = Serving::start(&folder).await;
    // what a first large request costs once: buffers, threads, the policy's instance
    assert!(upload(serving.address, 4, END).await.contains("{\"text\":\"ok\"}"));
    came.recv().await.unwrap().unwrap();
    let before = serving.peak_memory();
    assert!(upload(serving.address, 64, END).await.contains("{\"text\":\"ok\"}"));
    assert!(came.recv().await.unwrap().unwrap() > 64 * MIB);
    let grown = (serving.peak_memory() - before) << 10;
    assert!(grown < 8 * MIB as u64, "the peak grew by {grown} bytes for 64 MiB");
}

#[tokio::test]
async fn a_body_that_has_begun_to_be_sent_is_not_sent_again_and_one_that_has_not_is() {
    let (busy, mut came) = sink(BUSY).await;
    let (well, mut came_well) = sink(TEXT).await;
    let refused = free_address();
    let gateway = gateway().model_at("fast", &[busy, well]).start().await;
    let answer = upload(gateway.address(), 4, END).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("(1 attempt); the last one, `fast@a`"), "{answer}");
    assert!(came.recv().await.unwrap().is_ok() && came_well.try_recv().is_err());
    assert_eq!(gateway.metric(r#"witgate_retries_refused_total{reason="spent",route="fast"}"#).await, 1.0);
    let gateway = witgate_tests::gateway().model_at("fast", &[refused, well]).start().await;
    let answer = upload(gateway.address(), 4, END).await;
    assert!(answer.contains("{\"text\":\"ok\"}") && answer.contains("x-witgate-attempts: 2"), "{answer}");
    assert!(came_well.recv().await.unwrap().unwrap() > 4 * MIB);
}

#[tokio::test]
async fn the_end_of_a_large_form_that_is_wrong_never_reaches_an_upstream() {
    let (address, mut came) = sink(TEXT).await;
    let gateway = gateway().model_at("fast", &[address]).start().await;
    let twice = "\r\n--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother\r\n--B--\r\n";
    let answer = upload(gateway.address(), 4, twice).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("Duplicate parameter: 'model' is given more than once. Keep one of them."), "{answer}");
    assert!(came.recv().await.unwrap().is_err(), "the upstream never got the whole");
    let answer = upload(gateway.address(), 4, "\r\n").await;
    assert!(answer.contains("Could not parse multipart form: it ends before its last boundary."), "{answer}");
    assert!(came.recv().await.unwrap().is_err());
    assert_eq!(gateway.metric(r#"witgate_breaker_opened_total{deployment="fast@a"}"#).await, 0.0);
}

#[tokio::test]
async fn an_upload_may_be_as_large_as_the_limit_and_no_larger() {
    let (address, _came) = sink(TEXT).await;
    let small = form(&[("\"model\"", "fast")]);
    let around = small.len() - "--B--\r\n".len()
        + "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".len();
    let with = |limit: usize| gateway().model_at("fast", &[address]).config(json!({"server": {"upload_limit": limit}}));
    let exact = 2 * MIB + around + END.len();
    let gateway = with(exact).start().await;
    assert!(upload(gateway.address(), 2, END).await.contains("{\"text\":\"ok\"}"));
    let gateway = with(exact - 1).start().await;
    let answer = upload(gateway.address(), 2, END).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let told = format!(
        "The request body is larger than {} bytes, the limit of this gateway (`server.upload_limit`).",
        exact - 1
    );
    assert!(answer.contains(&told), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_an_upload_ends_it() {
    let (address, mut came) = sink(TEXT).await;
    let gateway = gateway().model_at("fast", &[address]).start().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let begin = form(&[("\"model\"", "fast")])
        .replace("--B--\r\n", "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n");
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\ncontent-length: 9999999\r\n\r\n"
    );
    stream.write_all([head.as_bytes(), begin.as_bytes(), &vec![b'x'; 2 * MIB]].concat().as_slice()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    let told = in_time(came.recv()).await.unwrap();
    assert!(told.is_err_and(|bytes| bytes > MIB), "{told:?}");
    let broken = r#"witgate_requests_total{endpoint="transcriptions",outcome="broken-body",route="fast"}"#;
    eventually("it is counted", async || gateway.metric(broken).await == 1.0).await;
}
