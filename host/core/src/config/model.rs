//! The resolved configuration: values that cannot be invalid, with every reference looked up.
//!
//! [`super::load`] makes it from files; nothing else constructs one outside tests.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Priority;
use crate::breaker::BreakerRules;
use crate::config::Secret;
use crate::deployment::Deployment;
use crate::resume::Continuation;

mod policies;
mod provider;

pub use policies::{CrashRules, FailureMode, Isolation, Policies, PolicyRules, Stage};
pub use provider::{Demo, Dialect, EmbeddingBatch, Facts, KeyHeader, Probe, Provider};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sockets, limits and timeouts of our own side.
    pub server: Server,
    /// What is logged and how.
    pub log: Log,
    /// Who may ask.
    pub auth: Auth,
    /// Services that we call, in the order of the file.
    pub providers: Vec<Provider>,
    /// What may be chosen, in the order of the file: the catalogue that policies see. Never empty.
    pub deployments: Vec<ConfiguredDeployment>,
    /// Policy chains and who may be chosen, in the order of the file. Never empty.
    pub routes: Vec<Route>,
    /// Client's model name to another model name; looked up once, before routing.
    pub aliases: Vec<(Arc<str>, Arc<str>)>,
    /// Place in `routes` of the route for names that nothing else matches.
    pub default_route: Option<usize>,
    /// Where requests go for paths that we have no endpoint for.
    pub passthrough: Passthrough,
    /// How much more than once requests may be sent.
    pub retries: Retries,
    /// When deployments that fail are left alone.
    pub breaker: BreakerRules,
    /// Where policies come from, and what each may do.
    pub policies: Policies,
    /// The response cache.
    pub cache: Cache,
}

impl Config {
    /// The provider of a deployment, by the deployment's number.
    pub fn provider_of(&self, deployment: u32) -> Option<&Provider> {
        self.providers.get(self.deployments.get(deployment as usize)?.provider)
    }

    /// Whether others can reach us and nobody has to show a key, although the operator did not say that this is
    /// meant. Never true of what [`super::load`] gives; to be asked again when the address is overridden.
    pub fn exposed_without_keys(&self) -> bool {
        let public = !self.server.listen.ip().to_canonical().is_loopback();
        public && self.auth.keys.is_empty() && !self.server.allow_unauthenticated
    }
}

/// Our own side.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where we listen. Default 127.0.0.1:4000.
    pub listen: SocketAddr,
    /// Said by the operator: a public address without keys is meant. Default false.
    pub allow_unauthenticated: bool,
    /// Largest request body, bytes. Default 32 MiB.
    pub body_limit: usize,
    /// Largest body that is passed on as it comes, bytes. Default 512 MiB.
    pub upload_limit: u64,
    /// From the first byte of the request to the last of the answer. Default 10 min.
    pub request_timeout: Duration,
    /// For reading the request's head and body. Default 30 s.
    pub read_timeout: Duration,
    /// After SIGTERM, from "not ready" to accepting no more. Default 3 s.
    pub drain_delay: Duration,
    /// How long requests in flight may go on once no more are accepted. Default 30 s.
    pub shutdown_grace: Duration,
    /// SO_REUSEPORT. Default false.
    pub reuse_port: bool,
    /// Longest time in which a client takes nothing of its answer. Default 60 s.
    pub write_timeout: Duration,
    /// Requests at once, all in all. Default: no limit.
    pub max_in_flight: Option<NonZeroU32>,
    /// Where requests wait.
    pub queue: Queue,
    /// For the bodies of all requests in flight, bytes. Default 1 GiB.
    pub body_memory: usize,
    /// Worker threads. Default: one for each core.
    pub workers: Option<NonZeroUsize>,
    /// Attempts for one request, all in all. Default 4.
    pub max_attempts: NonZeroU32,
    /// Pages in browsers that may ask. Default: none.
    pub cors: Option<Cors>,
}

/// Pages in browsers that may ask (CORS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Every page.
    Any,
    /// Pages of these origins, such as `https://app.example`; never empty.
    Origins(Vec<Box<str>>),
}

/// Where requests wait when a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests in one queue. Default 256.
    pub length: u32,
    /// How long one waits. Default 30 s.
    pub timeout: Duration,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Default: JSON unless standard error is a terminal.
    pub format: LogFormat,
    /// As in `RUST_LOG`: a level, or `target=level` pairs. Default `info`.
    pub filter: String,
    /// One line for each request. Default true.
    pub requests: bool,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Who may ask. Without keys everybody may, as the anonymous tenant.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// Keys, in the order of the file.
    pub keys: Vec<ApiKey>,
}

/// One client key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Shown in logs instead of the key.
    pub name: Arc<str>,
    /// What the client sends.
    pub key: Secret,
    /// Whose it is. Default: the key's name.
    pub tenant: Arc<str>,
    /// For policies (`names.tenant-label`).
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// May change things over the admin API. Default false.
    pub admin: bool,
    /// The highest that its requests may have, and what they have when they do not say. Default normal.
    pub priority: Priority,
}

