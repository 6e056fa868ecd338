//! The files as they are written: one struct for each section, one field for each key.
//!
//! The doc comments are the reference (`docs/configuration.md` and the JSON Schema are generated from them), and so
//! are the stated defaults, which a test compares with the resolved ones. Every field is optional here; a key that
//! the schema requires is reported by the validator, and what follows from a value that is wrong is left out.

pub(super) mod batch;
pub(super) mod deployments;
pub(super) mod health;
pub(super) mod passthrough;
pub(super) mod policies;
pub(super) mod providers;
pub(super) mod server;

use schemars::JsonSchema;
use serde::Deserialize;

use self::deployments::{RawDeployment, RawEntry};
use self::health::{RawBreaker, RawRetries};
use self::passthrough::RawPassthrough;
use self::policies::RawPolicies;
use self::providers::RawProvider;
use self::server::{RawAuth, RawLog, RawServer};
use super::shapes::{CacheText, DurationText, Named, SecretText, SizeText, StageText, TextOrList};

/// Everything is optional, but at least one provider, one deployment and one route must result.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Configuration")]
pub(super) struct Raw {
    /// Sockets, limits and timeouts of the gateway's own side.
    pub(super) server: Option<RawServer>,
    /// What is logged and how.
    pub(super) log: Option<RawLog>,
    /// Who may ask. Without keys everybody may.
    pub(super) auth: Option<RawAuth>,
    /// Services that the gateway calls, by a name of your choice.
    pub(super) providers: Option<Named<RawProvider>>,
    /// Models at providers, by an id of your choice, usually `model@provider`.
    pub(super) deployments: Option<Named<RawDeployment>>,
    /// What is known of models besides the built-in catalogue, or instead of what it says, by `provider/model` as
    /// `witgate models` shows them; for a provider that the catalogue does not know, its name in `providers`.
    pub(super) catalogue: Option<Named<RawEntry>>,
    /// Who may be chosen for which model name, and by which policies; by a name of your choice.
    pub(super) routes: Option<Named<RawRoute>>,
    /// Other names for models: what the client says, and the name to use instead. Looked up once.
    pub(super) aliases: Option<Named<String>>,
    /// Where requests go for paths that the gateway has no endpoint for. Without it: nowhere, they are not found.
    pub(super) passthrough: Option<RawPassthrough>,
    /// How much more than once requests may be sent, all in all.
    pub(super) retries: Option<RawRetries>,
    /// When deployments that fail are left alone, and when they are tried again.
    pub(super) breaker: Option<RawBreaker>,
    /// Where policies come from, and what each may do.
    pub(super) policies: Option<RawPolicies>,
    /// The response cache.
    pub(super) cache: Option<RawCache>,
}

/// Who may be chosen for which model name, and by which policies.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub(super) struct RawRoute {
    /// Model names that lead here, exact or with `*`. Without it: the route's own name, unless the route has
    /// `capabilities` or is the `default`.
    pub(super) models: Option<TextOrList>,
    /// Capabilities that a client may ask for instead of a model; only deployments that declare the one that was
    /// asked for are then candidates. `auto` leads here with all of them.
    pub(super) capabilities: Option<Vec<String>>,
    /// Ids of the deployments that may be chosen, or patterns over ids with `*`, in order of preference.
    #[schemars(required)]
    pub(super) deployments: Option<TextOrList>,
    /// Routes whose deployments may be used after a failure, in order.
    pub(super) fallbacks: Option<Vec<String>>,
    /// The chain: filters, scorers and routers, in order.
    #[schemars(extend("default" = super::DEFAULT_CHAIN))]
    pub(super) policies: Option<Vec<StageText>>,
    /// When the chain fails: `in-order` lets the built-in policy of that name decide, `skip` leaves out the failed
    /// stage, `refuse` answers with status 503.
    #[schemars(extend("default" = "in-order"))]
    pub(super) on_policy_failure: Option<RawFailureMode>,
    /// Whether answers are cached, and for how long. Without it: as `cache.default`.
    pub(super) cache: Option<CacheText>,
    /// Whether `model` in answers and events is the name that the client asked for, instead of what the upstream says.
    /// Which deployment answered is in the header `x-witgate-deployment` either way.
    #[schemars(extend("default" = false))]
    pub(super) rewrite_model: Option<bool>,
    /// Instead of `server.request_timeout`.
    pub(super) timeout: Option<DurationText>,
    /// Instead of the provider's `first_byte_timeout`.
    pub(super) first_byte_timeout: Option<DurationText>,
    /// Whether a request may be sent again that an upstream may have carried out already: the connection broke, the
    /// time was over, 5xx. Completions and embeddings change nothing upstream, so that a repetition costs no more than
    /// the tokens of the first. `false` also switches hedging off: for upstreams that act, or bill by the call.
    #[schemars(extend("default" = true))]
    pub(super) idempotent: Option<bool>,
    /// Whether a stream that breaks after the client has begun to read it is gone on with, where the policies name a
    /// deployment for that: the text so far is sent along, and the client reads one answer. Only deployments that can go
    /// on are offered (`continuation`). Not for answers with tools, a format, several choices, log probabilities, audio
    /// or reasoning; the header `x-witgate-resume` says so. What was sent is kept in memory, up to 1MiB of text and the
    /// request's body.
    #[schemars(extend("default" = false))]
    pub(super) resume: Option<bool>,
    /// Instead of the provider's `first_token_timeout`. Without it: the route's `first_byte_timeout`, else the
    /// provider's.
    pub(super) first_token_timeout: Option<DurationText>,
    /// Instead of the provider's `idle_timeout`.
    pub(super) idle_timeout: Option<DurationText>,
    /// Whether names that nothing else matches lead here; one route at most.
    #[schemars(extend("default" = false))]
    pub(super) default: Option<bool>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "FailureMode", inline)]
pub(super) enum RawFailureMode {
    InOrder,
    Skip,
    Refuse,
}

/// The response cache.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cache")]
pub(super) struct RawCache {
    /// Memory for answers.
    #[schemars(extend("default" = "64MiB"))]
    pub(super) memory: Option<SizeText>,
    /// Answers above this are not stored.
    #[schemars(extend("default" = "1MiB"))]
    pub(super) largest: Option<SizeText>,
    /// For routes that do not say.
    #[schemars(extend("default" = "off"))]
    pub(super) default: Option<CacheText>,
    /// A shared tier behind the memory. Policies that share cells with other gateways do so through it as well.
    pub(super) redis: Option<RawRedis>,
}

/// A Redis server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redis")]
pub(super) struct RawRedis {
    /// `redis://` or `rediss://`, with user, password and database if need be.
    #[schemars(required)]
    pub(super) url: Option<SecretText>,
    /// For one command.
    #[schemars(extend("default" = "50ms"))]
    pub(super) timeout: Option<DurationText>,
    /// Before every key.
    #[schemars(extend("default" = "witgate:"))]
    pub(super) prefix: Option<String>,
}
