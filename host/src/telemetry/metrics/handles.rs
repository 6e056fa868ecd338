//! Metrics with their labels already looked up: what the request path holds.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Counter, Histogram, HistogramVec, IntCounter, IntCounterVec};
use witgate_core::openai::Endpoint;
use witgate_core::outcome::Outcome;
use witgate_core::vocabulary::{Ending, FailureKind};
use witgate_wasm::{FailureCause, Hook, PolicyMeter};

use super::overload::OverloadMetrics;
use super::{Attempts, Health, Maker, Policies, Requests, seconds};
use crate::pipeline::bounds::Bound;
use crate::reload::standing::By;

/// What a request came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A model, at this endpoint.
    Endpoint(Endpoint),
    /// A path that is passed through.
    Passthrough,
}

impl Purpose {
    const COUNT: usize = Endpoint::ALL.len() + 1;

    /// The closed set of the label `endpoint`.
    const fn label(self) -> &'static str {
        match self {
            Self::Endpoint(endpoint) => endpoint.label(),
            Self::Passthrough => "passthrough",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Endpoint(endpoint) => endpoint.index() as usize,
            Self::Passthrough => Endpoint::ALL.len(),
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// A deployment answered, and the client has the whole answer.
    Served,
    /// The answer came from the cache.
    Cached,
    /// The client went away.
    Cancelled,
    /// The client was told an error; the label is one of a closed set.
    Failed(&'static str),
}

impl RequestOutcome {
    /// The label of `witgate_requests_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Failed(kind) => kind,
            Self::Served | Self::Cached | Self::Cancelled => self.class(),
        }
    }

    /// The label of `witgate_request_duration_seconds`: a histogram for each kind of error would be too many.
    const fn class(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Cached => "cached",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Served => 0,
            Self::Cached => 1,
            Self::Cancelled => 2,
            Self::Failed(_) => 3,
        }
    }
}

/// What an attempt beyond the first is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// A deployment again that was tried before.
    Retry,
    /// Another one.
    Failover,
    /// Another one, beside one that is silent.
    Hedge,
}

impl Repetition {
    const ALL: [Self; 3] = [Self::Retry, Self::Failover, Self::Hedge];

    const fn label(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Failover => "failover",
            Self::Hedge => "hedge",
        }
    }
}

/// Of one route.
pub struct RouteMetrics {
    repeated: [IntCounter; Repetition::ALL.len()],
    bounded: [IntCounter; Bound::ALL.len()],
    route: Box<str>,
    families: Requests,
    /// Series are made when they are first needed, so that endpoints which nobody uses do not show.
    endpoints: [[OnceLock<Ended>; 4]; Purpose::COUNT],
    first_token: OnceLock<Histogram>,
    cost: OnceLock<Counter>,
}

struct Ended {
    duration: Histogram,
    /// Errors are told apart by kind, and those are looked up: they are rare, or slow, or both.
    total: Option<IntCounter>,
}

impl RouteMetrics {
    pub(super) fn new(route: &str, families: &Requests) -> Self {
        Self {
            repeated: Repetition::ALL.map(|kind| families.repeated.with_label_values(&[route, kind.label()])),
            bounded: Bound::ALL.map(|bound| families.bounded.with_label_values(&[route, bound.label()])),
            route: route.into(),
            families: families.clone(),
            endpoints: Default::default(),
            first_token: OnceLock::new(),
            cost: OnceLock::new(),
        }
    }

    /// A request has cost so much, in USD.
    pub fn cost(&self, usd: f64) {
        // Series of routes whose prices nobody knows would show nothing but zeros.
        if usd > 0.0 {
            self.cost.get_or_init(|| self.families.cost.with_label_values(&[&*self.route])).inc_by(usd);
        }
    }

    /// A request is sent once more.
    pub fn repeated(&self, kind: Repetition) {
        self.repeated[kind as usize].inc();
    }

    /// The host did not allow one more attempt.
    pub fn bounded(&self, bound: Bound) {
        self.bounded[bound as usize].inc();
    }

    /// A stream broke on a route that goes on with them. Looked up each time: it is rare.
    pub fn stream_broke(&self, result: &'static str) {
        self.families.broken.with_label_values(&[&*self.route, result]).inc();
    }

