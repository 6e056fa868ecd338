//! Every metric of the gateway, once, with Prometheus' text format for them.
//!
//! Labels come from closed sets: the configuration's names, the vocabulary's names and words of this code. Handles
//! ([`RouteMetrics`], [`DeploymentMetrics`], ...) are made once for each snapshot, so a request looks up no labels.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use witgate_core::breaker::BreakerState;
use witgate_core::fleet::Fleet;

use super::logging;
use crate::clock;
use crate::reload::standing::By;
use crate::reload::store::PolicyStatus;

mod facts;
mod handles;
mod overload;
#[cfg(test)]
mod tests;

use facts::Facts;
pub use handles::{CacheMetrics, DeploymentMetrics, Purpose, Repetition, RequestOutcome, RouteMetrics};
use overload::Overload;
pub use overload::{OverloadMetrics, Standing};

/// The metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    requests: Requests,
    attempts: Attempts,
    health: Health,
    facts: Facts,
    policies: Policies,
    cache: CacheMetrics,
    fleet_exchanges: IntCounterVec,
    overload: Overload,
    outcomes_dropped: IntCounter,
    log_lines_dropped: IntCounter,
    /// Some values are put in when they are read; one reader or writer of those at a time.
    at_scrape: Mutex<()>,
}

#[derive(Clone)]
struct Requests {
    total: IntCounterVec,
    duration: HistogramVec,
    first_token: HistogramVec,
    repeated: IntCounterVec,
    bounded: IntCounterVec,
    broken: IntCounterVec,
    cost: CounterVec,
}

/// How deployments are.
struct Health {
    breaker: IntGaugeVec,
    opened: IntCounterVec,
    ready_keys: IntGaugeVec,
    probes: IntCounterVec,
}

struct Attempts {
    total: IntCounterVec,
    duration: HistogramVec,
    first_token: HistogramVec,
    tokens: IntCounterVec,
    cost: CounterVec,
    in_flight: IntGaugeVec,
}

