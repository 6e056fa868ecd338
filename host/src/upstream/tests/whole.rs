//! Answers that are not streamed.

use super::server::{Peer, Server, json, pause};
use super::*;

const HELLO: &str =
    r#"{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":3}}"#;

#[tokio::test]
async fn only_the_model_changes_and_our_key_is_sent() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut peer: Peer| {
        let sender = sender.clone();
        async move {
            while let Some(request) = peer.request().await {
                sender.send(request).unwrap();
                peer.send(&json("200 OK", HELLO)).await;
            }
        }
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    let mut request = ask(r#"{ "temperature":1e0, "model": "mine" ,"messages":[] }"#);
    for (name, value) in [("authorization", "Bearer sk-clients"), ("x-extra", "clients"), ("x-unknown", "kept")] {
        request.headers.insert(name, value.parse().unwrap());
    }
    let reply = request.whole(&upstreams).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.headers.get("content-type").unwrap(), "application/json");
    let usage = reply.body.usage().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(5), Some(3)));
    assert_eq!(text(reply.body), HELLO);

    let wanted = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nx-extra: ours\r\nx-unknown: kept\r\nhost: {}\r\n\
         content-type: application/json\r\naccept-encoding: identity\r\nuser-agent: witgate/0.1.0\r\n\
         authorization: Bearer sk-ours\r\naccept: application/json\r\ncontent-length: 55\r\n\r\n\
         {{ \"temperature\":1e0, \"model\": \"theirs\" ,\"messages\":[] }}",
        server.address
    );
    assert_eq!(seen.recv().await.unwrap(), wanted);
}

