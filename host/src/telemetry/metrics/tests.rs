//! What is measured is what is shown, and dashboards and alerts ask for nothing else.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use serde_json::Value;
use witgate_core::deployment::Deployment;
use witgate_core::live::Millis;
use witgate_core::openai::Endpoint;
use witgate_core::outcome::{Asked, Outcome};
use witgate_core::vocabulary::{Ending, FailureKind};
use witgate_wasm::{FailureCause, Hook, Meter};

use super::*;
use crate::pipeline::bounds::Bound;

fn fleet(ids: &[&str]) -> Fleet {
    let deployment = |id: &&str| {
        Arc::new(Deployment {
            id: (*id).into(),
            provider: "p".into(),
            max_concurrency: Some(std::num::NonZeroU32::MIN),
            ..Deployment::default()
        })
    };
    Fleet::new(ids.iter().map(deployment).collect(), vec![], None)
}

fn served() -> Outcome {
    Outcome {
        decision: 0,
        attempt: 0,
        target: 0,
        tag: 0,
        ending: Ending::Served,
        failure: None,
        status: 200,
        retry_after: None,
        ttft: Some(Duration::from_millis(20)),
        latency: Duration::from_secs(1),
        tokens_in: 10,
        tokens_out: 5,
        cached_tokens: 4,
        cache_write_tokens: 3,
        reasoning_tokens: 1,
        usd: 0.25,
        asked: Asked::default(),
    }
}

/// Lines of the text whose name begins so, without histograms' buckets.
fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.encode(&fleet(&[]), Standing::default());
    let of_name = text.lines().filter(|line| line.starts_with(name) && !line.contains("_bucket{"));
    of_name.map(ToOwned::to_owned).collect()
}

#[test]
fn requests_are_counted_by_route_endpoint_and_outcome() {
    let metrics = Metrics::new();
    let route = metrics.route("chat");
    let second = Duration::from_secs(1);
    route.ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Served, second);
    route.ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Served, second);
    route.ended(Purpose::Endpoint(Endpoint::Embeddings), RequestOutcome::Cached, second);
    route.ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Cancelled, second);
    route.ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Failed("rate-limited"), second);
    route.ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Failed("deadline"), second);
    // Another snapshot's handles are the same counters.
    metrics.route("chat").ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Failed("deadline"), second);
    metrics.route("").ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Failed("auth"), second);
    assert_eq!(
        lines(&metrics, "witgate_requests_total"),
        [
            r#"witgate_requests_total{endpoint="chat",outcome="auth",route=""} 1"#,
            r#"witgate_requests_total{endpoint="chat",outcome="cancelled",route="chat"} 1"#,
            r#"witgate_requests_total{endpoint="chat",outcome="deadline",route="chat"} 2"#,
            r#"witgate_requests_total{endpoint="chat",outcome="rate-limited",route="chat"} 1"#,
            r#"witgate_requests_total{endpoint="chat",outcome="served",route="chat"} 2"#,
            r#"witgate_requests_total{endpoint="embeddings",outcome="cached",route="chat"} 1"#,
        ]
    );
    let failed = r#"witgate_request_duration_seconds_count{endpoint="chat",outcome="failed",route="chat"} 3"#;
    assert!(lines(&metrics, "witgate_request_duration_seconds_count").contains(&failed.to_owned()));
}