    /// A request ended.
    pub fn ended(&self, purpose: Purpose, outcome: RequestOutcome, elapsed: Duration) {
        let total = || self.families.total.with_label_values(&[&*self.route, purpose.label(), outcome.label()]);
        let ended = self.endpoints[purpose.place()][outcome.place()].get_or_init(|| {
            let labels = [&*self.route, purpose.label(), outcome.class()];
            let known = !matches!(outcome, RequestOutcome::Failed(_));
            Ended { duration: self.families.duration.with_label_values(&labels), total: known.then(total) }
        });
        ended.duration.observe(seconds(elapsed));
        match &ended.total {
            Some(total) => total.inc(),
            None => total().inc(),
        }
    }

    /// The client is about to get the first token, or the whole answer.
    pub fn first_token(&self, elapsed: Duration) {
        let histogram = self.first_token.get_or_init(|| self.families.first_token.with_label_values(&[&*self.route]));
        histogram.observe(seconds(elapsed));
    }
}

/// Of one deployment.
pub struct DeploymentMetrics {
    id: Box<str>,
    total: IntCounterVec,
    served: IntCounter,
    duration: Histogram,
    first_token: Histogram,
    tokens_in: IntCounter,
    tokens_out: IntCounter,
    tokens_cached: IntCounter,
    tokens_cache_write: IntCounter,
    tokens_reasoning: IntCounter,
    cost: Counter,
    opened: IntCounter,
    failures: [OnceLock<IntCounter>; FailureKind::COUNT],
    /// Of the queue before it.
    pub queue: OverloadMetrics,
}

impl DeploymentMetrics {
    pub(super) fn new(id: &str, attempts: &Attempts, health: &Health, queue: OverloadMetrics) -> Self {
        let tokens = |direction| attempts.tokens.with_label_values(&[id, direction]);
        Self {
            id: id.into(),
            total: attempts.total.clone(),
            served: attempts.total.with_label_values(&[id, Ending::Served.name()]),
            duration: attempts.duration.with_label_values(&[id]),
            first_token: attempts.first_token.with_label_values(&[id]),
            tokens_in: tokens("in"),
            tokens_out: tokens("out"),
            tokens_cached: tokens("cached"),
            tokens_cache_write: tokens("cache-write"),
            tokens_reasoning: tokens("reasoning"),
            cost: attempts.cost.with_label_values(&[id]),
            opened: health.opened.with_label_values(&[id]),
            failures: std::array::from_fn(|_| OnceLock::new()),
            queue,
        }
    }

    /// The breaker opened.
    pub fn breaker_opened(&self) {
        self.opened.inc();
    }

    /// An attempt ended.
    pub fn record(&self, outcome: &Outcome) {
        let total = |label| self.total.with_label_values(&[&*self.id, label]);
        match (outcome.failure, outcome.ending) {
            // What failed is not billed, and how long it took says nothing about answers.
            (Some(kind), _) => return self.failures[kind as usize].get_or_init(|| total(kind.name())).inc(),
            (None, Ending::Served) => self.served.inc(),
            (None, ending @ (Ending::Failed | Ending::Cancelled | Ending::HedgeLost)) => total(ending.name()).inc(),
        }
        if let Some(ttft) = outcome.ttft {
            self.first_token.observe(seconds(ttft));
        }
        if outcome.ending == Ending::Served {
            self.duration.observe(seconds(outcome.latency));
        }
        if outcome.was_answered() {
            self.tokens_in.inc_by(outcome.tokens_in.into());
            self.tokens_out.inc_by(outcome.tokens_out.into());
            self.tokens_cached.inc_by(outcome.cached_tokens.into());
            self.tokens_cache_write.inc_by(outcome.cache_write_tokens.into());
            self.tokens_reasoning.inc_by(outcome.reasoning_tokens.into());
            self.cost.inc_by(outcome.usd.max(0.0));
        }
    }
}

/// Of one policy.
pub(super) struct PolicyMetrics {
    policy: Box<str>,
    decision: HistogramVec,
    hooks: [OnceLock<Histogram>; Hook::ALL.len()],
    failures: [IntCounter; FailureCause::LABELS.len()],
}