#[tokio::test]
async fn an_overlay_changes_the_request_for_one_attempt() {
    let server = Server::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let body = request.split_once("\r\n\r\n").unwrap().1.to_owned();
            peer.send(&json("200 OK", &body)).await;
        }
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    let mut request = ask(r#"{"model":"mine","messages":[],"temperature":1}"#);
    request.overlay = Some(serde_json::json!({"temperature": null, "top_p": 0.5, "model": "other"}));
    let echoed = text(request.whole(&upstreams).await.body);
    assert_eq!(echoed, r#"{"model":"theirs","messages":[],"top_p":0.5}"#);

    request.overlay = Some(serde_json::json!({"messages": null}));
    let message = "the policy's overlay makes a request that cannot be sent: Missing required parameter: 'messages'.";
    assert_eq!(request.told(&upstreams).await, told(FailureKind::BadRequest, 0, message));
}

#[tokio::test]
async fn an_answer_may_come_byte_by_byte() {
    let server = Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        for byte in json("200 OK", HELLO).chars() {
            peer.send(&byte.to_string()).await;
            tokio::task::yield_now().await;
        }
        peer.wait_for_close().await;
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    assert_eq!(text(chat().whole(&upstreams).await.body), HELLO);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::answering(json("200 OK", HELLO)).await;
    let upstreams = upstreams(&provider(server.address));
    for _ in 0..5 {
        assert_eq!(text(chat().whole(&upstreams).await.body), HELLO);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn connections_outlive_a_reload_that_does_not_move_the_provider() {
    let server = Server::answering(json("200 OK", HELLO)).await;
    let mut configured = provider(server.address);
    let mut upstreams = upstreams(&configured);
    chat().whole(&upstreams).await;
    configured.api_keys.clear();
    upstreams.providers = vec![Provider::new(&configured, &upstreams.providers)];
    chat().whole(&upstreams).await;
    assert_eq!(server.connections(), 1);
    configured.connect_timeout = Duration::from_secs(3);
    upstreams.providers = vec![Provider::new(&configured, &upstreams.providers)];
    chat().whole(&upstreams).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_time_and_no_longer() {
    let server = Server::answering(json("200 OK", HELLO)).await;
    let mut configured = provider(server.address);
    configured.pool_idle_timeout = Duration::from_millis(200);
    let upstreams = upstreams(&configured);
    chat().whole(&upstreams).await;
    pause(20).await;
    chat().whole(&upstreams).await;
    assert_eq!(server.connections(), 1);
    pause(220).await;
    chat().whole(&upstreams).await;
    assert_eq!(server.connections(), 2);

    assert_eq!(unused(&upstreams), 1);
    upstreams.close_old_connections();
    assert_eq!(unused(&upstreams), 1);
    pause(220).await;
    upstreams.close_old_connections();
    assert_eq!(unused(&upstreams), 0);
}

#[tokio::test]
async fn no_more_connections_are_kept_than_configured() {
    let server = Server::answering(json("200 OK", HELLO)).await;
    let mut configured = provider(server.address);
    configured.pool_max_idle = 2;
    let upstreams = upstreams(&configured);
    let request = chat();
    let both = futures_util::future::join_all((0..2).map(|_| request.whole(&upstreams)));
    both.await;
    assert_eq!((server.connections(), unused(&upstreams)), (2, 2));
    futures_util::future::join_all((0..3).map(|_| request.whole(&upstreams))).await;
    assert_eq!((server.connections(), unused(&upstreams)), (3, 2));
}

fn unused(upstreams: &Upstreams) -> usize {
    match &upstreams.providers[0].backend {
        Backend::Http(service) => service.client.pool().len(),
        Backend::Demo(_) | Backend::Unusable(_) => panic!("not a service"),
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_costs_nothing() {
    // Closes after each answer without saying so, as llama.cpp does after five seconds.
    let server = Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.send(&json("200 OK", HELLO)).await;
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    for _ in 0..3 {
        assert_eq!(text(chat().whole(&upstreams).await.body), HELLO);
        pause(20).await;
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_request_that_crosses_the_close_is_sent_once_more() {
    let server = closing_on_the_second_request().await;
    let upstreams = upstreams(&provider(server.address));
    chat().whole(&upstreams).await;
    assert_eq!(text(chat().whole(&upstreams).await.body), HELLO);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn one_that_must_not_be_carried_out_twice_is_not() {
    let server = closing_on_the_second_request().await;
    let upstreams = upstreams(&provider(server.address));
    chat().whole(&upstreams).await;
    let failure = Ask { twice: false, ..chat() }.failure(&upstreams).await;
    assert_eq!((failure.kind, server.connections()), (FailureKind::Reset, 1));
}

/// Takes the second request on the first connection, and resets it unanswered.
async fn closing_on_the_second_request() -> Server {
    Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.send(&json("200 OK", HELLO)).await;
        if peer.number == 0 {
            peer.request().await.unwrap();
            peer.reset();
        } else {
            peer.wait_for_close().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_request_that_a_server_may_have_begun_is_not_sent_again() {
    let server = Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.send(&json("200 OK", HELLO)).await;
        peer.request().await.unwrap();
        pause(1100).await;
    })
    .await;
    let upstreams = upstreams(&provider(server.address));
    chat().whole(&upstreams).await;
    let message = "the connection broke before the answer began: connection closed before message completed";
    assert_eq!(chat().told(&upstreams).await, told(FailureKind::Reset, 0, message));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_long_answer_is_passed_on_as_it_comes() {
    const HELD: usize = 64 << 10;
    let of_length = |length: usize| {
        let frame = r#"{"data":"","usage":{"prompt_tokens":7}}"#;
        format!(r#"{{"data":"{}","usage":{{"prompt_tokens":7}}}}"#, "x".repeat(length - frame.len()))
    };
    for (length, is_long) in [(HELD, false), (HELD + 1, true), (4 * HELD, true)] {
        let server = Server::answering(json("200 OK", &of_length(length))).await;
        let upstreams = upstreams(&provider(server.address));
        let body = chat().whole(&upstreams).await.body;
        match body {
            AnswerBody::Whole(bytes) => assert_eq!((bytes.len(), is_long), (length, false)),
            AnswerBody::Long(mut long) => {
                let (text, failure) = drain(&mut long).await;
                assert_eq!((text.len(), is_long, failure), (length, true, None));
                assert_eq!(long.usage().unwrap().prompt_tokens, Some(7));
            }
        }
        assert_eq!(unused(&upstreams), 1);
    }
}
