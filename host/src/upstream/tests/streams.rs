//! Streamed answers.

use super::server::{STREAM_HEAD, Server, chunk, chunked, json, pause};
use super::*;
use tokio::sync::Notify;

const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

async fn streamed(chunks: &[&str]) -> (String, Option<AttemptFailure>) {
    let server = Server::answering(chunked(chunks)).await;
    drain(stream().events(&upstreams(&provider(server.address))).await).await
}

async fn refused(chunks: &[&str]) -> (FailureKind, u16, String) {
    let server = Server::answering(chunked(chunks)).await;
    stream().told(&upstreams(&provider(server.address))).await
}

#[tokio::test]
async fn events_come_through_as_they_are() {
    let (text, failure) = streamed(&[ROLE, ": ping\n", HELLO, STOP, DONE]).await;
    assert_eq!((text, failure), (format!("{ROLE}: ping\n{HELLO}{STOP}{DONE}"), None));
}

#[tokio::test]
async fn events_are_put_together_however_they_are_cut() {
    let all = format!("{ROLE}{HELLO}{STOP}{DONE}");
    for length in [1, 2, 7, 50] {
        let pieces: Vec<&str> = all.as_bytes().chunks(length).map(|piece| str::from_utf8(piece).unwrap()).collect();
        assert_eq!(streamed(&pieces).await, (all.clone(), None), "in pieces of {length}");
    }
}

