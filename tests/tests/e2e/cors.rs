//! Pages in browsers: which may ask, what they may read, and what is asked before.

use serde_json::json;
use witgate_tests::{CHAT, Gateway, Upstream, chat_events, gateway, upstream};

const PAGE: &str = "https://app.example";
const VARY: &str = "origin, access-control-request-method, access-control-request-headers";

#[tokio::test]
async fn without_a_word_in_the_configuration_no_page_may_read_an_answer() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    for (method, path) in [("POST", CHAT), ("GET", "/v1/models"), ("OPTIONS", CHAT)] {
        let request = gateway.request(method, path).header("origin", PAGE);
        let request = request.header("access-control-request-method", "POST");
        let answer = request.json(if method == "POST" { CHAT_BODY } else { "" }).send().await;
        let names = answer.head.names();
        assert!(!names.iter().any(|name| name.starts_with("access-control-") || *name == "vary"), "{method} {names:?}");
    }
}

#[tokio::test]
async fn a_preflight_is_told_the_methods_of_the_path_and_needs_no_key() {
    let (gateway, a) = shared(json!([PAGE, "http://localhost:3000"])).await;
    for (path, methods) in [
        (CHAT, "POST, OPTIONS"),
        ("/embeddings/", "POST, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/fast", "GET, HEAD, OPTIONS"),
        ("/admin/reload", "POST, OPTIONS"),
    ] {
        let preflight = gateway
            .request("OPTIONS", path)
            .header("origin", PAGE)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,x-stainless-lang");
        let answer = preflight.send().await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
        for (header, value) in [
            ("access-control-allow-origin", PAGE),
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", "authorization,content-type,x-stainless-lang"),
            ("access-control-max-age", "600"),
            ("vary", VARY),
            ("allow", methods),
        ] {
            assert_eq!(answer.header(header), Some(value), "{path} {header}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert!(answer.header("x-request-id").is_some());
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn a_page_may_read_answers_streams_errors_and_their_receipts() {
    let (gateway, _a) = shared(json!([PAGE])).await;
    let ask = |path: &str, body: &str| {
        gateway.post(path, body).header("origin", PAGE).header("authorization", "Bearer sk-page")
    };
    let whole = ask(CHAT, CHAT_BODY).send().await;
    let unknown = ask(CHAT, r#"{"model":"nosuch","messages":[]}"#).send().await;
    let keyless = gateway.post(CHAT, CHAT_BODY).header("origin", PAGE).send().await;
    let nowhere = ask("/nowhere", "").send().await;
    let models = gateway.request("GET", "/models").header("origin", PAGE).header("x-api-key", "sk-page").send().await;
    for (answer, status) in [(&whole, 200), (&unknown, 404), (&keyless, 401), (&nowhere, 404), (&models, 200)] {
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{status}");
        assert_eq!(answer.header("access-control-expose-headers"), Some("*"), "{status}");
        assert_eq!(answer.header("vary"), Some(VARY), "{status}");
    }
    assert_eq!(whole.deployment(), Some("fast@a"));
    let stream = ask(CHAT, &CHAT_BODY.replace('}', r#","stream":true}"#)).stream().await;
    assert_eq!(stream.head.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(stream.rest().await, chat_events("ok"));
}

#[tokio::test]
async fn another_page_may_not() {
    let (gateway, a) = shared(json!([PAGE])).await;
    for other in ["https://evil.example", "http://app.example", "https://app.example:8443", "null"] {
        let preflight = gateway.request("OPTIONS", CHAT).header("origin", other);
        let answer = preflight.header("access-control-request-method", "POST").send().await;
        let allowed = answer.head.names().iter().any(|name| name.starts_with("access-control-"));
        assert_eq!((answer.status, allowed, answer.header("vary")), (204, false, Some(VARY)), "{other}");
    }
    // who is no page is not concerned
    let answer = gateway.post(CHAT, CHAT_BODY).header("x-api-key", "sk-page").send().await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn a_star_stands_for_every_page_and_a_reload_changes_who_may() {
    let (gateway, _a) = shared(json!("*")).await;
    let origin = async || {
        let request =
            gateway.post(CHAT, CHAT_BODY).header("x-api-key", "sk-page").header("origin", "https://b.example");
        request.send().await.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(origin().await.as_deref(), Some("*"));
    gateway.folder.edit_config(json!({"server": {"cors": {"origins": [PAGE]}}}));
    witgate_tests::eventually("the new configuration is in force", async || origin().await.is_none()).await;
}

const CHAT_BODY: &str = r#"{"model":"fast","messages":[]}"#;

async fn shared(origins: serde_json::Value) -> (Gateway, Upstream) {
    let a = upstream().start().await;
    let cors = json!({"server": {"cors": {"origins": origins}}});
    (gateway().model("fast", [&a]).keys(&[("page", "sk-page")]).config(cors).start().await, a)
}
