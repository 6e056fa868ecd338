//! Who is let in.

use serde_json::json;
use witgate_tests::{Answer, CHAT, Request, gateway, upstream};

const BODY: &str = r#"{"model":"fast","messages":[]}"#;

#[tokio::test]
async fn a_key_opens_by_either_header() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).keys(&[("ann", "sk-ann"), ("bob", "sk-bob")]).start().await;
    for (name, value) in
        [("authorization", "Bearer sk-ann"), ("authorization", "bearer sk-bob"), ("x-api-key", "sk-ann")]
    {
        assert_eq!(gateway.post(CHAT, BODY).header(name, value).send().await.status, 200, "{name}: {value}");
    }
}

#[tokio::test]
async fn no_key_and_a_wrong_key_are_401_in_openai_s_words() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).keys(&[("ann", "sk-ann")]).start().await;
    let missing = "You didn't provide an API key. Send it in the header `Authorization: Bearer YOUR_KEY`.";
    assert_unauthorised(&gateway.post(CHAT, BODY).send().await, missing, None);
    let basic = gateway.post(CHAT, BODY).header("authorization", "Basic c2stYW5u").send().await;
    assert_unauthorised(&basic, missing, None);
    let wrong = "Incorrect API key provided.";
    for key in ["sk-an", "sk-anna", "sk-bob"] {
        let answer = gateway.post(CHAT, BODY).header("authorization", &format!("Bearer {key}")).send().await;
        assert_unauthorised(&answer, wrong, Some("invalid_api_key"));
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn what_is_said_about_models_and_policies_needs_a_key_too() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).keys(&[("ann", "sk-ann")]).start().await;
    let with_key = |request: Request| request.header("authorization", "Bearer sk-ann").send();
    for path in ["/v1/models", "/v1/models/fast", "/admin/policies"] {
        assert_eq!(gateway.get(path).await.status, 401, "{path}");
        assert_eq!(with_key(gateway.request("GET", path)).await.status, 200, "{path}");
    }
    // probes and scrapers have none
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_bad_key_is_told_before_a_bad_body() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).keys(&[("ann", "sk-ann")]).start().await;
    assert_eq!(gateway.post(CHAT, "{").send().await.status, 401);
}

#[tokio::test]
async fn a_public_address_needs_keys_or_a_word_of_the_operator() {
    let a = upstream().start().await;
    let public = || gateway().model("fast", [&a]).config(json!({"server": {"listen": "0.0.0.0:0"}}));
    let refusal = public().try_start().await.err().expect("it would answer anybody");
    let said = "server.listen: others can reach 0.0.0.0:0, and without `auth.keys` everybody may ask";
    assert!(refusal.contains(said), "{refusal}");
    public().keys(&[("ann", "sk-ann")]).start().await.stop().await;
    public().config(json!({"server": {"allow_unauthenticated": true}})).start().await.stop().await;
}

fn assert_unauthorised(answer: &Answer, message: &str, code: Option<&str>) {
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.json(),
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}})
    );
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}
