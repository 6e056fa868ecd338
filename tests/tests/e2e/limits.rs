//! Limits and grants of the configuration: they hold, and a reload changes them live.

use serde_json::{Value, json};
use witgate_tests::gateway::Builder;
use witgate_tests::{CHAT, Gateway, Upstream, eventually, gateway, guests, upstream};

const PROVOKED: &str = r#"{"model":"wild","messages":[],"max_tokens":666}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_raised_and_lowered_while_the_gateway_serves() {
    let a = upstream().start().await;
    // some 10 to 100 ms
    let gateway = wild(&a, json!({"how": "slow", "on_max_tokens": 666, "count": 40_000_000})).start().await;
    let decides = async || gateway.post(CHAT, PROVOKED).send().await.policy() == Some("misbehave");
    assert!(!decides().await, "5 ms are not enough");
    rules(&gateway, json!({"deadline": "10s"})).await;
    assert!(decides().await);
    rules(&gateway, json!({"deadline": "2ms"})).await;
    assert!(!decides().await);
    assert_eq!(gateway.post(CHAT, PROVOKED).send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_instances_calls_and_isolation_reload_live() {
    let a = upstream().start().await;
    let gateway = wild(&a, json!({"how": "slow"})).start().await;
    let instance = async || gateway.policy_status("misbehave").await["instances"][0].clone();
    let ask = async |times: usize| {
        for _ in 0..times {
            assert_eq!(gateway.chat("wild", "hi").await.policy(), Some("misbehave"));
        }
    };
    ask(4).await;
    assert_eq!(instance().await["retired"], 0);
    // `configure` is a call too, so of four calls the last one is one too many
    rules(&gateway, json!({"instances": 1, "calls": 5})).await;
    ask(3).await;
    assert_eq!((instance().await["retired"].clone(), instance().await["live"].clone()), (json!(0), json!(1)));
    ask(1).await;
    assert_eq!(instance().await["retired"], 1);
    rules(&gateway, json!({"calls": 1_000_000, "isolation": "fresh"})).await;
    ask(4).await;
    assert_eq!(instance().await["retired"], 4);
    rules(&gateway, json!({"isolation": "reuse"})).await;
    ask(4).await;
    assert_eq!(instance().await["retired"], 0);
    // a limit that the policy cannot live with is refused, and the one before holds
    gateway.folder.edit_config(json!({"policies": {"rules": {"misbehave": {"memory": "64KiB"}}}}));
    eventually("it is told", async || {
        gateway.problems().await.iter().any(|problem| problem.contains("it could not be configured: it trapped: "))
    })
    .await;
    ask(1).await;
}

#[tokio::test]
async fn a_grant_that_is_taken_away_is_refused_for_a_policy_that_needs_it() {
    let a = upstream().start().await;
    let grants = |grants: Value| json!({"policies": {"rules": {"peek-prompt": {"grants": grants}}}});
    let gateway = gateway()
        .model("fast", [&a])
        .policy("peek-prompt")
        .policy_file("peek-prompt", guests::PEEK_PROMPT)
        .config(grants(json!(["headers", "prompt"])))
        .start()
        .await;
    gateway.folder.edit_config(grants(json!(["headers"])));
    let told = "it imports `prompt`, so it reads prompts, which the configuration does not grant; to allow it, add `prompt` \
                to `policies.rules.peek-prompt.grants`";
    eventually(told, async || gateway.problems().await.iter().any(|problem| problem.ends_with(told))).await;
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    // both ways out for a prompt at once must be meant
    gateway.folder.edit_config(grants(json!(["headers", "prompt", "fleet-cells"])));
    let told = "with `prompt` and `fleet-cells` the policy could carry what it reads to other gateways";
    eventually(told, async || gateway.problems().await.iter().any(|problem| problem.contains(told))).await;
    let meant = json!({"policies": {"rules": {"peek-prompt": {"allow_covert_channel": true}}}});
    gateway.folder.edit_config(meant);
    eventually("it is in service", async || gateway.problems().await.is_empty()).await;
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
}

fn wild(a: &Upstream, settings: Value) -> Builder {
    gateway().model("wild", [a]).policy_file("misbehave", guests::MISBEHAVE).config(json!({
        "routes": {"wild": {"policies": [{"use": "misbehave", "settings": settings}]}},
        "server": {"workers": 2},
    }))
}

/// Puts other rules into force.
async fn rules(gateway: &Gateway, rules: Value) {
    let generation = gateway.generation().await;
    gateway.folder.edit_config(json!({"policies": {"rules": {"misbehave": rules}}}));
    eventually("the rules are in force", async || gateway.generation().await > generation).await;
}