impl PolicyMetrics {
    pub(super) fn new(policy: &str, policies: &Policies) -> Self {
        // All from the start: an alert needs the zero before the first one.
        for by in By::ALL {
            policies.rollbacks.with_label_values(&[policy, by.label()]);
        }
        policies.suspensions.with_label_values(&[policy]);
        Self {
            policy: policy.into(),
            decision: policies.decision.clone(),
            hooks: Default::default(),
            failures: FailureCause::LABELS.map(|kind| policies.failures.with_label_values(&[policy, kind])),
        }
    }
}

impl PolicyMeter for PolicyMetrics {
    fn called(&self, hook: Hook, elapsed: Duration, failure: Option<&FailureCause>) {
        let histogram =
            self.hooks[hook as usize].get_or_init(|| self.decision.with_label_values(&[&*self.policy, hook.name()]));
        let refused = matches!(failure, Some(FailureCause::Suspended { .. } | FailureCause::Unavailable(_)));
        if !refused {
            histogram.observe(seconds(elapsed));
        }
        if let Some(cause) = failure {
            self.failures[cause.index()].inc();
        }
    }
}

/// Of the response cache.
#[derive(Clone)]
pub struct CacheMetrics {
    /// Answers found in memory.
    pub memory_hits: IntCounter,
    /// Answers not found in memory.
    pub memory_misses: IntCounter,
    /// Requests on cached routes that may not be answered from the cache.
    pub bypassed: IntCounter,
    /// Answers found in Redis.
    pub redis_hits: IntCounter,
    /// Answers that Redis does not have.
    pub redis_misses: IntCounter,
    /// Redis was to be asked, but it is down or did not answer in time.
    pub redis_unavailable: IntCounter,
    /// How old the answers were that were served.
    pub age: Histogram,
    /// Answers that were put in.
    pub stored: IntCounter,
    /// Answers above the size limit.
    pub too_large: IntCounter,
    /// Answers that did not end as one would keep them.
    pub not_kept: IntCounter,
    /// Answers that are in memory only: Redis is down, or too many are on their way to it.
    pub not_shared: IntCounter,
    /// Commands that Redis failed or did not answer.
    pub redis_errors: IntCounter,
    /// Values from Redis that were not as they were written.
    pub corrupt: IntCounter,
}

impl CacheMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let lookups = make.counters(
            "witgate_cache_lookups_total",
            "Questions on cached routes, by tier and result. Each is looked up in memory first, and in Redis where \
             memory has no answer; bypass: the request must not be answered from the cache.",
            &["tier", "result"],
        );
        let stores = make.counters(
            "witgate_cache_stores_total",
            "Answers to questions that the cache could not answer: stored, too-large, not-kept (failed, cut, or ended \
             by a limit or a filter); not-shared: stored, but not sent to Redis.",
            &["result"],
        );
        let errors = make.counters(
            "witgate_cache_errors_total",
            "Failures of the shared tier: redis (a command failed or timed out), corrupt (a value was not as it was \
             written). Each only costs a hit.",
            &["kind"],
        );
        Self {
            memory_hits: lookups.with_label_values(&["memory", "hit"]),
            memory_misses: lookups.with_label_values(&["memory", "miss"]),
            bypassed: lookups.with_label_values(&["memory", "bypass"]),
            redis_hits: lookups.with_label_values(&["redis", "hit"]),
            redis_misses: lookups.with_label_values(&["redis", "miss"]),
            redis_unavailable: lookups.with_label_values(&["redis", "unavailable"]),
            age: make.histogram(
                "witgate_cache_age_seconds",
                "Age of the answers that were served from the cache.",
                AGE_SECONDS,
            ),
            stored: stores.with_label_values(&["stored"]),
            too_large: stores.with_label_values(&["too-large"]),
            not_kept: stores.with_label_values(&["not-kept"]),
            not_shared: stores.with_label_values(&["not-shared"]),
            redis_errors: errors.with_label_values(&["redis"]),
            corrupt: errors.with_label_values(&["corrupt"]),
        }
    }
}

const AGE_SECONDS: &[f64] = &[1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 4.0 * 3600.0, 24.0 * 3600.0, 7.0 * 24.0 * 3600.0];