#[test]
fn attempts_are_counted_by_deployment_and_outcome() {
    let metrics = Metrics::new();
    let deployment = metrics.deployment("m@p");
    deployment.record(&served());
    deployment.record(&Outcome { ending: Ending::HedgeLost, ttft: None, ..served() });
    let failure = Some(FailureKind::RateLimited);
    deployment.record(&Outcome { ending: Ending::Failed, failure, ttft: None, ..served() });
    // Cancelled after the first token: what was generated has been paid for.
    deployment.record(&Outcome { ending: Ending::Cancelled, tokens_out: 2, ..served() });
    assert_eq!(
        lines(&metrics, "witgate_attempts_total"),
        [
            r#"witgate_attempts_total{deployment="m@p",outcome="cancelled"} 1"#,
            r#"witgate_attempts_total{deployment="m@p",outcome="hedge-lost"} 1"#,
            r#"witgate_attempts_total{deployment="m@p",outcome="rate-limited"} 1"#,
            r#"witgate_attempts_total{deployment="m@p",outcome="served"} 1"#,
        ]
    );
    assert_eq!(
        lines(&metrics, "witgate_tokens_total"),
        [
            r#"witgate_tokens_total{deployment="m@p",direction="cache-write"} 6"#,
            r#"witgate_tokens_total{deployment="m@p",direction="cached"} 8"#,
            r#"witgate_tokens_total{deployment="m@p",direction="in"} 20"#,
            r#"witgate_tokens_total{deployment="m@p",direction="out"} 7"#,
            r#"witgate_tokens_total{deployment="m@p",direction="reasoning"} 2"#,
        ]
    );
    assert_eq!(lines(&metrics, "witgate_cost_usd_total"), [r#"witgate_cost_usd_total{deployment="m@p"} 0.5"#]);
    let one = |name: &str, count| format!(r#"{name}{{deployment="m@p"}} {count}"#);
    let durations = "witgate_attempt_duration_seconds_count";
    assert_eq!(lines(&metrics, durations), [one(durations, 1)]);
    let first_tokens = "witgate_attempt_first_token_seconds_count";
    assert_eq!(lines(&metrics, first_tokens), [one(first_tokens, 2)]);
}

#[test]
fn attempts_in_flight_are_those_of_the_fleet_in_service() {
    let metrics = Metrics::new();
    let shown = |fleet: &Fleet| {
        let text = metrics.encode(fleet, Standing::default());
        text.lines().filter(|line| line.starts_with("witgate_in_flight{")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let before = fleet(&["a", "b"]);
    let _running = before.deployments()[0].live.begin(1, Millis(0));
    assert_eq!(shown(&before), [r#"witgate_in_flight{deployment="a"} 1"#, r#"witgate_in_flight{deployment="b"} 0"#]);
    assert_eq!(shown(&fleet(&["b"])), [r#"witgate_in_flight{deployment="b"} 0"#]);
}

#[test]
fn what_is_sent_again_or_not_is_counted_by_route() {
    let metrics = Metrics::new();
    let route = metrics.route("chat");
    route.repeated(Repetition::Failover);
    route.repeated(Repetition::Hedge);
    route.bounded(Bound::NotIdempotent);
    route.stream_broke("resumed");
    route.stream_broke("tools");
    assert_eq!(
        lines(&metrics, "witgate_broken_streams_total"),
        [
            r#"witgate_broken_streams_total{result="resumed",route="chat"} 1"#,
            r#"witgate_broken_streams_total{result="tools",route="chat"} 1"#,
        ]
    );
    assert_eq!(
        lines(&metrics, "witgate_retries"),
        [
            r#"witgate_retries_refused_total{reason="budget",route="chat"} 0"#,
            r#"witgate_retries_refused_total{reason="hedge-budget",route="chat"} 0"#,
            r#"witgate_retries_refused_total{reason="not-idempotent",route="chat"} 1"#,
            r#"witgate_retries_refused_total{reason="spent",route="chat"} 0"#,
            r#"witgate_retries_total{kind="failover",route="chat"} 1"#,
            r#"witgate_retries_total{kind="hedge",route="chat"} 1"#,
            r#"witgate_retries_total{kind="retry",route="chat"} 0"#,
        ]
    );
}

#[test]
fn breakers_keys_and_probes_are_shown() {
    let metrics = Metrics::new();
    let fleet = fleet(&["a", "b"]);
    for _ in 0..5 {
        fleet.deployments()[1].live.probed(false, clock::monotonic());
    }
    metrics.deployment("b").breaker_opened();
    metrics.probed("p", "unclear");
    fleet.provider_keys("p").unwrap().set(2, 1);
    let text = metrics.encode(&fleet, Standing::default());
    for line in [
        r#"witgate_breaker_state{deployment="a"} 0"#,
        r#"witgate_breaker_state{deployment="b"} 2"#,
        r#"witgate_breaker_opened_total{deployment="b"} 1"#,
        r#"witgate_ready_keys{deployment="a"} 2"#,
        r#"witgate_probes_total{provider="p",result="unclear"} 1"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_policys_calls_are_counted_by_hook_and_failure() {
    let metrics = Metrics::new();
    let policy = metrics.policy("cheapest");
    let quick = Duration::from_nanos(400);
    policy.called(Hook::Router, quick, None);
    policy.called(Hook::Router, quick, Some(&FailureCause::Declared("no".into())));
    metrics.policy_rollback("cheapest", By::Operator);
    metrics.policy_suspended("cheapest");
    // It was not called at all, so it took no time.
    policy.called(Hook::Router, Duration::ZERO, Some(&FailureCause::Suspended { remaining: quick }));
    let text = metrics.encode(&fleet(&[]), Standing::default());
    for line in [
        r#"witgate_policy_decision_seconds_bucket{hook="router",policy="cheapest",le="0.0000002"} 0"#,
        r#"witgate_policy_decision_seconds_bucket{hook="router",policy="cheapest",le="0.0000005"} 2"#,
        r#"witgate_policy_decision_seconds_count{hook="router",policy="cheapest"} 2"#,
        r#"witgate_policy_failures_total{kind="declared",policy="cheapest"} 1"#,
        r#"witgate_policy_failures_total{kind="suspended",policy="cheapest"} 1"#,
        r#"witgate_policy_failures_total{kind="trap",policy="cheapest"} 0"#,
        r#"witgate_policy_rollbacks_total{by="crash",policy="cheapest"} 0"#,
        r#"witgate_policy_rollbacks_total{by="operator",policy="cheapest"} 1"#,
        r#"witgate_policy_suspensions_total{policy="cheapest"} 1"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_policies_in_service_are_shown_and_those_before_are_not() {
    let metrics = Metrics::new();
    let status = |name: &str, state, revision: &str| PolicyStatus {
        name: name.into(),
        state,
        revision: (!revision.is_empty()).then(|| revision.into()),
        ..PolicyStatus::default()
    };
    metrics.policies(1, &[status("old", "serving", "aaa")]);
    metrics.policies(2, &[status("new", "serving", "bbb"), status("broken", "refused", "")]);
    metrics.policy_reload("refused");
    metrics.policy_pull("failed");
    assert_eq!(
        lines(&metrics, "witgate_polic"),
        [
            "witgate_policies_loaded 1",
            "witgate_policy_generation 2",
            r#"witgate_policy_info{policy="broken",revision="",state="refused"} 1"#,
            r#"witgate_policy_info{policy="new",revision="bbb",state="serving"} 1"#,
            "witgate_policy_instances 0",
            r#"witgate_policy_pulls_total{result="failed"} 1"#,
            r#"witgate_policy_pulls_total{result="new"} 0"#,
            r#"witgate_policy_pulls_total{result="refused"} 0"#,
            r#"witgate_policy_pulls_total{result="unchanged"} 0"#,
            r#"witgate_policy_reloads_total{result="ok"} 0"#,
            r#"witgate_policy_reloads_total{result="refused"} 1"#,
        ]
    );
}

#[test]
fn the_process_and_the_build_are_shown() {
    let metrics = Metrics::new();
    let version = format!("witgate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines(&metrics, "witgate_build_info"), [version]);
    let resident = lines(&metrics, "process_resident_memory_bytes");
    let bytes: u64 = resident[0].rsplit(' ').next().unwrap().parse().unwrap();
    assert!(bytes > 1 << 20, "{bytes} bytes");
}

/// Every series that there can be, by the names that queries use.
fn series() -> BTreeSet<String> {
    let metrics = Metrics::new();
    metrics.route("r").ended(Purpose::Endpoint(Endpoint::Chat), RequestOutcome::Served, Duration::ZERO);
    metrics.route("r").first_token(Duration::ZERO);
    metrics.route("r").stream_broke("resumed");
    metrics.deployment("d").record(&served());
    metrics.policy("p").called(Hook::Router, Duration::ZERO, None);
    metrics.policies(1, &[]);
    metrics.probed("p", "good");
    let fleet = fleet(&["d"]);
    let mut names = BTreeSet::from(["witgate_policy_info".to_owned(), "up".to_owned()]);
    for line in metrics.encode(&fleet, Standing::default()).lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        names.insert(line[..end].to_owned());
    }
    names
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_name(c));
    words
        .filter(|word| word.starts_with("witgate_") || word.starts_with("process_") || *word == "up")
        .map(ToOwned::to_owned)
        .collect()
}

fn project_file(name: &str) -> String {
    let path = format!("{}/../config/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every string under this key, anywhere in the document.
fn strings<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                match inner {
                    Value::String(text) if name == key => found.push(text),
                    other => strings(other, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|inner| strings(inner, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check_expressions(file: &str, document: &Value) {
    let series = series();
    let mut expressions = Vec::new();
    strings(document, "expr", &mut expressions);
    strings(document, "definition", &mut expressions);
    assert!(expressions.len() > 5, "{file} has only {} expressions", expressions.len());
    for expression in expressions {
        let names = named(expression);
        assert!(!names.is_empty(), "{file}: `{expression}` names no metric");
        for name in names {
            assert!(series.contains(&name), "{file}: there is no metric `{name}`, which `{expression}` asks for");
        }
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&project_file("grafana-dashboard.json")).unwrap();
    check_expressions("grafana-dashboard.json", &dashboard);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{} is wider than the dashboard", panel["title"]);
    }
}

#[test]
fn the_alerts_ask_for_metrics_that_exist_and_say_what_to_do() {
    let alerts: Value = serde_yaml::from_str(&project_file("prometheus-alerts.yaml")).unwrap();
    check_expressions("prometheus-alerts.yaml", &alerts);
    let groups = alerts["groups"].as_array().unwrap();
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        assert!(rule["alert"].is_string() && rule["labels"]["severity"].is_string(), "{rule}");
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string(), "{rule}");
    }
}