struct Policies {
    decision: HistogramVec,
    failures: IntCounterVec,
    rollbacks: IntCounterVec,
    suspensions: IntCounterVec,
    policy_reloads: IntCounterVec,
    config_reloads: IntCounterVec,
    pulls: IntCounterVec,
    generation: IntGauge,
    loaded: IntGauge,
    instances: IntGauge,
    info: IntGaugeVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        let requests = Requests {
            total: make.counters(
                "witgate_requests_total",
                "Requests that ended, by how: served, cached, cancelled by the client, or the kind of error.",
                &["route", "endpoint", "outcome"],
            ),
            duration: make.histograms(
                "witgate_request_duration_seconds",
                "From the request's arrival to the last byte of its answer.",
                REQUEST_SECONDS,
                &["route", "endpoint", "outcome"],
            ),
            first_token: make.histograms(
                "witgate_time_to_first_token_seconds",
                "From the request's arrival to the first token of its answer (the whole answer where it is not \
                 streamed), failed attempts included.",
                FIRST_TOKEN_SECONDS,
                &["route"],
            ),
            repeated: make.counters(
                "witgate_retries_total",
                "Attempts beyond a request's first, by kind: retry (the same deployment again), failover, hedge.",
                &["route", "kind"],
            ),
            bounded: make.counters(
                "witgate_retries_refused_total",
                "Attempts beyond a request's first that the host did not allow: the retry budget (budget) or that of \
                 hedges (hedge-budget) is used up, or the request may have been carried out on a route that is not \
                 idempotent (not-idempotent), or its body is not held and has gone to an upstream (spent).",
                &["route", "reason"],
            ),
            broken: make.counters(
                "witgate_broken_streams_total",
                "Streams that broke after the client had begun to read them, on routes with `resume`, by what became of \
                 them: resumed; the policies named nobody (declined), nobody can go on (no-deployment), a bound of the \
                 host (bounded), those that were asked failed (failed); or what keeps the answer from being gone on with \
                 (tools, format, choices, logprobs, audio, reasoning, prefilled, prompt, content, too-long, complete).",
                &["route", "result"],
            ),
            cost: make.amounts(
                "witgate_route_cost_usd_total",
                "Cost of a route's requests, by the prices of the configuration or else of the catalogue.",
                &["route"],
            ),
        };
        let health = Health {
            breaker: make.gauges(
                "witgate_breaker_state",
                "Breaker of a deployment: 0 closed, 1 half-open, 2 open.",
                &["deployment"],
            ),
            opened: make.counters(
                "witgate_breaker_opened_total",
                "How often a deployment's breaker opened, after failed trials too.",
                &["deployment"],
            ),
            ready_keys: make.gauges(
                "witgate_ready_keys",
                "API keys of the deployment's provider that do not cool down.",
                &["deployment"],
            ),
            probes: make.counters(
                "witgate_probes_total",
                "Probes of providers whose deployments are down or idle: good, bad, or unclear (it answers, but does \
                 not know the question).",
                &["provider", "result"],
            ),
        };
        let metrics = Self {
            requests,
            health,
            facts: Facts::new(&make),
            attempts: Attempts {
                total: make.counters(
                    "witgate_attempts_total",
                    "Attempts that ended, by how: served, cancelled, hedge-lost, or the kind of failure.",
                    &["deployment", "outcome"],
                ),
                duration: make.histograms(
                    "witgate_attempt_duration_seconds",
                    "From an attempt's start to the end of its answer.",
                    REQUEST_SECONDS,
                    &["deployment"],
                ),
                first_token: make.histograms(
                    "witgate_attempt_first_token_seconds",
                    "From an attempt's start to the first token of its answer.",
                    FIRST_TOKEN_SECONDS,
                    &["deployment"],
                ),
                tokens: make.counters(
                    "witgate_tokens_total",
                    "Tokens as the upstreams count them, by direction: in, out, and of these cached and cache-write (parts \
                     of in) and reasoning (a part of out).",
                    &["deployment", "direction"],
                ),
                cost: make.amounts(
                    "witgate_cost_usd_total",
                    "Cost by the prices of the configuration or else of the catalogue.",
                    &["deployment"],
                ),
                in_flight: make.gauges("witgate_in_flight", "Attempts that are running now.", &["deployment"]),
            },
            policies: Policies {
                decision: make.histograms(
                    "witgate_policy_decision_seconds",
                    "One call of a policy's hook, with what the host does around it.",
                    DECISION_SECONDS,
                    &["policy", "hook"],
                ),
                failures: make.counters(
                    "witgate_policy_failures_total",
                    "Failed calls of a policy, by kind.",
                    &["policy", "kind"],
                ),
                rollbacks: make.counters(
                    "witgate_policy_rollbacks_total",
                    "Returns to an earlier revision: by the gateway because the policy failed too often (crash), or by \
                     the operator.",
                    &["policy", "by"],
                ),
                suspensions: make.counters(
                    "witgate_policy_suspensions_total",
                    "Times that a policy was taken out of service for a while because it failed too often.",
                    &["policy"],
                ),
                policy_reloads: make.counters(
                    "witgate_policy_reloads_total",
                    "Policy files that were put into service (ok) or not (refused).",
                    &["result"],
                ),
                config_reloads: make.counters(
                    "witgate_config_reloads_total",
                    "Configurations that were put into service (ok) or not (refused).",
                    &["result"],
                ),
                pulls: make.counters(
                    "witgate_policy_pulls_total",
                    "Looks at registries that policies come from: new (pulled and proven), unchanged, refused (no \
                     policy, too large, not as pinned or signed) or failed (the registry did not give it).",
                    &["result"],
                ),
                generation: make
                    .gauge("witgate_policy_generation", "Goes up by one with each swap of configuration or policies."),
                loaded: make.gauge("witgate_policies_loaded", "Policies in service."),
                instances: make.gauge(
                    "witgate_policy_instances",
                    "Instances of policies in memory, those of revisions that are going out of service included.",
                ),
                info: make.gauges(
                    "witgate_policy_info",
                    "Always 1: which revision of a policy is known, and its state.",
                    &["policy", "revision", "state"],
                ),
            },
            cache: CacheMetrics::new(&make),
            fleet_exchanges: make.counters(
                "witgate_fleet_cells_exchanges_total",
                "Rounds in which the cells that policies share with other gateways were exchanged (ok) or not (failed: \
                 Redis did not answer; each gateway goes on with its own).",
                &["result"],
            ),
            overload: Overload::new(&make),
            outcomes_dropped: make.counter(
                "witgate_observer_outcomes_dropped_total",
                "Outcomes that policies were not told because they were too slow to listen.",
            ),
            log_lines_dropped: make.counter(
                "witgate_log_lines_dropped_total",
                "Log lines that were dropped because standard error did not take them in time.",
            ),
            at_scrape: Mutex::new(()),
            registry: registry.clone(),
        };
        make.gauges("witgate_build_info", "Always 1: the version that runs.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        for result in RELOADS {
            metrics.policies.policy_reloads.with_label_values(&[result]);
            metrics.policies.config_reloads.with_label_values(&[result]);
        }
        for result in EXCHANGES {
            metrics.fleet_exchanges.with_label_values(&[result]);
        }
        for result in PULLS {
            metrics.policies.pulls.with_label_values(&[result]);
        }
        make.register(ProcessCollector::for_self());
        metrics
    }

    /// Handles of a route. Requests that find none have the empty name, which Prometheus takes as no label.
    pub fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics::new(name, &self.requests)
    }

    /// Handles of a deployment. The same id has the same counters, whatever the snapshot.
    pub fn deployment(&self, id: &str) -> DeploymentMetrics {
        DeploymentMetrics::new(id, &self.attempts, &self.health, self.overload("deployment"))
    }

    /// A provider was probed.
    pub fn probed(&self, provider: &str, result: &'static str) {
        self.health.probes.with_label_values(&[provider, result]).inc();
    }

    /// Handles of the queue before the `gateway` or before a `deployment`.
    pub fn overload(&self, queue: &'static str) -> OverloadMetrics {
        OverloadMetrics::new(queue, &self.overload)
    }

    /// Handles of the response cache.
    pub fn cache(&self) -> CacheMetrics {
        self.cache.clone()
    }

    /// A round of exchanging cells with other gateways ended: `ok` or `failed`.
    pub fn fleet_exchange(&self, result: &'static str) {
        self.fleet_exchanges.with_label_values(&[result]).inc();
    }

    /// Outcomes that no policy was told.
    pub fn outcomes_dropped(&self) -> IntCounter {
        self.outcomes_dropped.clone()
    }

    /// A policy file was taken (`ok`) or not (`refused`).
    pub fn policy_reload(&self, result: &'static str) {
        self.policies.policy_reloads.with_label_values(&[result]).inc();
    }

    /// An earlier revision of a policy is in service again.
    pub fn policy_rollback(&self, policy: &str, by: By) {
        self.policies.rollbacks.with_label_values(&[policy, by.label()]).inc();
    }

    /// A policy was suspended.
    pub fn policy_suspended(&self, policy: &str) {
        self.policies.suspensions.with_label_values(&[policy]).inc();
    }

    /// A configuration was taken (`ok`) or not (`refused`).
    pub fn config_reload(&self, result: &'static str) {
        self.policies.config_reloads.with_label_values(&[result]).inc();
    }

    /// A registry was asked; `result` is one of `new`, `unchanged`, `refused`, `failed`.
    pub fn policy_pull(&self, result: &'static str) {
        self.policies.pulls.with_label_values(&[result]).inc();
    }

    /// What is in service from now on.
    pub fn policies(&self, generation: u64, policies: &[PolicyStatus]) {
        let _alone = self.at_scrape.lock();
        let Policies { generation: current, loaded, info, .. } = &self.policies;
        current.set(i64::try_from(generation).unwrap_or(i64::MAX));
        info.reset();
        let mut serving = 0;
        for policy in policies {
            let revision = policy.revision.as_deref().unwrap_or_default();
            info.with_label_values(&[&*policy.name, revision, policy.state]).set(1);
            serving += i64::from(policy.state == "serving");
        }
        loaded.set(serving);
    }

    /// All metrics in Prometheus' text format. `fleet` is the one in service.
    pub fn encode(&self, fleet: &Fleet, standing: Standing) -> String {
        let _alone = self.at_scrape.lock();
        self.overload.show(fleet, standing);
        let in_flight = &self.attempts.in_flight;
        // Deployments that are configured no longer go away.
        in_flight.reset();
        self.health.breaker.reset();
        self.health.ready_keys.reset();
        let now = clock::monotonic();
        self.facts.show(fleet, now);
        for deployment in fleet.deployments() {
            let (id, live) = ([&*deployment.spec.id], &deployment.live);
            in_flight.with_label_values(&id).set(i64::from(live.in_flight()));
            self.health.breaker.with_label_values(&id).set(match live.breaker_state(now) {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            });
            self.health.ready_keys.with_label_values(&id).set(i64::from(live.ready_keys(now)));
        }
        let instances = i64::try_from(witgate_wasm::instances_in_memory()).unwrap_or(i64::MAX);
        self.policies.instances.set(instances);
        self.log_lines_dropped.inc_by(logging::lines_dropped().saturating_sub(self.log_lines_dropped.get()));
        let mut text = String::with_capacity(TEXT_ROOM);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }
}

