//! Paths that the gateway has no endpoint for, passed through to the provider that the configuration names.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::redis::free_address;
use witgate_tests::{Gateway, Upstream, eventually, gateway, upstream};

async fn passing(providers: &[(&str, &Upstream)], passthrough: Value) -> Gateway {
    let model = upstream().start().await;
    let mut builder = gateway().model("fast", [&model]).keys(&[("alice", "sk-alice")]);
    for (name, upstream) in providers {
        let base_url = format!("http://{}/base/v1", upstream.address());
        builder = builder.config(json!({"providers": {*name: {"dialect": "openai", "base_url": base_url, "api_keys": ["sk-one", "sk-two"], "probe": {"enabled": false}, "facts": {"enabled": false}}}}));
    }
    builder.config(json!({"passthrough": passthrough})).start().await
}

#[tokio::test]
async fn a_request_goes_through_as_it_is_with_the_provider_s_key() {
    let far = upstream()
        .status(201)
        .header("x-custom", "kept")
        .header("set-cookie", "dropped=1")
        .header("access-control-allow-origin", "")
        .body("{\"id\":\"file-1\"}")
        .start()
        .await;
    let gateway = passing(&[("far", &far)], json!({"provider": "far"})).await;
    let answer = gateway
        .request("POST", "/v1/files?purpose=batch&x=%20")
        .header("authorization", "Bearer sk-alice")
        .header("content-type", "multipart/form-data; boundary=B")
        .header("accept-encoding", "gzip")
        .header("x-stainless-lang", "python")
        .header("openai-organization", "org-alice")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .body("any bytes \u{1}")
        .send()
        .await;
    assert_eq!((answer.status, answer.body_text()), (201, "{\"id\":\"file-1\"}"));
    assert_eq!((answer.header("x-custom"), answer.header("x-witgate-provider")), (Some("kept"), Some("far")));
    assert_eq!((answer.header("set-cookie"), answer.header("access-control-allow-origin")), (None, None));
    assert!(answer.header("x-request-id").is_some());
    let received = far.last();
    assert_eq!(received.head.start, "POST /base/v1/files?purpose=batch&x=%20 HTTP/1.1");
    assert_eq!(received.text(), "any bytes \u{1}");
    let sent = |name| received.head.header(name);
    assert_eq!(sent("authorization"), Some("Bearer sk-one"));
    assert_eq!(sent("content-type"), Some("multipart/form-data; boundary=B"));
    assert_eq!((sent("accept-encoding"), sent("x-stainless-lang")), (Some("gzip"), Some("python")));
    assert_eq!((sent("openai-organization"), sent("x-hop"), sent("host").is_some()), (None, None, true));
    let served = r#"witgate_requests_total{endpoint="passthrough",outcome="served",route=""}"#;
    assert_eq!(gateway.metric(served).await, 1.0);
}

#[tokio::test]
async fn every_method_goes_through_and_the_longest_beginning_says_where() {
    let [far, near] =
        [upstream().body("far"), upstream().body("near")].map(|reply| reply.header("content-type", "text/plain"));
    let (far, near) = (far.start().await, near.start().await);
    let gateway =
        passing(&[("far", &far), ("near", &near)], json!({"provider": "far", "paths": {"/v1/files": "near"}})).await;
    let ask = async |method: &str, path: &str| {
        gateway.request(method, path).header("authorization", "Bearer sk-alice").send().await
    };
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(ask(method, "/v1/batches/b-1").await.body_text(), "far", "{method}");
        assert_eq!(ask(method, "/v1/files/f-1/content").await.body_text(), "near", "{method}");
        assert!(far.last().head.start.starts_with(method) && near.last().head.start.starts_with(method));
    }
    let head = ask("HEAD", "/v1/files").await;
    assert_eq!((head.status, head.header("content-length"), &head.body[..]), (200, Some("4"), &b""[..]));
    assert_eq!(far.last().head.header("content-type"), None);
    // a provider's own error is the provider's to tell
    far.becomes(upstream().status(404).body("{\"error\":{\"message\":\"No such batch\"}}"));
    let answer = ask("GET", "/v1/batches/none").await;
    assert_eq!((answer.status, answer.body_text()), (404, "{\"error\":{\"message\":\"No such batch\"}}"));
}

