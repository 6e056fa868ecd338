//! Requests that are not streamed: what reaches the upstream, and what comes back.

use witgate_tests::{CHAT, chat_body, gateway, upstream};

#[tokio::test]
async fn an_answer_comes_from_the_deployment_of_the_model() {
    let a = upstream().chat("hello").start().await;
    let b = upstream().chat("bye").start().await;
    let gateway = gateway().model("fast", [&a]).model("deep", [&b]).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.text(), "hello");
    assert_eq!(gateway.chat("deep", "hi").await.text(), "bye");
    assert_eq!((a.hits(), b.hits()), (1, 1));
}

#[tokio::test]
async fn two_requests_may_share_a_connection() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let body = r#"{"model":"fast","messages":[]}"#;
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let last = request.replace("host: x", "host: x\r\nconnection: close");
    let answers = gateway.raw(format!("{request}{last}").as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    assert_eq!(answers.matches(&chat_body("ok")).count(), 2, "{answers}");
}

#[tokio::test]
async fn a_body_in_chunks_is_taken() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let answer = gateway
        .raw(
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\n10\r\n{{\"model\":\"fast\",\r\n10\r\n\"messages\": [] }}\r\n0\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(a.last().text(), r#"{"model":"real-fast","messages": [] }"#);
}