impl witgate_wasm::Meter for Metrics {
    fn policy(&self, name: &str) -> Arc<dyn witgate_wasm::PolicyMeter> {
        Arc::new(handles::PolicyMetrics::new(name, &self.policies))
    }
}

/// Makes metrics and enters them into the registry.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.enter(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.enter(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn amounts(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.enter(CounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.enter(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.enter(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.enter(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.enter(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    #[expect(clippy::expect_used, reason = "names, labels and buckets are constants, and every test makes them all")]
    fn enter<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("a metric's name, labels or buckets are not valid");
        self.register(collector.clone());
        collector
    }

    #[expect(clippy::expect_used, reason = "names are constants, and every test enters them all")]
    fn register(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect("a metric's name is used twice");
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

const PULLS: [&str; 4] = ["new", "unchanged", "refused", "failed"];
const EXCHANGES: [&str; 2] = ["ok", "failed"];
const RELOADS: [&str; 2] = ["ok", "refused"];
/// A model on the same machine answers in milliseconds, a long stream runs for minutes.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
const FIRST_TOKEN_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0];
/// A policy in Rust decides in less than a microsecond, one in Python in tens; the deadline is milliseconds.
const DECISION_SECONDS: &[f64] =
    &[0.2e-6, 0.5e-6, 1e-6, 2e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3];
/// About what a gateway with some routes and deployments gives.
const TEXT_ROOM: usize = 64 << 10;
