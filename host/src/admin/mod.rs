//! What the operator asks: is it alive, is it ready, what does it measure, which policies are in service; and what the
//! operator changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use witgate_wasm::{FailureCause, PolicyStatistics};

use crate::api::error::ApiError;
use crate::api::json_response;
use crate::gateway::Gateway;
use crate::reload::store::PolicyStatus;
use crate::snapshot::Snapshot;

pub mod change;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// The process runs; says nothing about upstreams.
pub async fn live() -> Response<Body> {
    json_response(&Health { status: "ok" })
}

/// Requests are welcome: 503 while the gateway shuts down.
pub async fn ready(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    if gateway.drain().has_begun() {
        let mut response = json_response(&Health { status: "draining" });
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    json_response(&Health { status: "ok" })
}

/// Prometheus' text format.
pub async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let snapshot = gateway.snapshot();
    let mut response = Response::new(Body::from(gateway.parts.metrics.encode(&snapshot.fleet, gateway.standing())));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

#[derive(Serialize)]
struct PolicyReport {
    generation: u64,
    problems: Vec<String>,
    policies: Vec<PolicyView>,
}

#[derive(Serialize)]
struct PolicyView {
    /// Its state may also be `suspended`: it failed too often, and is tried again later.
    #[serde(flatten)]
    status: PolicyStatus,
    /// How the code in service was compiled: `quick`, until what is `optimised` takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'static str>,
    /// One for each distinct settings that a route gives it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instances: Vec<Statistics>,
}

impl PolicyView {
    fn of(status: &PolicyStatus, snapshot: &Snapshot) -> Self {
        let bound = || snapshot.policies().filter(|policy| *policy.name() == status.name);
        let tier = bound().next().map(|policy| policy.component().tier().label());
        let instances: Vec<Statistics> = bound().map(|policy| Statistics::of(&policy.statistics())).collect();
        let mut status = status.clone();
        if instances.iter().any(|statistics| statistics.suspended_ms.is_some()) {
            status.state = "suspended";
        }
        Self { status, tier, instances }
    }
}

/// How the calls of one policy with one set of settings went.
#[derive(Serialize)]
struct Statistics {
    calls: u64,
    failures: BTreeMap<&'static str, u64>,
    live: usize,
    retired: u64,
    lost: u64,
    /// Called off the worker threads.
    slow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_ms: Option<u128>,
}

impl Statistics {
    fn of(statistics: &PolicyStatistics) -> Self {
        let PolicyStatistics { calls, failures, live, retired, lost, suspended, slow } = *statistics;
        let failures = FailureCause::LABELS.into_iter().zip(failures).filter(|(_, count)| *count > 0).collect();
        let suspended_ms = suspended.map(|time| time.as_millis());
        Self { calls, failures, live, retired, lost, slow, suspended_ms }
    }
}

/// Every policy: revision, state, what is wrong with its newest file, and how its calls went.
pub async fn policies(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response<Body> {
    match gateway.snapshot().keys.authenticate(&headers) {
        Ok(_) => json_response(&report(&gateway)),
        Err(error) => ApiError::Auth(error).into_response(),
    }
}

fn report(gateway: &Gateway) -> PolicyReport {
    let problems = gateway.published.report.load().problems.clone();
    let snapshot = gateway.snapshot();
    let known = gateway.published.policies.load();
    let policies = known.iter().map(|status| PolicyView::of(status, &snapshot)).collect();
    PolicyReport { generation: snapshot.generation, problems, policies }
}
