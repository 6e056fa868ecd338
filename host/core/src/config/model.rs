//! The resolved configuration: values that cannot be invalid, with every reference looked up.
//!
//! [`super::load`] makes it from files; nothing else constructs one outside tests.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Secret, Supply};
use crate::deployment::Deployment;

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
    /// Where policies come from, and what each may do.
    pub policies: Policies,
    /// The response cache.
    pub cache: Cache,
}

impl Config {
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
    /// From the first byte of the request to the last of the answer. Default 10 min.
    pub request_timeout: Duration,
    /// For reading the request's head and body. Default 30 s.
    pub read_timeout: Duration,
    /// How long requests in flight may go on after SIGTERM. Default 30 s.
    pub shutdown_grace: Duration,
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
}

/// One service that we call.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its key in the file.
    pub name: Arc<str>,
    /// Its API's shape.
    pub dialect: Dialect,
    /// `http` or `https`, without a trailing slash, with the path that the endpoints are under (usually `/v1`).
    /// Not used by the demo dialect; default of Ollama `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// Sent as `Authorization: Bearer`.
    pub api_key: Option<Secret>,
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// To the first byte of the answer (of a stream: the first event). Default 5 min: a local model may have to load.
    pub first_byte_timeout: Duration,
    /// Longest silence within an answer. Default 60 s.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept. Default 4 s: llama.cpp closes at 5 s.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept. Default 256.
    pub pool_max_idle: usize,
    /// How the demo provider behaves; only for that dialect.
    pub demo: Option<Demo>,
}

/// An API's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI and everything compatible: vLLM, llama.cpp, llama-cpp-python, LM Studio, ...
    OpenAi,
    /// Ollama's OpenAI-compatible `/v1`.
    Ollama,
    /// Built in: deterministic text, no network.
    Demo,
}

/// How the demo provider behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Demo {
    /// Before the first byte. Default 0.
    pub first_token_delay: Duration,
    /// Between tokens. Default 0.
    pub token_delay: Duration,
    /// Share of requests that fail with 500, 0 to 1, spread evenly (every n-th). Default 0.
    pub failure_rate: f64,
    /// What it says; default a sentence with the model's name.
    pub reply: Option<String>,
}

/// A deployment and where it is.
#[derive(Clone, Debug)]
pub struct ConfiguredDeployment {
    /// What policies see.
    pub deployment: Arc<Deployment>,
    /// Place in [`Config::providers`].
    pub provider: usize,
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
    /// Overrides [`Server::request_timeout`].
    pub timeout: Option<Duration>,
    /// Overrides [`Provider::first_byte_timeout`].
    pub first_byte_timeout: Option<Duration>,
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

    /// The pattern, if it is one.
    pub fn as_glob(&self) -> Option<&Arc<str>> {
        match self {
            Self::Exact(_) => None,
            Self::Glob(pattern) => Some(pattern),
        }
    }
}

/// One policy in a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// File name without `.wasm`.
    pub policy: Arc<str>,
    /// A JSON object.
    pub settings: Arc<serde_json::Value>,
    /// For scorers: its share in the mean. Default 1.
    pub weight: f64,
    /// Left out while there is no such policy, instead of being an error. Default false.
    pub optional: bool,
}

/// What happens to a request whose policy chain fails (trap, deadline, declared error, impossible verdict).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FailureMode {
    /// The shipped `in-order` policy decides; if that fails too, configured order. The default.
    #[default]
    InOrder,
    /// The failed stage is skipped and the rest of the chain decides; if none does, as `InOrder`.
    Skip,
    /// The client gets a 503 that names the policy.
    Refuse,
}

/// Whether a route's answers are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteCache {
    /// Not.
    Off,
    /// For this long.
    For(Duration),
}

/// Where policies come from, and what each may do.
#[derive(Clone, Debug)]
pub struct Policies {
    /// The watched folder. Default `policies`.
    pub directory: PathBuf,
    /// How often it is looked through besides file events. Default 5 s.
    pub poll: Duration,
    /// Where compiled code is kept; `None` = not at all. Default: a folder in the user's cache directory.
    pub code_cache: Option<PathBuf>,
    /// Where the last good copies of pulled policies are kept; `None` = not at all. Default: a folder in the user's
    /// cache directory.
    pub copies: Option<PathBuf>,
    /// Where policies come from, and what proves them.
    pub supply: Arc<Supply>,
    /// For policies that are not named in `rules`.
    pub default_rules: PolicyRules,
    /// By policy name.
    pub rules: Vec<(Arc<str>, PolicyRules)>,
}

impl Policies {
    /// The rules for one policy.
    pub fn rules_for(&self, policy: &str) -> &PolicyRules {
        self.rules.iter().find(|(name, _)| &**name == policy).map_or(&self.default_rules, |(_, rules)| rules)
    }
}

/// Limits and grants of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRules {
    /// For one call. Default 5 ms; at least 2 ms, because the clock that traps ticks once a millisecond.
    pub deadline: Duration,
    /// Linear memory of one instance, bytes. Default 64 MiB.
    pub memory: usize,
    /// Calls after which an instance is replaced. Default 1,000,000.
    pub calls: NonZeroU32,
    /// May read request headers. Default false.
    pub grant_headers: bool,
    /// May read prompts. Default false.
    pub grant_prompt: bool,
    /// Log lines a second. Default 100.
    pub log_lines: u32,
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