#[tokio::test]
async fn each_event_is_passed_on_when_it_comes() {
    let first_read = Arc::new(Notify::new());
    let go_on = Arc::clone(&first_read);
    let server = Server::start(move |mut peer| {
        let go_on = Arc::clone(&go_on);
        async move {
            peer.request().await.unwrap();
            peer.send(&format!("{STREAM_HEAD}{}", chunk(ROLE))).await;
            go_on.notified().await;
            peer.send(&chunk(&format!("{HELLO}data: {{"))).await;
            peer.wait_for_close().await;
        }
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    let mut events = stream().events(&upstreams).await;
    assert_eq!(events.next().await.unwrap().unwrap(), ROLE);
    first_read.notify_one();
    // without what is not yet an event
    assert_eq!(events.next().await.unwrap().unwrap(), HELLO);
    assert_eq!(events.tally().content_events(), 1);
}

#[tokio::test]
async fn a_stream_ends_with_done_even_if_the_upstream_only_closes() {
    let (text, failure) = streamed(&[HELLO, STOP]).await;
    assert_eq!((text, failure), (format!("{HELLO}{STOP}{DONE}"), None));
    // and once, whatever follows it
    let (text, failure) = streamed(&[HELLO, STOP, DONE, DONE, HELLO]).await;
    assert_eq!((text, failure), (format!("{HELLO}{STOP}{DONE}"), None));
}

#[tokio::test]
async fn a_stream_that_ends_too_early_is_cut() {
    let (text, failure) = streamed(&[ROLE, HELLO, "data: {\"cho"]).await;
    let wanted =
        AttemptFailure::new(FailureKind::Cut, "the answer broke off: the stream ended without a finish_reason");
    assert_eq!((text, failure), (format!("{ROLE}{HELLO}"), Some(wanted.with_status(200))));
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_stream_is_cut() {
    let server = Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.send(&format!("{STREAM_HEAD}{}", chunk(HELLO))).await;
        // what is reset may take what was sent with it
        pause(50).await;
        peer.reset();
    })
    .await;
    let (text, failure) = drain(stream().events(&upstreams(&provider(server.address))).await).await;
    assert_eq!(text, HELLO);
    assert_eq!(failure.unwrap().kind, FailureKind::Cut);
}

#[tokio::test]
async fn done_is_enough_even_if_the_body_never_ends() {
    // llama-cpp-python leaves out the last chunk when it is interrupted.
    let server = Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.send(&format!("{STREAM_HEAD}{}{}", chunk(HELLO), chunk(DONE))).await;
        if peer.number == 1 {
            peer.wait_for_close().await;
        }
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    for _ in 0..2 {
        let started = Instant::now();
        let (text, failure) = drain(stream().events(&upstreams).await).await;
        assert_eq!((text, failure), (format!("{HELLO}{DONE}"), None));
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_finished_stream_leaves_its_connection_for_the_next() {
    let server = Server::answering(chunked(&[HELLO, STOP, DONE])).await;
    let upstreams = upstreams(&provider(server.address));
    for _ in 0..3 {
        drain(stream().events(&upstreams).await).await;
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn nothing_is_committed_before_the_first_event() {
    let message = "the stream ended before its first event";
    assert_eq!(refused(&[]).await, told(FailureKind::Malformed, 200, message));
    assert_eq!(refused(&[": ping\n\n", DONE]).await, told(FailureKind::Malformed, 200, message));
    let error = "data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n";
    assert_eq!(refused(&[": ping\n", error]).await, told(FailureKind::ErrorInStream, 200, "CUDA out of memory"));
    let error = "event: error\ndata: {\"message\":\"This model's maximum context length is 8 tokens.\"}\n\n";
    let message = "This model's maximum context length is 8 tokens.";
    assert_eq!(refused(&[error]).await, told(FailureKind::ContextLength, 200, message));
}

#[tokio::test]
async fn an_error_later_in_the_stream_is_relayed_and_told() {
    let error = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    let server = Server::answering(chunked(&[HELLO, error])).await;
    let mut events = stream().events(&upstreams(&provider(server.address))).await;
    let (text, failure) = drain(&mut events).await;
    assert_eq!((text, failure), (format!("{HELLO}{error}"), None));
    assert!(events.tally().failed() && !events.tally().done());
}

#[tokio::test]
async fn a_stream_has_its_timeouts_too() {
    let server = Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.send(STREAM_HEAD).await;
        if peer.number > 0 {
            peer.send(&chunk(HELLO)).await;
        }
        peer.wait_for_close().await;
    })
    .await;
    let mut configured = provider(server.address);
    configured.idle_timeout = Duration::from_millis(80);
    let upstreams = upstreams(&configured);
    let mut request = stream();
    request.first_byte_timeout = Some(Duration::from_millis(50));
    // a head alone is not a first event
    let wanted = told(FailureKind::FirstTokenTimeout, 200, "no event of the stream came within 50ms");
    assert_eq!(request.told(&upstreams).await, wanted);
    let (text, failure) = drain(request.events(&upstreams).await).await;
    let failure = failure.unwrap();
    assert_eq!((&*text, failure.kind, failure.status), (HELLO, FailureKind::Stalled, 200));
    request.time = Duration::from_millis(60);
    let (_, failure) = drain(request.events(&upstreams).await).await;
    assert_eq!(failure.unwrap().kind, FailureKind::Deadline);
}

#[tokio::test]
async fn an_answer_in_another_form_is_malformed() {
    let server = Server::answering(json("200 OK", r#"{"choices":[]}"#)).await;
    let upstreams_ = upstreams(&provider(server.address));
    let message = "asked for a stream, but the answer's content type is `application/json`";
    assert_eq!(stream().told(&upstreams_).await, told(FailureKind::Malformed, 200, message));
    let server = Server::answering(json("200 OK", r#"{"error":{"message":"busy"}}"#)).await;
    let upstreams_ = upstreams(&provider(server.address));
    assert_eq!(stream().told(&upstreams_).await, told(FailureKind::ErrorInStream, 200, "busy"));
}

#[tokio::test]
async fn a_dropped_stream_tells_the_upstream_to_stop() {
    let (sender, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut peer| {
        let sender = sender.clone();
        async move {
            peer.request().await.unwrap();
            peer.send(&format!("{STREAM_HEAD}{}", chunk(HELLO))).await;
            peer.wait_for_close().await;
            sender.send(()).unwrap();
        }
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    let events = stream().events(&upstreams).await;
    assert!(closed.try_recv().is_err());
    drop(events);
    tokio::time::timeout(Duration::from_secs(1), closed.recv()).await.unwrap().unwrap();
}
