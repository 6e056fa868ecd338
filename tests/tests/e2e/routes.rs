//! From a model's name to a route.

use serde_json::json;
use witgate_tests::{gateway, upstream};

#[tokio::test]
async fn exact_names_win_over_patterns_and_those_over_capabilities_and_the_default() {
    let a = upstream().start().await;
    let routes = json!({
        "deployments": {
            "one@a": {}, "two@a": {}, "three@a": {}, "four@a": {"capabilities": ["code_generation"]}, "five@a": {},
        },
        "routes": {
            "exact": {"models": "qwen-7b", "deployments": "one@a"},
            "narrow": {"models": "qwen-7*", "deployments": "two@a"},
            "wide": {"models": ["qwen*", "meta-llama/*"], "deployments": "three@a"},
            "able": {"capabilities": ["code_generation"], "deployments": ["four@a", "five@a"]},
            "rest": {"models": [], "deployments": "five@a", "default": true},
        },
        "aliases": {"best": "qwen-7b", "qwen-alias": "meta-llama/x"},
    });
    let gateway = gateway().model("fast", [&a]).config(routes).start().await;
    for (model, deployment) in [
        ("fast", "fast@a"),
        ("qwen-7b", "one@a"),
        ("qwen-7b-chat", "two@a"),
        ("qwen-72", "two@a"),
        ("qwen", "three@a"),
        ("meta-llama/Llama-3/8b", "three@a"),
        ("code_generation", "four@a"),
        ("anything else", "five@a"),
        ("best", "one@a"),
        ("qwen-alias", "three@a"),
    ] {
        let answer = gateway.chat(model, "hi").await;
        assert_eq!((answer.status, answer.deployment()), (200, Some(deployment)), "{model}");
    }
}

#[tokio::test]
async fn auto_leads_to_the_capability_route_with_all_its_deployments() {
    let a = upstream().start().await;
    let b = upstream().status(500).start().await;
    let routes = json!({
        "deployments": {"able@b": {"provider": "b", "capabilities": ["vision"]}},
        "routes": {"able": {"capabilities": ["auto", "vision"], "deployments": ["able@b", "fast@a"]}},
    });
    let gateway = gateway().model("fast", [&a]).model("other", [&b]).config(routes).start().await;
    // narrowed to those that declare it
    let vision = gateway.chat("vision", "hi").await;
    assert_eq!((vision.status, vision.attempts(), vision.deployment()), (502, Some("1"), Some("able@b")));
    let auto = gateway.chat("auto", "hi").await;
    assert_eq!((auto.status, auto.attempts(), auto.deployment()), (200, Some("2"), Some("fast@a")));
}

#[tokio::test]
async fn a_deployment_may_pass_on_the_client_s_own_name() {
    let a = upstream().start().await;
    let routes = json!({
        "deployments": {"any@a": {"model": "*"}},
        "routes": {"any": {"models": ["qwen*"], "deployments": "any@a"}},
        "aliases": {"mine": "qwen-7b"},
    });
    let gateway = gateway().model("fast", [&a]).config(routes).start().await;
    let body = r#"{ "model": "qwen-1.5" ,"messages":[]}"#;
    gateway.post(witgate_tests::CHAT, body).send().await;
    assert_eq!(a.last().text(), body);
    gateway.chat("mine", "hi").await;
    assert_eq!(a.last().json()["model"], "qwen-7b");
}

#[tokio::test]
async fn a_chain_filters_before_it_chooses() {
    let a = upstream().start().await;
    let b = upstream().start().await;
    let more = json!({
        "deployments": {"fast@b": {"capabilities": ["tools"]}, "fast@a": {"capabilities": ["chat"]}},
        "routes": {"fast": {"policies": ["capability", "in-order"]}},
    });
    let gateway = gateway().model("fast", [&a, &b]).config(more).start().await;
    assert_eq!(gateway.chat("fast", "hi").await.deployment(), Some("fast@a"));
    let tools = r#"{"model":"fast","messages":[],"tools":[{"type":"function","function":{"name":"f"}}]}"#;
    let answer = gateway.post(witgate_tests::CHAT, tools).send().await;
    assert_eq!(answer.deployment(), Some("fast@b"));
}