/// Where requests go for paths that we have no endpoint for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passthrough {
    /// Place in [`Config::providers`]; `None` = such paths are not found.
    pub default: Option<usize>,
    /// Beginnings of paths, the longest first, with places in [`Config::providers`].
    pub paths: Vec<(Box<str>, usize)>,
}

impl Passthrough {
    /// The provider for a path; a beginning counts up to the end of one of its segments.
    pub fn provider_for(&self, path: &str) -> Option<usize> {
        let begins =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.paths.iter().find(|(prefix, _)| begins(prefix)).map(|(_, place)| *place).or(self.default)
    }

    /// All providers that are named.
    pub fn providers(&self) -> impl Iterator<Item = usize> {
        self.paths.iter().map(|(_, place)| *place).chain(self.default)
    }
}

/// How much more than once the requests of a route may be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retries {
    /// Of the requests. Default 0.2.
    pub share: f64,
    /// Besides. Default 10.
    pub per_second: f64,
    /// How long a request counts. Default 10 s.
    pub window: Duration,
    /// Of requests and tokens, for hedges. Default 0.02.
    pub hedge_share: f64,
}

/// A deployment and where it is.
#[derive(Clone, Debug)]
pub struct ConfiguredDeployment {
    /// What policies see.
    pub deployment: Arc<Deployment>,
    /// Place in [`Config::providers`].
    pub provider: usize,
    /// How it goes on with an answer that another one began. Default: as its provider.
    pub continuation: Continuation,
}

/// A policy chain over some deployments.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its key in the file.
    pub name: Arc<str>,
    /// What a client must ask for; empty when only `capability` or the default leads here.
    pub models: Vec<ModelPattern>,
    /// Client names that lead here because they are a capability's name: the candidates are then narrowed to the
    /// deployments that declare it. `auto` stands for any capability.
    pub capabilities: Vec<Arc<str>>,
    /// Places in [`Config::deployments`], in configured order, none twice, never empty.
    pub deployments: Vec<u32>,
    /// Routes whose deployments are offered after a failure, in order; places in [`Config::routes`]; no cycles.
    pub fallbacks: Vec<usize>,
    /// Filters, scorers and routers, in order. Never empty.
    pub chain: Vec<Stage>,
    /// What happens when the chain fails.
    pub on_policy_failure: FailureMode,
    /// Whether answers are cached, and for how long.
    pub cache: RouteCache,
    /// Whether answers name the model as the client does. Default false.
    pub rewrite_model: bool,
    /// Overrides [`Server::request_timeout`].
    pub timeout: Option<Duration>,
    /// Overrides [`Provider::first_byte_timeout`].
    pub first_byte_timeout: Option<Duration>,
    /// Whether a request may be sent again that may have been carried out. Default true.
    pub idempotent: bool,
    /// Whether a stream that broke is gone on with. Default false.
    pub resume: bool,
    /// Overrides [`Provider::first_token_timeout`].
    pub first_token_timeout: Option<Duration>,
    /// Overrides [`Provider::idle_timeout`].
    pub idle_timeout: Option<Duration>,
}

/// A client's model name, exact or with `*` (any characters, also none, also `/`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModelPattern {
    /// This name.
    Exact(Arc<str>),
    /// With at least one `*`, and no two in a row.
    Glob(Arc<str>),
}

impl ModelPattern {
    /// The name, if it is one.
    pub fn as_exact(&self) -> Option<&Arc<str>> {
        match self {
            Self::Exact(name) => Some(name),
            Self::Glob(_) => None,
        }
    }

    /// Whether it takes this name.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => **own == *name,
            Self::Glob(pattern) => crate::routes::glob::matches(pattern, name),
        }
    }

    /// The pattern, if it is one.
    pub fn as_glob(&self) -> Option<&Arc<str>> {
        match self {
            Self::Exact(_) => None,
            Self::Glob(pattern) => Some(pattern),
        }
    }
}

/// Whether a route's answers are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteCache {
    /// Not.
    Off,
    /// For this long.
    For(Duration),
}

/// The response cache.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Bytes of answers kept in memory. Default 64 MiB.
    pub memory: u64,
    /// Answers above this are not stored, bytes. Default 1 MiB.
    pub largest: usize,
    /// For routes that say nothing. Default `Off`.
    pub default: RouteCache,
    /// Shared tier.
    pub redis: Option<Redis>,
}

/// A Redis server.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `redis://` or `rediss://`; a secret because it may hold a password.
    pub url: Secret,
    /// For one command. Default 50 ms.
    pub timeout: Duration,
    /// Before every key. Default `witgate:`.
    pub prefix: String,
}
