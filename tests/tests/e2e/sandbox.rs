//! Policies that misbehave: each failure is told apart and counted, the route does what its failure mode says, and
//! other routes do not notice.

use serde_json::{Value, json};
use witgate_tests::gateway::Builder;
use witgate_tests::{CHAT, Gateway, Upstream, chat_events, eventually, gateway, guests, upstream};

/// The request that the guest misbehaves on; others pass, and so does the trial at loading.
const PROVOKED: &str = r#"{"model":"wild","messages":[],"max_tokens":666}"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_failure_is_counted_apart_and_in_order_stands_in() {
    for (how, kind) in [
        ("trap", "trap"),
        ("loop", "deadline"),
        ("memory-hog", "trap"),
        ("declared-error", "declared"),
        // more than a guest may hand over in one call
        ("huge-plan", "trap"),
        ("empty-plan", "impossible"),
        ("out-of-range", "impossible"),
        ("nan-delay", "impossible"),
        ("negative-timeout", "impossible"),
        ("undeclared-reason", "impossible"),
        ("undeclared-overlay", "impossible"),
        ("large-tag", "impossible"),
    ] {
        let a = upstream().start().await;
        let b = upstream().start().await;
        let gateway = wild(how, [&a, &b]).start().await;
        let good = gateway.chat("wild", "hi").await;
        assert_eq!((good.status, good.policy()), (200, Some("misbehave")), "{how}");
        let answer = gateway.post(CHAT, PROVOKED).send().await;
        assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()), "{how}");
        assert_eq!((answer.policy(), answer.deployment()), (Some("in-order"), Some("wild@a")), "{how}");
        let counted = failures(&gateway).await;
        assert_eq!(counted, json!({kind: 1}), "{how}");
        let series = format!("witgate_policy_failures_total{{kind=\"{kind}\",policy=\"misbehave\"}}");
        assert_eq!(gateway.metric(&series).await, 1.0, "{how}");
        // and it goes on
        eventually("the policy decides again", async || gateway.chat("wild", "hi").await.policy() == Some("misbehave"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_refuses_says_which_policy_failed_and_how() {
    for (how, message) in [
        ("trap", "it trapped: wasm trap: wasm `unreachable` instruction executed"),
        ("loop", "it missed its deadline of 5 ms"),
        ("declared-error", "it declared an error: declared on purpose"),
        ("empty-plan", "its verdict is impossible: its plan has no attempts"),
        (
            "out-of-range",
            "its verdict is impossible: it names deployment number 2147483647, which was not offered for this request",
        ),
        ("undeclared-reason", "its verdict is impossible: it names reason number 1000, but it declared 1"),
        ("large-tag", "its verdict is impossible: its tag 4294967295 is not below 2^31"),
    ] {
        let a = upstream().start().await;
        let refuse = json!({"routes": {"wild": {"on_policy_failure": "refuse"}}});
        let gateway = wild(how, [&a]).config(refuse).start().await;
        let answer = gateway.post(CHAT, PROVOKED).send().await;
        let revision = revision(&gateway).await;
        assert_eq!(answer.status, 503, "{how}");
        assert_eq!(
            answer.json(),
            json!({"error": {
                "message": format!("policy `misbehave` (revision {revision}) failed in `router`: {message}"),
                "type": "server_error", "param": null, "code": "policy_failed",
            }})
        );
        assert_eq!((answer.policy(), answer.deployment(), answer.attempts()), (Some("misbehave"), None, Some("0")));
        assert_eq!(a.hits(), 0, "{how}");
        assert_eq!(gateway.chat("wild", "hi").await.status, 200, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_skips_lets_the_rest_of_the_chain_decide() {
    let a = upstream().start().await;
    let b = upstream().start().await;
    let skip = json!({"routes": {"wild": {
        "on_policy_failure": "skip",
        "policies": [misbehave("trap"), {"use": "tagged", "settings": {"place": 1, "reason": "the next one"}}],
    }}});
    let gateway = wild("trap", [&a, &b]).policy_file("tagged", guests::TAGGED).config(skip).start().await;
    let answer = gateway.post(CHAT, PROVOKED).send().await;
    assert_eq!((answer.policy(), answer.deployment()), (Some("tagged"), Some("wild@b")));
    assert_eq!(answer.header("x-witgate-reason"), Some("the next one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_status_is_clamped_and_a_flood_of_lines_is_cut() {
    let a = upstream().start().await;
    let gateway = wild("strange-status", [&a]).start().await;
    let answer = gateway.post(CHAT, PROVOKED).send().await;
    assert_eq!((answer.status, answer.error_message()), (400, "misbehaved".to_owned()));
    let flood = json!({"routes": {"wild": {"policies": [
        {"use": "misbehave", "settings": {"how": "log-flood", "on_max_tokens": 666, "count": 100}}
    ]}}});
    let gateway = wild("log-flood", [&a]).config(flood).start().await;
    assert_eq!(gateway.post(CHAT, PROVOKED).send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_routes_go_on_while_a_policy_loops() {
    let a = upstream().start().await;
    let gateway = wild("loop", [&a]).model("tame", [&a]).policy("in-order").start().await;
    let gateway = &gateway;
    let wild = async {
        for _ in 0..30 {
            assert_eq!(gateway.post(CHAT, PROVOKED).send().await.status, 200);
        }
    };
    let tame = async {
        for _ in 0..100 {
            let answer = gateway.chat("tame", "hi").await;
            assert_eq!((answer.status, answer.policy()), (200, Some("in-order")));
        }
    };
    let streams = async {
        for _ in 0..30 {
            assert_eq!(gateway.stream("tame", "hi").await.rest().await, chat_events("ok"));
        }
    };
    tokio::join!(wild, tame, streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_deadline_moves_a_policy_off_the_workers_and_three_suspend_it() {
    let a = upstream().start().await;
    let gateway = wild("loop", [&a]).start().await;
    assert_eq!(gateway.chat("wild", "hi").await.policy(), Some("misbehave"));
    gateway.post(CHAT, PROVOKED).send().await;
    let after_one = statistics(&gateway).await;
    assert_eq!((&after_one["slow"], after_one.get("suspended_ms")), (&json!(true), None));
    for _ in 0..2 {
        eventually("the policy is asked again", async || {
            gateway.chat("wild", "hi").await.policy() == Some("misbehave")
        })
        .await;
        gateway.post(CHAT, PROVOKED).send().await;
    }
    let after_three = statistics(&gateway).await;
    assert!(after_three["suspended_ms"].as_u64().is_some_and(|left| left <= 10_000), "{after_three}");
    // a harmless request is not put to it either
    let answer = gateway.chat("wild", "hi").await;
    assert_eq!((answer.status, answer.policy()), (200, Some("in-order")));
    assert_eq!(failures(&gateway).await, json!({"deadline": 3, "suspended": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_its_trial_never_serves() {
    let a = upstream().start().await;
    for (how, problem) in [
        ("refuse-configure", "it refuses its configuration: refused on purpose"),
        (
            "trap-in-configure",
            "it could not be configured: it trapped: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            "trap",
            "it failed a trial call of `router` with 1 candidate: it trapped: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            "empty-plan",
            "it failed a trial call of `router` with 1 candidate: its verdict is impossible: its plan has no attempts",
        ),
    ] {
        let settings = json!({"routes": {"wild": {"policies": [{"use": "misbehave", "settings": {"how": how}}]}}});
        let start = gateway()
            .model("wild", [&a])
            .policy_file("misbehave", guests::MISBEHAVE)
            .config(settings)
            .try_start()
            .await;
        let refusal = start.err().expect("the only policy of the route does not work");
        let told = refusal.replace(&hexadecimal(&refusal), "REVISION");
        assert_eq!(
            told,
            format!("route `wild`, policy 1 of its chain: policy `misbehave` (revision REVISION): {problem}"),
            "{how}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_no_policy_is_told_and_harms_nobody() {
    let a = upstream().start().await;
    let gateway = gateway()
        .model("fast", [&a])
        .policy_file("text", b"hello")
        .policy_file("no-hook", guests::NO_HOOK)
        .policy_file("wrong-version", guests::WRONG_VERSION)
        .start()
        .await;
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
    let problems = gateway.problems().await;
    for policy in ["text", "no-hook", "wrong-version"] {
        assert_eq!(gateway.policy_status(policy).await["state"], "refused", "{policy}");
        assert!(problems.iter().any(|problem| problem.starts_with(&format!("policy `{policy}`: "))), "{problems:?}");
    }
    assert_eq!(problems.len(), 3);
    let series = r#"witgate_policy_info{policy="text",revision="",state="refused"}"#;
    assert_eq!(gateway.metric(series).await, 1.0);
}

#[tokio::test]
async fn a_capability_must_be_granted() {
    let a = upstream().start().await;
    let b = upstream().start().await;
    let peeking =
        || gateway().model("fast", [&a, &b]).policy("peek-prompt").policy_file("peek-prompt", guests::PEEK_PROMPT);
    let refusal = peeking().try_start().await.err().expect("nothing is granted");
    assert!(
        refusal.contains("so it reads request headers and prompts, which the configuration does not grant"),
        "{refusal}"
    );
    let grants = json!({"policies": {"rules": {"peek-prompt": {"grants": ["headers", "prompt"]}}}});
    let gateway = peeking().config(grants).start().await;
    let body = r#"{"model":"fast","messages":[{"role":"user","content":"hi"}]}"#;
    let answer = gateway.post(CHAT, body).header("X-Candidate", "1").send().await;
    assert_eq!(answer.deployment(), Some("fast@b"));
    let refused = gateway.post(CHAT, body.replace("hi", "a forbidden word")).send().await;
    assert_eq!(refused.status, 451);
    assert_eq!(
        refused.json(),
        json!({"error": {
            "message": "the prompt has a forbidden word", "type": "invalid_request_error", "param": null,
            "code": "rejected_by_policy",
        }})
    );
    assert_eq!((refused.header("retry-after"), refused.header("retry-after-ms")), (Some("2"), Some("1500")));
    assert_eq!(refused.policy(), Some("peek-prompt"));
}

fn wild<'a>(how: &str, upstreams: impl IntoIterator<Item = &'a Upstream>) -> Builder {
    let mut rules = json!({});
    if how == "memory-hog" {
        // it shall hit its memory limit, not its deadline
        rules = json!({"memory": "4MiB", "deadline": "2s"});
    }
    if how == "huge-plan" {
        rules = json!({"deadline": "2s"});
    }
    gateway().model("wild", upstreams).policy_file("misbehave", guests::MISBEHAVE).config(json!({
        "routes": {"wild": {"policies": [misbehave(how)]}},
        "policies": {"rules": {"misbehave": rules}},
    }))
}

fn misbehave(how: &str) -> Value {
    json!({"use": "misbehave", "settings": {"how": how, "on_max_tokens": 666}})
}

async fn statistics(gateway: &Gateway) -> Value {
    gateway.policy_status("misbehave").await["instances"][0].clone()
}

async fn failures(gateway: &Gateway) -> Value {
    statistics(gateway).await["failures"].clone()
}

async fn revision(gateway: &Gateway) -> String {
    gateway.policy_status("misbehave").await["revision"].as_str().expect("it serves").to_owned()
}

/// The revision in a message.
fn hexadecimal(message: &str) -> String {
    let after = message.split("(revision ").nth(1).expect("a revision");
    after.split(')').next().unwrap().to_owned()
}
