//! Deployments that go down, slow down, brown out and come back, and what clients and upstreams notice of it.

use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::redis::free_address;
use witgate_tests::{CHAT, Gateway, Reply, Upstream, eventually, gateway, upstream};

/// Round robin keeps on asking those that fail; the default router would avoid them by itself.
const CHAIN: [&str; 3] = ["health", "round-robin", "resilient"];

/// Asks so often, some at a time; every one must be answered.
async fn ask(gateway: &Gateway, requests: usize) {
    for _ in 0..requests / AT_A_TIME {
        let answers = futures_util::future::join_all((0..AT_A_TIME).map(|_| gateway.chat("fast", "hi"))).await;
        for answer in answers {
            assert_eq!(answer.status, 200, "{}", answer.body_text());
        }
    }
}

/// Asks until something holds; gives how long that took.
async fn ask_until(gateway: &Gateway, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s");
        ask(gateway, AT_A_TIME).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

async fn breaker(gateway: &Gateway, deployment: &str) -> f64 {
    gateway.metric(&format!("witgate_breaker_state{{deployment=\"{deployment}\"}}")).await
}

async fn three(a: &Upstream, b: &Upstream, c: &Upstream, more: serde_json::Value) -> Gateway {
    gateway().model("fast", [a, b, c]).policies(&CHAIN).config(more).start().await
}

const AT_A_TIME: usize = 4;

#[tokio::test]
async fn one_of_three_that_fails_is_left_alone_and_clients_do_not_notice() {
    let patience = json!({"providers": {"a": {"first_byte_timeout": "200ms", "idle_timeout": "200ms"}}});
    for bad in [upstream().status(500), upstream().reset(), upstream().silent(), upstream().stall()] {
        let (a, b, c) = (bad.clone().start().await, upstream().start().await, upstream().start().await);
        let gateway = three(&a, &b, &c, patience.clone()).await;
        ask(&gateway, 200).await;
        assert!((5..=5 + AT_A_TIME).contains(&a.hits()), "{bad:?}: {} hits", a.hits());
        assert_eq!((a.hits() + b.hits() + c.hits(), breaker(&gateway, "fast@a").await), (200 + a.hits(), 2.0));
        let retries = gateway.metric(r#"witgate_retries_total{kind="failover",route="fast"}"#).await;
        assert_eq!(retries as usize, a.hits());
        assert_eq!(gateway.metric(r#"witgate_breaker_opened_total{deployment="fast@a"}"#).await, 1.0);
    }
}

#[tokio::test]
async fn one_of_three_where_nobody_listens_costs_nothing() {
    let (b, c) = (upstream().start().await, upstream().start().await);
    let addresses = [free_address(), b.address(), c.address()];
    let gateway = gateway().model_at("fast", &addresses).policies(&CHAIN).start().await;
    ask(&gateway, 200).await;
    assert_eq!((b.hits() + c.hits(), breaker(&gateway, "fast@a").await), (200, 2.0));
}

#[tokio::test]
async fn a_brown_out_is_noticed_within_ten_seconds() {
    let brown = upstream().every(2, upstream().status(502));
    let (a, b, c) = (brown.start().await, upstream().start().await, upstream().start().await);
    let gateway = three(&a, &b, &c, json!({})).await;
    let noticed = ask_until(&gateway, async || breaker(&gateway, "fast@a").await == 2.0).await;
    assert!(noticed < Duration::from_secs(10), "after {noticed:?}");
    let hits = a.hits();
    ask(&gateway, 100).await;
    assert_eq!(a.hits(), hits);
}

#[tokio::test]
async fn a_deployment_that_comes_back_is_used_again_within_ten_seconds() {
    // A probe that succeeds all the time, as that of a server whose model is broken, and one that fails with the rest.
    let well = || upstream().at("/health", upstream().body("{}"));
    for down in [upstream().status(500).at("/health", upstream().body("{}")), upstream().status(500)] {
        let (a, b, c) = (down.start().await, well().start().await, well().start().await);
        let gateway = three(&a, &b, &c, json!({"providers": {"a": {"probe": {"enabled": true}}}})).await;
        ask(&gateway, 100).await;
        assert_eq!(breaker(&gateway, "fast@a").await, 2.0);
        // long enough for a probe, and a trial where that one succeeds
        tokio::time::sleep(Duration::from_millis(4_000)).await;
        ask(&gateway, 20).await;
        a.becomes(well());
        let before = a.hits_at(CHAT);
        let back = ask_until(&gateway, async || breaker(&gateway, "fast@a").await == 0.0).await;
        assert!(back < Duration::from_secs(10), "after {back:?}");
        assert!(a.hits_at(CHAT) >= before + 3, "three trials must have succeeded");
        assert!(a.hits_at("/health") > 0);
    }
}

#[tokio::test]
async fn one_whose_breaker_never_opened_is_used_again_within_ten_seconds_too() {
    // slow enough for the machine's own noise not to count
    let well = || upstream().delay(Duration::from_millis(10)).at("/health", upstream().body("{}"));
    let (a, b, c) = (well().start().await, well().start().await, well().start().await);
    let probed = json!({"providers": {"a": {"probe": {"enabled": true}}}});
    let chain = ["health", "peak-ewma", "resilient"];
    let gateway = gateway().model("fast", [&a, &b, &c]).policies(&chain).config(probed).start().await;
    ask(&gateway, 60).await;
    assert!(a.hits_at(CHAT) > 0);
    a.becomes(upstream().status(500));
    // the router keeps away from it after one failure
    ask_until(&gateway, async || gateway.metric(FAILED).await > 0.0).await;
    ask(&gateway, 60).await;
    assert_eq!(breaker(&gateway, "fast@a").await, 0.0);
    a.becomes(well());
    let before = a.hits_at(CHAT);
    let back = ask_until(&gateway, async || a.hits_at(CHAT) > before + 5).await;
    assert!(back < Duration::from_secs(10), "after {back:?}");
}

const FAILED: &str = r#"witgate_attempts_total{deployment="fast@a",outcome="server-error"}"#;

#[tokio::test]
async fn with_everything_down_upstreams_get_a_fifth_more_and_the_reserve() {
    let down = [upstream().status(500).start().await, upstream().status(500).start().await];
    let gateway = gateway().model("fast", &down).policies(&CHAIN).start().await;
    let requests = 600;
    let started = Instant::now();
    for _ in 0..requests / AT_A_TIME {
        let answers = futures_util::future::join_all((0..AT_A_TIME).map(|_| gateway.chat("fast", "hi"))).await;
        assert!(answers.iter().all(|answer| answer.status == 502));
    }
    let hits = (down[0].hits() + down[1].hits()) as f64;
    // the reserve of one window is there at once
    let allowed = 1.2 * requests as f64 + 10.0 * (10.0 + started.elapsed().as_secs_f64());
    assert!(hits <= allowed, "{hits} attempts, {allowed} are allowed");
    assert!(gateway.metric(r#"witgate_retries_refused_total{reason="budget",route="fast"}"#).await > 0.0);
}

#[tokio::test]
async fn the_retry_budget_is_configured() {
    let (a, b) = (upstream().status(503).start().await, upstream().start().await);
    let none = json!({"retries": {"share": 0, "per_second": 0}});
    let gateway = gateway().model("fast", [&a, &b]).policy("in-order").config(none).start().await;
    // until its breaker opens, leaving it is a retry like any other
    let mut got = [0; 6];
    for status in &mut got {
        *status = gateway.chat("fast", "hi").await.status;
    }
    assert_eq!(got, [503, 503, 503, 503, 200, 200]);
    assert_eq!((a.hits(), b.hits()), (6, 2));
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_not_sent_again_where_the_route_says_so() {
    let b = upstream().chat("hello").start().await;
    let once = json!({"routes": {"fast": {"idempotent": false}}});
    for (bad, status) in [(upstream().reset(), 502), (upstream().status(500), 502), (upstream().status(503), 200)] {
        let a = bad.clone().start().await;
        let gateway = gateway().model("fast", [&a, &b]).policy("in-order").config(once.clone()).start().await;
        assert_eq!(gateway.chat("fast", "hi").await.status, status, "{bad:?}");
        let refused = gateway.metric(r#"witgate_retries_refused_total{reason="not-idempotent",route="fast"}"#).await;
        assert_eq!(refused, if status == 200 { 0.0 } else { 1.0 });
    }
}

#[tokio::test]
async fn a_key_that_is_refused_or_over_its_limit_rests_and_the_others_go_on() {
    let limited = || upstream().status(429).header("retry-after", "60");
    for bad in [upstream().status(401), limited(), upstream().status(402)] {
        let a = upstream().to_key("sk-1", bad.clone()).start().await;
        let keys = json!({"providers": {"a": {"api_key": null, "api_keys": ["sk-1", "sk-2", "sk-3"]}}});
        let gateway = gateway().model("fast", [&a]).policies(&CHAIN).config(keys).start().await;
        for _ in 0..20 {
            assert_eq!(gateway.chat("fast", "hi").await.status, 200);
        }
        assert_eq!(a.hits_with("sk-1"), 1, "{bad:?}");
        let others = [a.hits_with("sk-2"), a.hits_with("sk-3")];
        assert!(others.iter().all(|hits| *hits >= 8) && others.iter().sum::<usize>() == 20, "{others:?}");
        assert_eq!(gateway.metric(r#"witgate_ready_keys{deployment="fast@a"}"#).await, 2.0);
    }
}

#[tokio::test]
async fn when_all_keys_are_refused_the_next_provider_answers() {
    let (a, b) = (upstream().status(401).start().await, upstream().chat("hello").start().await);
    let keys = json!({"providers": {"a": {"api_key": null, "api_keys": ["sk-1", "sk-2"]}}});
    let chain = ["health", "in-order", "resilient"];
    let gateway = gateway().model("fast", [&a]).policies(&chain).config(keys);
    let gateway =
        gateway.model("spare", [&b]).config(json!({"routes": {"fast": {"fallbacks": ["spare"]}}})).start().await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.text(), answer.attempts()), ("hello".to_owned(), Some("3")));
    assert_eq!((a.hits_with("sk-1"), a.hits_with("sk-2")), (1, 1));
}

#[tokio::test]
async fn the_resting_are_asked_when_the_only_one_that_is_well_is_too_slow() {
    let limited = || upstream().status(429).header("retry-after", "60");
    let (a, b, c) = (limited().start().await, limited().start().await, upstream().start().await);
    let soon = json!({"routes": {"fast": {"first_byte_timeout": "300ms"}}});
    let gateway = gateway().model("fast", [&a, &b, &c]).policies(&CHAIN).config(soon).start().await;
    // whoever is asked first
    ask_until(&gateway, async || a.hits() > 0 && b.hits() > 0).await;
    c.becomes(upstream().silent());
    a.becomes(upstream());
    b.becomes(upstream());
    assert_eq!(gateway.chat("fast", "hi").await.status, 200);
}

#[tokio::test]
async fn what_one_deployment_cannot_do_another_does() {
    let image = r#"{"error":{"code":500,"message":"image input is not supported - hint: x","type":"server_error"}}"#;
    let (a, b) = (upstream().status(500).body(image).start().await, upstream().chat("seen").start().await);
    let gateway = gateway().model("fast", [&a, &b]).policy("in-order").start().await;
    for _ in 0..6 {
        assert_eq!(gateway.chat("fast", "hi").await.text(), "seen");
    }
    assert_eq!(breaker(&gateway, "fast@a").await, 0.0, "it is not ill");
    b.becomes(upstream().status(500).body(image));
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.status, answer.body_text()), (400, image), "in the upstream's words, as the client's error");
}

#[tokio::test]
async fn an_idle_deployment_that_dies_is_known_before_the_next_request() {
    let (a, b) = (upstream().start().await, upstream().start().await);
    let probe = json!({"enabled": true, "idle": "1s", "interval": "100ms"});
    let config = json!({"providers": {"a": {"probe": probe}}});
    let gateway = gateway().model("fast", [&a, &b]).policies(&["health", "in-order"]).config(config).start().await;
    a.becomes(upstream().status(503));
    eventually("the probes open its breaker", async || breaker(&gateway, "fast@a").await == 2.0).await;
    let answer = gateway.chat("fast", "hi").await;
    assert_eq!((answer.deployment(), answer.attempts(), a.hits_at(CHAT)), (Some("fast@b"), Some("1"), 0));
    assert!(gateway.metric(r#"witgate_probes_total{provider="a",result="bad"}"#).await >= 5.0);
}

#[tokio::test]
async fn a_probe_asks_for_the_models_where_there_is_no_health() {
    let only_models =
        |reply: Reply| reply.at("/health", upstream().status(404)).at("/v1/models", upstream().body("{}"));
    let a = only_models(upstream()).start().await;
    let probe = json!({"enabled": true, "idle": "1s", "interval": "100ms"});
    let gateway = gateway().model("fast", [&a]).config(json!({"providers": {"a": {"probe": probe}}})).start().await;
    let good = r#"witgate_probes_total{provider="a",result="good"}"#;
    eventually("two probes", async || gateway.metric(good).await >= 2.0).await;
    assert_eq!(a.hits_at("/health"), 1, "what it does not know is not asked again");
    assert_eq!(a.hits_with("sk-provider"), a.hits());
}

#[tokio::test]
async fn a_silent_deployment_is_hedged_and_the_loser_cancelled() {
    let (a, b) = (upstream().start().await, upstream().start().await);
    let settings = json!({"min_samples": 10, "shortest_delay_ms": 150});
    let chain = json!({"routes": {"fast": {"policies": [{"use": "hedge", "settings": settings}, "resilient"]}}});
    let gateway = gateway().model("fast", [&a, &b]).config(chain).start().await;
    ask(&gateway, 40).await;
    gateway.wait_for_reason("fast", "expected soonest, hedged").await;
    a.becomes(upstream().silent());
    let hedged = r#"witgate_retries_total{kind="hedge",route="fast"}"#;
    let started = Instant::now();
    let mut answer = gateway.chat("fast", "hi").await;
    while gateway.metric(hedged).await == 0.0 && started.elapsed() < Duration::from_secs(20) {
        answer = gateway.chat("fast", "hi").await;
    }
    assert_eq!((answer.status, answer.deployment()), (200, Some("fast@b")));
    eventually("the loser is cancelled upstream", async || a.abandoned() == 1).await;
    assert_eq!(gateway.metric(r#"witgate_attempts_total{deployment="fast@a",outcome="hedge-lost"}"#).await, 1.0);
}

#[tokio::test]
async fn hedges_keep_to_their_budget() {
    let (a, b) = (upstream().start().await, upstream().start().await);
    let settings = json!({"min_samples": 10, "shortest_delay_ms": 20, "quantile": 0.5});
    let chain = json!({"routes": {"fast": {"policies": [{"use": "hedge", "settings": settings}, "resilient"]}}});
    let gateway = gateway().model("fast", [&a, &b]).config(chain).start().await;
    ask(&gateway, 40).await;
    gateway.wait_for_reason("fast", "expected soonest, hedged").await;
    // Everything is slow all of a sudden: each request wants a hedge, and there would be twice the load.
    for slow in [&a, &b] {
        slow.becomes(upstream().delay(Duration::from_millis(150)));
    }
    ask(&gateway, 24).await;
    let hedges = gateway.metric(r#"witgate_retries_total{kind="hedge",route="fast"}"#).await;
    assert!((1.0..=2.0).contains(&hedges), "{hedges} hedges");
    assert!(gateway.metric(r#"witgate_retries_refused_total{reason="hedge-budget",route="fast"}"#).await >= 10.0);
}
