//! Scorers: a router that reads what they say, and a warning where none does.

use serde_json::{Value, json};
use witgate_tests::{Gateway, Upstream, eventually, gateway, guests, upstream};

use crate::program::Serving;

/// By price the second candidate is the better one, by its limit of tokens the first.
fn rated(heavier: &str, router: &str) -> Value {
    let weight = |name| if name == heavier { 3 } else { 1 };
    json!([
        {"use": "rates", "settings": {"least": "usd-per-mtok-out"}, "weight": weight("price")},
        {"use": "rates", "settings": {"least": "max-output-tokens"}, "weight": weight("tokens")},
        router,
    ])
}

async fn decided(chain: Value, [a, b]: [&Upstream; 2]) -> Gateway {
    let deployments = json!({
        // so heavy that every other router prefers it
        "fast@a": {"weight": 1000, "price": {"input": 1, "output": 10}, "max_output_tokens": 100},
        "fast@b": {"price": {"input": 1, "output": 1}, "max_output_tokens": 1000},
    });
    let config = json!({"deployments": deployments, "routes": {"fast": {"policies": chain}}});
    gateway().model("fast", [a, b]).policy_file("rates", guests::RATES).config(config).start().await
}

#[tokio::test]
async fn the_weighted_mean_of_the_scorers_decides_where_the_router_reads_it() {
    let (a, b) = (upstream().start().await, upstream().start().await);
    for (heavier, router, served, reason) in [
        ("price", "best-score", "fast@b", Some("best score")),
        ("tokens", "best-score", "fast@a", Some("best score")),
        ("price", "peak-ewma", "fast@a", None),
    ] {
        let gateway = decided(rated(heavier, router), [&a, &b]).await;
        let answer = gateway.chat("fast", "hi").await;
        let told = (answer.policy(), answer.deployment(), answer.header("x-witgate-reason"));
        assert_eq!(told, (Some(router), Some(served), reason), "{heavier}");
    }
}

#[tokio::test]
async fn scores_that_nobody_reads_are_told_at_the_start_and_when_a_reload_brings_them() {
    let chain = |router| json!({"routes": {"fast": {"policies": [{"use": "rates", "settings": {"least": "in-flight"}}, router]}}});
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let folder = gateway().model_at("fast", &[nowhere]).policy_file("rates", guests::RATES);
    let folder = folder.config(chain("peak-ewma")).write();
    let gateway = Serving::start(&folder).await;
    let told = |text: &str| gateway.log().matches(text).count();
    let warning = "route `fast`, policy 1 of its chain: the scores of `rates` change nothing";
    assert_eq!(told(warning), 1, "{}", gateway.log());

    for (router, reloads, warnings) in [("best-score", 1, 1), ("in-order", 2, 2)] {
        folder.edit_config(chain(router));
        eventually("it is reloaded", async || told("configuration reloaded") == reloads).await;
        assert_eq!(told(warning), warnings, "{}", gateway.log());
    }
}
