//! `GET /v1/models` and `GET /v1/models/{id}`.

use serde_json::{Value, json};
use witgate_tests::{gateway, upstream};

#[tokio::test]
async fn all_names_are_listed_in_configured_order() {
    let a = upstream().start().await;
    let more = json!({
        "routes": {"wide": {"models": ["qwen*", "meta-llama/Llama-3"], "deployments": "fast@a"}},
        "aliases": {"gpt-4": "fast"},
    });
    let gateway = gateway().model("fast", [&a]).config(more).start().await;
    for path in ["/v1/models", "/models", "/v1/models/"] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path}");
        let list = answer.json();
        assert_eq!(list["object"], "list");
        assert_eq!(ids(&list), ["fast", "meta-llama/Llama-3", "gpt-4"], "{path}");
        let first = list["data"][0].as_object().unwrap();
        assert_eq!(first.keys().collect::<Vec<_>>(), ["id", "object", "created", "owned_by"]);
        assert_eq!((&first["object"], &first["owned_by"]), (&json!("model"), &json!("witgate")));
        assert!(first["created"].as_u64().is_some_and(|since| since > 1_700_000_000));
    }
}

#[tokio::test]
async fn one_name_is_found_with_slashes_escapes_and_patterns() {
    let a = upstream().start().await;
    let more = json!({"routes": {"wide": {"models": ["meta-llama/*"], "deployments": "fast@a"}}});
    let gateway = gateway().model("fast", [&a]).config(more).start().await;
    for (path, id) in [
        ("/v1/models/fast", "fast"),
        ("/models/fast", "fast"),
        ("/v1/models/fast/", "fast"),
        ("/v1/models/meta-llama/Llama-3", "meta-llama/Llama-3"),
        ("/v1/models/meta-llama%2FLlama-3", "meta-llama/Llama-3"),
        ("/v1/models/meta-llama/models/x", "meta-llama/models/x"),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(id)), "{path}");
    }
    let answer = gateway.get("/v1/models/no/such").await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json(),
        json!({"error": {
            "message": "The model `no/such` does not exist; GET /v1/models lists those that do.",
            "type": "invalid_request_error", "param": "model", "code": "model_not_found",
        }})
    );
}

#[tokio::test]
async fn a_head_without_a_body_is_given_to_who_asks_for_it() {
    let a = upstream().start().await;
    let gateway = gateway().model("fast", [&a]).start().await;
    let whole = gateway.get("/v1/models").await;
    let head = gateway.request("HEAD", "/v1/models").send().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), whole.header("content-length"));
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}
