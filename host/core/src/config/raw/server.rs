//! What is written about the gateway's own side: sockets, queues, logs, and who may ask.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::shapes::{DurationText, Named, SecretText, SizeText, TextOrList};

/// Sockets, limits and timeouts of the gateway's own side.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Server")]
pub(in crate::config) struct RawServer {
    /// Address and port. An address that others can reach needs `auth.keys`, or `allow_unauthenticated`.
    #[schemars(extend("default" = "127.0.0.1:4000"))]
    pub(in crate::config) listen: Option<String>,
    /// Says that a public address without keys is meant.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_unauthenticated: Option<bool>,
    /// Largest request body.
    #[schemars(extend("default" = "32MiB"))]
    pub(in crate::config) body_limit: Option<SizeText>,
    /// Largest body that is passed on as it comes: a form with a file in it, or anything that is passed through. Of a
    /// form, as much as `body_limit` is held until its field `model` has come.
    #[schemars(extend("default" = "512MiB"))]
    pub(in crate::config) upload_limit: Option<SizeText>,
    /// From the first byte of a request to the last of its answer. A client may set less for one request: headers
    /// `x-witgate-timeout`, and those that the OpenAI SDKs send.
    #[schemars(extend("default" = "10m"))]
    pub(in crate::config) request_timeout: Option<DurationText>,
    /// For reading a request's head and body; of a body that is passed on as it comes, for each piece of it.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) read_timeout: Option<DurationText>,
    /// After SIGTERM, how long requests are still taken while `/health/ready` says 503 already, so that load balancers
    /// see it. Ctrl-C does not wait.
    #[schemars(extend("default" = "3s"))]
    pub(in crate::config) drain_delay: Option<DurationText>,
    /// How long requests in flight may go on once no more are taken.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) shutdown_grace: Option<DurationText>,
    /// Whether another gateway may listen at the same address (SO_REUSEPORT), so that a new one takes over before the
    /// old one ends. Both must say so, and belong to the same user.
    #[schemars(extend("default" = false))]
    pub(in crate::config) reuse_port: Option<bool>,
    /// Longest time in which a client takes nothing of an answer that is there for it; then the connection is closed,
    /// and the deployment is free for others.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) write_timeout: Option<DurationText>,
    /// Requests at once, all in all; more wait in the queue. Without it: no limit.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_in_flight: Option<u64>,
    /// Where requests wait when `max_in_flight`, or the `max_concurrency` of a deployment, is reached.
    pub(in crate::config) queue: Option<RawQueue>,
    /// Memory for the bodies of all requests in flight; what would need more is refused. At least `body_limit`.
    #[schemars(extend("default" = "1GiB"))]
    pub(in crate::config) body_memory: Option<SizeText>,
    /// Worker threads. Without it: one for each core.
    #[schemars(range(min = 1, max = 1024))]
    pub(in crate::config) workers: Option<u64>,
    /// Attempts for one request, all in all: the first, retries, failovers and hedges.
    #[schemars(range(min = 1, max = 16), extend("default" = 4))]
    pub(in crate::config) max_attempts: Option<u64>,
    /// Pages in browsers that may ask. Without it: none.
    pub(in crate::config) cors: Option<RawCors>,
}

/// Pages in browsers that may ask (CORS). A page that may ask a gateway without `auth.keys` may use all its models.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cors")]
pub(in crate::config) struct RawCors {
    /// Their origins, each as a browser writes it (`https://app.example`, `http://localhost:3000`), or `"*"` for all.
    #[schemars(required)]
    pub(in crate::config) origins: Option<TextOrList>,
}

/// Where requests wait: one queue before the gateway, and one before each deployment that has a limit. More urgent
/// requests go first.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Queue")]
pub(in crate::config) struct RawQueue {
    /// Requests that wait in one queue; a more urgent one takes the place of a less urgent one when it is full.
    #[schemars(range(max = 1_000_000), extend("default" = 256))]
    pub(in crate::config) length: Option<u64>,
    /// How long a request waits.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) timeout: Option<DurationText>,
}

/// What is logged and how.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Log")]
pub(in crate::config) struct RawLog {
    /// `auto` is `pretty` on a terminal and `json` elsewhere.
    #[schemars(extend("default" = "auto"))]
    pub(in crate::config) format: Option<RawLogFormat>,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or `target=level` pairs with commas between them.
    #[schemars(extend("default" = "info"))]
    pub(in crate::config) filter: Option<String>,
    /// Whether each request gets a line.
    #[schemars(extend("default" = true))]
    pub(in crate::config) requests: Option<bool>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LogFormat", inline)]
pub(in crate::config) enum RawLogFormat {
    Auto,
    Json,
    Pretty,
}

/// Who may ask. Without keys everybody may.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Auth")]
pub(in crate::config) struct RawAuth {
    /// Keys that clients send as `Authorization: Bearer`.
    pub(in crate::config) keys: Option<Vec<RawKey>>,
}

/// One client key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Key")]
pub(in crate::config) struct RawKey {
    /// Shown in logs and metrics instead of the key; no two keys share one.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// What the client sends.
    #[schemars(required)]
    pub(in crate::config) key: Option<SecretText>,
    /// Whose key it is. Without it: the key's name.
    pub(in crate::config) tenant: Option<String>,
    /// Shown to policies that ask for them.
    pub(in crate::config) labels: Option<Named<String>>,
    /// Whether its holder may change things over the admin API: reload, roll back, pin, unload.
    #[schemars(extend("default" = false))]
    pub(in crate::config) admin: Option<bool>,
    /// How urgent its requests are; the header `x-witgate-priority` may say less.
    #[schemars(extend("default" = "normal"))]
    pub(in crate::config) priority: Option<RawPriority>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Priority", inline)]
pub(in crate::config) enum RawPriority {
    Low,
    Normal,
    High,
}
