//! What an attempt says when there is no answer.

use witgate_core::openai::UpstreamError;

use super::server::{Server, json, pause};
use super::*;

#[tokio::test]
async fn an_error_answer_is_told_with_its_wait_and_its_limits() {
    let body = r#"{"error":{"message":"Slow down.","type":"rate_limit_error","param":null,"code":"rate_limit"}}"#;
    let headers = "\r\nretry-after: 7\r\nx-ratelimit-remaining-requests: 0\r\n";
    let answer = json("429 Too Many Requests", body).replacen("\r\n", headers, 1);
    let server = Server::answering(answer).await;
    let failure = chat().failure(&upstreams(&provider(server.address))).await;
    let limits = [(http::HeaderName::from_static("x-ratelimit-remaining-requests"), "0".parse().unwrap())];
    let wanted = AttemptFailure {
        kind: FailureKind::RateLimited,
        status: 429,
        retry_after: Some(Duration::from_secs(7)),
        message: "Slow down.".to_owned(),
        body: None,
        headers: Some(Box::new(limits.into_iter().collect())),
    };
    assert_eq!(failure, wanted);
    assert_eq!(failure.to_string(), "Slow down.");
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_kept_as_it_came_up_to_a_size() {
    const LARGEST: usize = 64 << 10;
    let of_length = |length: usize| {
        let empty = r#"{"error":{"message":""} }"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(length - empty.len())))
    };
    for (length, as_it_came) in [(LARGEST, true), (LARGEST + 1, false)] {
        let body = of_length(length);
        let server = Server::answering(json("400 Bad Request", &body)).await;
        let failure = chat().failure(&upstreams(&provider(server.address))).await;
        assert_eq!(failure.kind, FailureKind::BadRequest);
        let told = failure.body.unwrap();
        assert_eq!(told == body, as_it_came);
        assert!(UpstreamError::is_envelope(&told));
    }
}

#[tokio::test]
async fn an_empty_error_answer_is_told_by_its_status() {
    let server = Server::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    let failure = chat().failure(&upstreams(&provider(server.address))).await;
    assert_eq!((failure.kind, failure.status), (FailureKind::Overloaded, 503));
    assert_eq!((&*failure.message, failure.body), ("status 503 and nothing more", None));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer = "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://elsewhere/v1\r\ncontent-length: 0\r\n\r\n";
    let server = Server::answering(answer).await;
    let message = "it redirects to https://elsewhere/v1; set the provider's `base_url` to where it really is";
    let upstreams = upstreams(&provider(server.address));
    assert_eq!(chat().told(&upstreams).await, told(FailureKind::Malformed, 308, message));
}

#[tokio::test]
async fn no_connection_says_to_where_and_why() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let message = format!("cannot connect to http://{address}/: tcp connect error: Connection refused (os error 111)");
    assert_eq!(chat().told(&upstreams(&provider(address))).await, told(FailureKind::Connect, 0, &message));
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = Server::start(|mut peer| async move {
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.wait_for_close().await;
    })
    .await;
    let mut configured = provider(server.address);
    configured.base_url = format!("https://{}/v1", server.address);
    let failure = chat().failure(&upstreams(&configured)).await;
    assert_eq!(failure.kind, FailureKind::Connect);
}

#[tokio::test]
async fn a_connection_has_its_own_timeout() {
    // A full backlog: the kernel drops what comes, and the client waits.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(50), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream);
    }
    let mut configured = provider(address);
    configured.connect_timeout = Duration::from_millis(100);
    let message = format!("cannot connect to http://{address}/: no connection within 100ms");
    assert_eq!(chat().told(&upstreams(&configured)).await, told(FailureKind::ConnectTimeout, 0, &message));
}

#[tokio::test]
async fn silence_before_the_first_byte_ends_at_its_timeout() {
    let server = Server::start(|mut peer| async move { peer.wait_for_close().await }).await;
    let upstreams = upstreams(&provider(server.address));
    let mut request = chat();
    request.first_byte_timeout = Some(Duration::from_millis(50));
    let wanted = told(FailureKind::FirstByteTimeout, 0, "no answer began within 50ms");
    assert_eq!(request.told(&upstreams).await, wanted);

    request.time = Duration::from_millis(30);
    let wanted = told(FailureKind::Deadline, 0, "the time for this request is over");
    assert_eq!(request.told(&upstreams).await, wanted);
}

