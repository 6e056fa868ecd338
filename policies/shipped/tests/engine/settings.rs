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
        ("best-score", json!({"tolerance": 1.1}), r#"/tolerance: 1.1 is greater than the maximum of 1"#),
        ("best-score", json!({"tolerance": -0.1}), r#"/tolerance: -0.1 is less than the minimum of 0"#),
        ("capability", json!({"require": [""]}), r#"/require/0: "" is shorter than 1 character"#),
        ("capability", json!({"require": ["eu", "eu"]}), r#"/require: ["eu","eu"] has non-unique elements"#),
        ("capability", json!({"strict": "yes"}), r#"/strict: "yes" is not of type "boolean""#),
        ("capability", json!({"margin": 0.91}), r#"/margin: 0.91 is greater than the maximum of 0.9"#),
        ("capability", json!({"margin": -0.1}), r#"/margin: -0.1 is less than the minimum of 0"#),
        ("cheapest", json!({"output_tokens": -1}), r#"/output_tokens: -1 is less than the minimum of 0"#),
        (
            "cheapest",
            json!({"output_tokens": 1_000_001}),
            r#"/output_tokens: 1000001 is greater than the maximum of 1000000"#,
        ),
        ("cheapest", json!({"unpriced": "first"}), r#"/unpriced: "first" is not one of "free" or "last""#),
        (
            "fallback-chain",
            json!({"longest_wait_ms": 60_001}),
            r#"/longest_wait_ms: 60001 is greater than the maximum of 60000"#,
        ),
        ("fallback-chain", json!({"longest_wait_ms": -1}), r#"/longest_wait_ms: -1 is less than the minimum of 0"#),
        ("health", json!({"panic_share": 1.1}), r#"/panic_share: 1.1 is greater than the maximum of 1"#),
        ("health", json!({"panic_share": -0.1}), r#"/panic_share: -0.1 is less than the minimum of 0"#),
        ("hedge", json!({"quantile": 0.49}), r#"/quantile: 0.49 is less than the minimum of 0.5"#),
        ("hedge", json!({"quantile": 1}), r#"/quantile: 1 is greater than the maximum of 0.999"#),
        ("hedge", json!({"shortest_delay_ms": 9}), r#"/shortest_delay_ms: 9 is less than the minimum of 10"#),
        (
            "hedge",
            json!({"shortest_delay_ms": 60_001}),
            r#"/shortest_delay_ms: 60001 is greater than the maximum of 60000"#,
        ),
        ("hedge", json!({"min_samples": 9}), r#"/min_samples: 9 is less than the minimum of 10"#),
        ("hedge", json!({"min_samples": 10_001}), r#"/min_samples: 10001 is greater than the maximum of 10000"#),
        ("in-order", json!({"attempts": 0}), r#"/attempts: 0 is less than the minimum of 1"#),
        ("in-order", json!({"attempts": 9}), r#"/attempts: 9 is greater than the maximum of 8"#),
        (
            "latency",
            json!({"metric": "ttft"}),
            r#"/metric: "ttft" is not one of "ttft-ewma-ms", "ttft-peak-ewma-ms" or 7 other candidates"#,
        ),
        ("latency", json!({"tolerance": 10.1}), r#"/tolerance: 10.1 is greater than the maximum of 10"#),
        ("latency", json!({"tolerance": -0.1}), r#"/tolerance: -0.1 is less than the minimum of 0"#),
        ("least-loaded", json!({"measure": "bytes"}), r#"/measure: "bytes" is not one of "tokens" or "requests""#),
        ("peak-ewma", json!({"compare": "three"}), r#"/compare: "three" is not one of "two" or "all""#),
        ("resilient", json!({"same_again": 4}), r#"/same_again: 4 is greater than the maximum of 3"#),
        ("resilient", json!({"same_again": -1}), r#"/same_again: -1 is less than the minimum of 0"#),
        (
            "resilient",
            json!({"longest_wait_ms": 60_001}),
            r#"/longest_wait_ms: 60001 is greater than the maximum of 60000"#,
        ),
        ("resilient", json!({"content_policy": ["a", "a"]}), r#"/content_policy: ["a","a"] has non-unique elements"#),
        (
            "round-robin",
            json!({"weights": [1, 2]}),
            r#"Additional properties are not allowed ('weights' was unexpected)"#,
        ),
        ("usage-based", json!({"output_tokens": -1}), r#"/output_tokens: -1 is less than the minimum of 0"#),
        (
            "usage-based",
            json!({"output_tokens": 1_000_001}),
            r#"/output_tokens: 1000001 is greater than the maximum of 1000000"#,
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
