//! Points 16, 17, 19 and 21: connections, times, paths.

use std::time::Duration;

use serde_json::json;
use witgate_tests::{CHAT, DONE, chat_body, eventually, gateway, upstream};

use super::{ASK, FIRST, LAST};

#[tokio::test]
async fn wire_16_a_client_that_hangs_up_cancels_the_upstream() {
    let a = upstream().silent().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let begun = gateway.post(CHAT, r#"{"model":"fast","messages":[]}"#).begin().await;
    eventually("the upstream is asked", async || a.hits() == 1).await;
    drop(begun);
    eventually("the upstream is let go", async || a.open_connections() == 0).await;
    assert_eq!(a.abandoned(), 1);
    let series = r#"witgate_attempts_total{deployment="fast@a",outcome="cancelled"}"#;
    eventually("it is counted", async || gateway.metric(series).await == 1.0).await;
}

#[tokio::test]
async fn wire_16_a_client_that_leaves_a_stream_cancels_the_upstream_and_is_no_failure() {
    let a = upstream().events([FIRST]).stall().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let mut stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.event().await, FIRST);
    drop(stream);
    eventually("the upstream is let go", async || a.open_connections() == 0).await;
    let series = r#"witgate_attempts_total{deployment="fast@a",outcome="cancelled"}"#;
    eventually("it is counted", async || gateway.metric(series).await == 1.0).await;
    let in_flight = r#"witgate_in_flight{deployment="fast@a"}"#;
    assert_eq!(gateway.metric(in_flight).await, 0.0);
}

#[tokio::test]
async fn wire_17_a_stream_that_only_says_that_it_is_alive_does_not_stall() {
    let events = [FIRST, ": 1\n", ": 2\n", ": 3\n", ": 4\n", ": 5\n", LAST, DONE];
    let a = upstream().events(events).by_permit().start().await;
    let patience = json!({"providers": {"a": {"idle_timeout": "600ms"}}});
    let gateway = gateway().model("fast", [&a]).config(patience).start().await;
    a.let_go(1);
    let mut stream = gateway.stream("fast", "hi").await;
    assert_eq!(stream.event().await, FIRST);
    for _ in 1..6 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        a.let_go(1);
    }
    a.let_go(2);
    assert_eq!(stream.rest().await.concat(), events[1..].concat());
}

#[tokio::test]
async fn wire_19_every_endpoint_is_there_with_and_without_v1_and_with_a_trailing_slash() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let requests = [
        ("/chat/completions", r#"{"model":"fast","messages":[]}"#),
        ("/completions", r#"{"model":"fast","prompt":"hi"}"#),
        ("/embeddings", r#"{"model":"fast","input":"hi"}"#),
    ];
    for (path, body) in requests {
        for asked in [format!("/v1{path}"), path.to_owned(), format!("/v1{path}/"), format!("{path}/")] {
            let answer = gateway.post(&asked, body).send().await;
            assert_eq!((answer.status, answer.body_text()), (200, chat_body("ok").as_str()), "{asked}");
            assert_eq!(a.last().head.start, format!("POST /v1{path} HTTP/1.1"), "{asked}");
        }
    }
}

#[tokio::test]
async fn wire_21_a_connection_to_the_upstream_is_used_again() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for _ in 0..5 {
        assert_eq!(gateway.chat("fast", "hi").await.text(), "ok");
    }
    assert_eq!((a.hits(), a.connections()), (5, 1));
}

#[tokio::test]
async fn wire_21_a_connection_that_the_upstream_closed_meanwhile_fails_no_request() {
    // closes after each answer without having said so
    let a = upstream().content_length(chat_body("ok").len()).start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for _ in 0..20 {
        let answer = gateway.chat("fast", "hi").await;
        assert_eq!((answer.status, answer.attempts()), (200, Some("1")));
    }
    assert_eq!(a.hits(), 20);
}

#[tokio::test]
async fn wire_21_a_client_may_speak_http_2() {
    use http_body_util::{BodyExt as _, Full};
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(socket),
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::post(format!("http://{}{CHAT}", gateway.address()))
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from_static(ASK.as_bytes())))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        assert_eq!(answer.headers()["x-witgate-deployment"], "fast@a");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), chat_body("ok"));
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn wire_19_models_health_head_and_options_are_there() {
    let a = upstream().start().await;
    let gateway = gateway().model("team/fast", [&a]).start().await;
    for base in ["", "/v1"] {
        for path in ["/models", "/models/", "/models/team/fast", "/models/team%2Ffast"] {
            let path = format!("{base}{path}");
            assert_eq!(gateway.get(&path).await.status, 200, "{path}");
            assert_eq!(gateway.request("HEAD", &path).send().await.status, 200, "{path}");
            assert_eq!(
                gateway.request("OPTIONS", &path).send().await.header("allow"),
                Some("GET, HEAD, OPTIONS"),
                "{path}"
            );
        }
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
    let options = gateway.request("OPTIONS", CHAT).send().await;
    assert_eq!((options.status, options.header("allow")), (204, Some("POST, OPTIONS")));
}

#[tokio::test]
async fn wire_21_what_may_have_been_carried_out_is_not_sent_again_where_the_route_says_so() {
    let a = upstream().reset().start().await;
    let b = upstream().start().await;
    let once = json!({"routes": {"once": {"idempotent": false}}});
    let gateway = gateway().model("fast", [&a, &b]).model("once", [&a, &b]).config(once).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.deployment(), Some("fast@b"));
    let answer = gateway.chat("once", "hi").await;
    assert_eq!((answer.status, b.hits()), (502, 1));
}