#[tokio::test]
async fn a_fresh_connection_that_breaks_is_a_reset() {
    let server = Server::start(|mut peer| async move {
        peer.request().await.unwrap();
        peer.reset();
    })
    .await;
    let (kind, status, message) = chat().told(&upstreams(&provider(server.address))).await;
    assert_eq!((kind, status), (FailureKind::Reset, 0));
    assert_eq!(
        message,
        "the connection broke before the answer began: connection error: Connection reset by peer (os error 104)"
    );
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    let server = Server::answering("220 mail.example.org ESMTP\r\n").await;
    let (kind, _, message) = chat().told(&upstreams(&provider(server.address))).await;
    assert_eq!((kind, &*message), (FailureKind::Malformed, "the answer is not HTTP: invalid HTTP version parsed"));
}

#[tokio::test]
async fn a_short_answer_that_breaks_off_can_still_be_replaced() {
    let whole = json("200 OK", r#"{"choices":[]}"#);
    let cut = whole[..whole.len() - 3].to_owned();
    let server = Server::start(move |mut peer| {
        let cut = cut.clone();
        async move {
            peer.request().await.unwrap();
            peer.send(&cut).await;
        }
    })
    .await;
    let (kind, status, message) = chat().told(&upstreams(&provider(server.address))).await;
    assert_eq!((kind, status), (FailureKind::Cut, 200));
    assert_eq!(
        message,
        "the answer broke off: error reading a body from connection: end of file before message length reached"
    );
}

#[tokio::test]
async fn an_answer_that_stops_stalls() {
    let whole = json("200 OK", r#"{"choices":[]}"#);
    let server = Server::start(move |mut peer| {
        let whole = whole.clone();
        async move {
            peer.request().await.unwrap();
            let (begin, end) = whole.split_at(whole.len() - 5);
            peer.send(begin).await;
            pause(60).await;
            peer.send(&end[..2]).await;
            peer.wait_for_close().await;
        }
    })
    .await;
    let mut configured = provider(server.address);
    configured.idle_timeout = Duration::from_millis(100);
    let started = Instant::now();
    let wanted = told(FailureKind::Stalled, 200, "the answer stalled: nothing came for 100ms");
    assert_eq!(chat().told(&upstreams(&configured)).await, wanted);
    assert!(started.elapsed() >= Duration::from_millis(160), "the second piece set the clock back");

    let mut request = chat();
    request.time = Duration::from_millis(50);
    let wanted = told(FailureKind::Deadline, 200, "the time for this request is over");
    assert_eq!(request.told(&upstreams(&configured)).await, wanted);
}

#[tokio::test]
async fn an_answer_that_is_no_json_object_is_malformed() {
    for (body, message) in [
        ("<html>Sign in</html>", "the answer is not a JSON object: <html>Sign in</html>"),
        (r#"["x"]"#, "the answer is not a JSON object: x"),
        (r#"{"choices":["#, r#"the answer is not a JSON object: {"choices":["#),
        ("", "the answer is empty"),
    ] {
        let server = Server::answering(json("200 OK", body)).await;
        let upstreams = upstreams(&provider(server.address));
        assert_eq!(chat().told(&upstreams).await, told(FailureKind::Malformed, 200, message));
    }
}

#[tokio::test]
async fn an_error_inside_a_200_is_an_error() {
    let server = Server::answering(json("200 OK", r#" { "error" : {"message":"No GPU."}}"#)).await;
    let upstreams_ = upstreams(&provider(server.address));
    assert_eq!(chat().told(&upstreams_).await, told(FailureKind::ErrorInStream, 200, "No GPU."));
    // but a null one is none
    let server = Server::answering(json("200 OK", r#"{"error":null,"choices":[]}"#)).await;
    chat().whole(&upstreams(&provider(server.address))).await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_prepared_fails_every_attempt() {
    let mut configured = provider("127.0.0.1:1".parse().unwrap());
    configured.headers = vec![("a b".to_owned(), Secret::new(""))];
    let message = "provider `test` cannot be used: `a b` is not the name of a header";
    assert_eq!(chat().told(&upstreams(&configured)).await, told(FailureKind::Connect, 0, message));
    configured.headers = vec![("a".to_owned(), Secret::new("\n"))];
    let message = "provider `test` cannot be used: the value of `a` holds a character that a header cannot";
    assert_eq!(chat().told(&upstreams(&configured)).await, told(FailureKind::Connect, 0, message));
    configured.base_url = "ftp://x/v1".to_owned();
    configured.headers.clear();
    let message = "provider `test` cannot be used: `ftp://x/v1` is not an http or https URL with a host";
    assert_eq!(chat().told(&upstreams(&configured)).await, told(FailureKind::Connect, 0, message));
    configured.base_url = "http://".to_owned();
    let message = "provider `test` cannot be used: `base_url` is no URL: empty string";
    assert_eq!(chat().told(&upstreams(&configured)).await, told(FailureKind::Connect, 0, message));
}