#[tokio::test]
async fn without_the_configuration_or_a_key_nothing_goes_through() {
    let far = upstream().start().await;
    let gateway = passing(&[("far", &far)], json!({"paths": {"/v1/files": "far"}})).await;
    let with_key = async |method: &str, path: &str| {
        gateway.request(method, path).header("authorization", "Bearer sk-alice").send().await
    };
    assert_eq!(gateway.get("/v1/files").await.status, 401);
    for path in ["/v1/batches", "/v1/filesystem", "/files", "/v1/files/../batches", "/v1/files/%2e%2e/x", "/v2/files"] {
        let answer = with_key("GET", path).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (404, json!("unknown_url")), "{path}");
    }
    assert_eq!(far.hits(), 0);
    let preflight = gateway.request("OPTIONS", "/v1/files").send().await;
    assert_eq!(
        (preflight.status, preflight.header("allow")),
        (204, Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    );
    assert_eq!((with_key("GET", "/v1/files").await.status, far.hits()), (200, 1));
}

#[tokio::test]
async fn what_comes_back_goes_by_as_it_comes_and_a_client_that_leaves_ends_it() {
    let far = upstream().events(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]).by_permit().start().await;
    let gateway = passing(&[("far", &far)], json!({"provider": "far"})).await;
    let ask = gateway.request("GET", "/v1/threads/t/runs").header("authorization", "Bearer sk-alice");
    let (mut stream, ()) = tokio::join!(ask.stream(), async { far.let_go(1) });
    assert_eq!(stream.event().await, "data: 1\n\n");
    far.let_go(1);
    assert_eq!(stream.event().await, "data: 2\n\n");
    drop(stream);
    eventually("the provider is told", async || far.abandoned() == 1).await;
    let cancelled = r#"witgate_requests_total{endpoint="passthrough",outcome="cancelled",route=""}"#;
    eventually("it is counted", async || gateway.metric(cancelled).await == 1.0).await;
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_told_without_its_address() {
    let refused = free_address();
    let gateway = gateway()
        .model_at("fast", &[refused])
        .config(json!({"passthrough": {"provider": "a"}, "providers": {"a": {"first_byte_timeout": "200ms"}}}))
        .start()
        .await;
    let answer = gateway.get("/v1/files").await;
    let told = "The provider `a` did not answer: No connection: refused, unreachable, name not found, TLS.";
    assert_eq!((answer.status, answer.error_message()), (502, told.to_owned()));
    let silent = upstream().silent().start().await;
    let gateway = witgate_tests::gateway()
        .model("fast", [&silent])
        .config(json!({"passthrough": {"provider": "a"}, "providers": {"a": {"first_byte_timeout": "200ms"}}}))
        .start()
        .await;
    let answer = gateway.get("/v1/files").await;
    let told = "The provider `a` did not answer: no answer began within 200ms";
    assert_eq!((answer.status, answer.error_message()), (504, told.to_owned()));
    eventually("the provider is let go", async || silent.open_connections() == 0).await;
}

#[tokio::test]
async fn what_is_passed_through_is_admitted_like_everything_else() {
    let far = upstream().delay(Duration::from_millis(300)).start().await;
    let gateway = gateway()
        .model("fast", [&far])
        .config(json!({"passthrough": {"provider": "a"}, "server": {"max_in_flight": 1, "queue": {"length": 0}, "upload_limit": 1024}}))
        .start()
        .await;
    let first = gateway.request("GET", "/v1/files").begin().await;
    eventually("the first one runs", async || far.hits() == 1).await;
    assert_eq!(gateway.get("/v1/files").await.json()["error"]["code"], "overloaded");
    assert_eq!(first.answer().await.status, 200);
    let large = gateway.request("POST", "/v1/files").body("x".repeat(1025)).send().await;
    let told = "The request body is larger than 1024 bytes, the limit of this gateway (`server.upload_limit`).";
    assert_eq!((large.status, large.error_message()), (413, told.to_owned()));
    assert_eq!(gateway.request("POST", "/v1/files").body("x".repeat(1024)).send().await.status, 200);
}
