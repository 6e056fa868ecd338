//! Settings are accepted up to their bounds and refused beyond them, with a message that says which.

use serde_json::{Value, json};

use crate::world::{World, deployment};

#[test]
fn the_bounds_of_settings_are_accepted() {
    let accepted = [
        ("best-score", json!({"tolerance": 0})),
        ("best-score", json!({"tolerance": 1})),
        ("capability", json!({"require": ["eu"], "strict": true, "margin": 0.9})),
        ("capability", json!({"require": [], "strict": false, "margin": 0})),
        ("cheapest", json!({"output_tokens": 0, "unpriced": "last"})),
        ("cheapest", json!({"output_tokens": 1_000_000, "unpriced": "free"})),
        ("fallback-chain", json!({"order": ["m@a"], "longest_wait_ms": 60_000})),
        ("fallback-chain", json!({"order": [], "longest_wait_ms": 0})),
        ("health", json!({"panic_share": 0})),
        ("health", json!({"panic_share": 1})),
        ("hedge", json!({"quantile": 0.5, "shortest_delay_ms": 10, "min_samples": 10})),
        ("hedge", json!({"quantile": 0.999, "shortest_delay_ms": 60_000, "min_samples": 10_000})),
        ("in-order", json!({"attempts": 1})),
        ("in-order", json!({"attempts": 8})),
        ("latency", json!({"metric": "latency-p99-ms", "tolerance": 10})),
        ("latency", json!({"tolerance": 0})),
        ("least-loaded", json!({"measure": "requests"})),
        ("peak-ewma", json!({"compare": "all"})),
        ("resilient", json!({"order": ["m@a"], "content_policy": ["m@b"], "longest_wait_ms": 60_000, "same_again": 3})),
        ("resilient", json!({"order": [], "content_policy": [], "longest_wait_ms": 0, "same_again": 0})),
        ("usage-based", json!({"output_tokens": 0})),
        ("usage-based", json!({"output_tokens": 1_000_000})),
    ];
    for (policy, settings) in accepted {
        assert_eq!(problem(policy, settings.clone()), None, "{policy}: {settings}");
    }
}

