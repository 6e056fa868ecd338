//! What is written about failing deployments: retries, breakers, probes.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::shapes::DurationText;

/// How much more than once requests may be sent, all in all; counted for each route by itself. A failover that only
/// leaves a deployment whose breaker is open for one whose breaker is closed costs nothing.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Retries")]
pub(in crate::config) struct RawRetries {
    /// Retries, failovers and hedges, as a share of the requests.
    #[schemars(range(min = 0, max = 10), extend("default" = 0.2))]
    pub(in crate::config) share: Option<f64>,
    /// And so many a second besides, so that a route with little traffic may retry at all.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 10.0))]
    pub(in crate::config) per_second: Option<f64>,
    /// How long a request counts, and a second: what a window brings is the most that is saved up.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) window: Option<DurationText>,
    /// Hedges, as a share of the requests, and of their estimated tokens, of the last minute. One hedge a minute is
    /// always allowed, unless the share is 0.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.02))]
    pub(in crate::config) hedge_share: Option<f64>,
}

/// When a deployment's breaker opens and closes. Its state is a signal; the policy `health` leaves out who is open.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Breaker")]
pub(in crate::config) struct RawBreaker {
    /// Failures in a row that open it. Rate limits and the client's own errors do not count.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 5))]
    pub(in crate::config) consecutive_failures: Option<u64>,
    /// A share of successes below this opens it; rate limits count as failures here.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.8))]
    pub(in crate::config) success_rate: Option<f64>,
    /// Attempts within the window from which on the share counts.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 20))]
    pub(in crate::config) min_requests: Option<u64>,
    /// How far back the share looks; three times as far where there are fewer attempts than `min_requests`.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) window: Option<DurationText>,
    /// How long it stays open the first time; twice as long the second time, three times as long the third.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) open: Option<DurationText>,
    /// But not longer than this.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) longest_open: Option<DurationText>,
    /// Requests at a time that may try a deployment whose breaker is half-open.
    #[schemars(range(min = 1, max = 1000), extend("default" = 1))]
    pub(in crate::config) trials: Option<u64>,
    /// Trials that must succeed one after the other to close it.
    #[schemars(range(min = 1, max = 1000), extend("default" = 3))]
    pub(in crate::config) successes: Option<u64>,
    /// How long a deployment that has come back gets less than its share.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) slow_start: Option<DurationText>,
}

/// Questions to a provider whose deployments are down, idle, or so slow or faulty that routers keep away, which cost
/// nothing: `/health`, the list of models, for Ollama `/api/tags`, for the preset `llama-cpp` `/slots`. A success lets a
/// request try early; failures keep a breaker open.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Probe")]
pub(in crate::config) struct RawProbe {
    /// Whether the provider is probed.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enabled: Option<bool>,
    /// What is asked for, from the root of the server. Without it: what the dialect has.
    pub(in crate::config) path: Option<String>,
    /// From one question to the next while a deployment is down, and silence after which one is asked that routers keep
    /// away from. Where a request finds that too early, the next comes after twice as long.
    #[schemars(extend("default" = "3s"))]
    pub(in crate::config) interval: Option<DurationText>,
    /// Silence after which an idle deployment is asked.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) idle: Option<DurationText>,
    /// For the whole answer.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) timeout: Option<DurationText>,
}

/// Questions to a provider about itself, which cost it next to nothing: `/metrics`, `/slots` and `/props`, for Ollama
/// `/api/ps`. What it does not tell is said in the log once, and leaves its signals neutral.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Facts")]
pub(in crate::config) struct RawFacts {
    /// Whether the provider is asked. Without it: a provider at an `http://` address of the dialect `openai` or `ollama`
    /// is, for that is a server of one's own.
    pub(in crate::config) enabled: Option<bool>,
    /// From one question to the next while it has requests, or had one in the last minute. What was said counts for three
    /// times as long.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) interval: Option<DurationText>,
    /// The same while it has none.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) idle: Option<DurationText>,
    /// For all answers together.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) timeout: Option<DurationText>,
}