#[test]
fn beyond_them_settings_are_refused() {
    let refused = [
        (
            "best-score",
            json!({"tolerance": 1.1}),
            r#"`settings.tolerance`: 1.1 is greater than the maximum of 1 (allowed: {"type":"number","minimum":0,"maximum":1,"default":0})"#,
        ),
        (
            "best-score",
            json!({"tolerance": -0.1}),
            r#"`settings.tolerance`: -0.1 is less than the minimum of 0 (allowed: {"type":"number","minimum":0,"maximum":1,"default":0})"#,
        ),
        (
            "capability",
            json!({"require": [""]}),
            r#"`settings.require[0]`: "" is shorter than 1 character (allowed: {"type":"string","minLength":1})"#,
        ),
        (
            "capability",
            json!({"require": ["eu", "eu"]}),
            r#"`settings.require`: ["eu","eu"] has non-unique elements (allowed: {"type":"array","items":{"type":"string","minLength":1},"uniqueItems":true,"default":[]})"#,
        ),
        (
            "capability",
            json!({"strict": "yes"}),
            r#"`settings.strict`: "yes" is not of type "boolean" (allowed: {"type":"boolean","default":false})"#,
        ),
        (
            "capability",
            json!({"margin": 0.91}),
            r#"`settings.margin`: 0.91 is greater than the maximum of 0.9 (allowed: {"type":"number","minimum":0,"maximum":0.9,"default":0.1})"#,
        ),
        (
            "capability",
            json!({"margin": -0.1}),
            r#"`settings.margin`: -0.1 is less than the minimum of 0 (allowed: {"type":"number","minimum":0,"maximum":0.9,"default":0.1})"#,
        ),
        (
            "cheapest",
            json!({"output_tokens": -1}),
            r#"`settings.output_tokens`: -1 is less than the minimum of 0 (allowed: {"type":"integer","minimum":0,"maximum":1000000,"default":256})"#,
        ),
        (
            "cheapest",
            json!({"output_tokens": 1_000_001}),
            r#"`settings.output_tokens`: 1000001 is greater than the maximum of 1000000 (allowed: {"type":"integer","minimum":0,"maximum":1000000,"default":256})"#,
        ),
        (
            "cheapest",
            json!({"unpriced": "first"}),
            r#"`settings.unpriced`: "first" is not one of "free" or "last" (allowed: {"enum":["free","last"],"default":"free"})"#,
        ),
        (
            "fallback-chain",
            json!({"longest_wait_ms": 60_001}),
            r#"`settings.longest_wait_ms`: 60001 is greater than the maximum of 60000 (allowed: {"type":"integer","minimum":0,"maximum":60000,"default":2000})"#,
        ),
        (
            "fallback-chain",
            json!({"longest_wait_ms": -1}),
            r#"`settings.longest_wait_ms`: -1 is less than the minimum of 0 (allowed: {"type":"integer","minimum":0,"maximum":60000,"default":2000})"#,
        ),
        (
            "health",
            json!({"panic_share": 1.1}),
            r#"`settings.panic_share`: 1.1 is greater than the maximum of 1 (allowed: {"type":"number","minimum":0,"maximum":1,"default":0})"#,
        ),
        (
            "health",
            json!({"panic_share": -0.1}),
            r#"`settings.panic_share`: -0.1 is less than the minimum of 0 (allowed: {"type":"number","minimum":0,"maximum":1,"default":0})"#,
        ),
        (
            "hedge",
            json!({"quantile": 0.49}),
            r#"`settings.quantile`: 0.49 is less than the minimum of 0.5 (allowed: {"type":"number","minimum":0.5,"maximum":0.999,"default":0.98})"#,
        ),
        (
            "hedge",
            json!({"quantile": 1}),
            r#"`settings.quantile`: 1 is greater than the maximum of 0.999 (allowed: {"type":"number","minimum":0.5,"maximum":0.999,"default":0.98})"#,
        ),
        (
            "hedge",
            json!({"shortest_delay_ms": 9}),
            r#"`settings.shortest_delay_ms`: 9 is less than the minimum of 10 (allowed: {"type":"integer","minimum":10,"maximum":60000,"default":500})"#,
        ),
        (
            "hedge",
            json!({"shortest_delay_ms": 60_001}),
            r#"`settings.shortest_delay_ms`: 60001 is greater than the maximum of 60000 (allowed: {"type":"integer","minimum":10,"maximum":60000,"default":500})"#,
        ),
        (
            "hedge",
            json!({"min_samples": 9}),
            r#"`settings.min_samples`: 9 is less than the minimum of 10 (allowed: {"type":"integer","minimum":10,"maximum":10000,"default":100})"#,
        ),
        (
            "hedge",
            json!({"min_samples": 10_001}),
            r#"`settings.min_samples`: 10001 is greater than the maximum of 10000 (allowed: {"type":"integer","minimum":10,"maximum":10000,"default":100})"#,
        ),
        (
            "in-order",
            json!({"attempts": 0}),
            r#"`settings.attempts`: 0 is less than the minimum of 1 (allowed: {"type":"integer","minimum":1,"maximum":8,"default":4})"#,
        ),
        (
            "in-order",
            json!({"attempts": 9}),
            r#"`settings.attempts`: 9 is greater than the maximum of 8 (allowed: {"type":"integer","minimum":1,"maximum":8,"default":4})"#,
        ),
        (
            "latency",
            json!({"metric": "ttft"}),
            r#"`settings.metric`: "ttft" is not one of "ttft-ewma-ms", "ttft-peak-ewma-ms" or 7 other candidates (allowed: {"enum":["ttft-ewma-ms","ttft-peak-ewma-ms","ttft-p50-ms","ttft-p90-ms","ttft-p99-ms","latency-ewma-ms","latency-p50-ms","latency-p90-ms","latency-p99-ms"],"default":"ttft-p90-ms"})"#,
        ),
        (
            "latency",
            json!({"tolerance": 10.1}),
            r#"`settings.tolerance`: 10.1 is greater than the maximum of 10 (allowed: {"type":"number","minimum":0,"maximum":10,"default":0.1})"#,
        ),
        (
            "latency",
            json!({"tolerance": -0.1}),
            r#"`settings.tolerance`: -0.1 is less than the minimum of 0 (allowed: {"type":"number","minimum":0,"maximum":10,"default":0.1})"#,
        ),
        (
            "least-loaded",
            json!({"measure": "bytes"}),
            r#"`settings.measure`: "bytes" is not one of "tokens" or "requests" (allowed: {"enum":["tokens","requests"],"default":"tokens"})"#,
        ),
        (
            "peak-ewma",
            json!({"compare": "three"}),
            r#"`settings.compare`: "three" is not one of "two" or "all" (allowed: {"enum":["two","all"],"default":"two"})"#,
        ),
        (
            "resilient",
            json!({"same_again": 4}),
            r#"`settings.same_again`: 4 is greater than the maximum of 3 (allowed: {"type":"integer","minimum":0,"maximum":3,"default":1})"#,
        ),
        (
            "resilient",
            json!({"same_again": -1}),
            r#"`settings.same_again`: -1 is less than the minimum of 0 (allowed: {"type":"integer","minimum":0,"maximum":3,"default":1})"#,
        ),
        (
            "resilient",
            json!({"longest_wait_ms": 60_001}),
            r#"`settings.longest_wait_ms`: 60001 is greater than the maximum of 60000 (allowed: {"type":"integer","minimum":0,"maximum":60000,"default":2000})"#,
        ),
        (
            "resilient",
            json!({"content_policy": ["a", "a"]}),
            r#"`settings.content_policy`: ["a","a"] has non-unique elements (allowed: {"type":"array","items":{"type":"string","minLength":1},"uniqueItems":true,"default":[]})"#,
        ),
        ("round-robin", json!({"weights": [1, 2]}), "`settings.weights`: there is no such setting"),
        (
            "usage-based",
            json!({"output_tokens": -1}),
            r#"`settings.output_tokens`: -1 is less than the minimum of 0 (allowed: {"type":"integer","minimum":0,"maximum":1000000,"default":256})"#,
        ),
        (
            "usage-based",
            json!({"output_tokens": 1_000_001}),
            r#"`settings.output_tokens`: 1000001 is greater than the maximum of 1000000 (allowed: {"type":"integer","minimum":0,"maximum":1000000,"default":256})"#,
        ),
    ];
    for (policy, settings, expected) in refused {
        assert_eq!(problem(policy, settings), Some(format!("its settings are not what it accepts: {expected}")));
    }
}

#[test]
fn an_order_must_name_deployments() {
    let expected = "it refuses its configuration: settings: `order` has `gpt@x`, which is neither the id nor a label \
                    (`key=value`) of any deployment";
    assert_eq!(problem("fallback-chain", json!({"order": ["m@a", "gpt@x"]})).as_deref(), Some(expected));
}

fn problem(policy: &str, settings: Value) -> Option<String> {
    let world = World::new([deployment("m@a"), deployment("m@b")]);
    world.try_bind(policy, settings).err().map(|refused| refused.problem.to_string())
}
