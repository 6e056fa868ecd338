//! The resolved configuration: values that cannot be invalid, with every reference looked up.
//!
//! [`super::load`] makes it from files; nothing else constructs one outside tests.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Priority;
use crate::breaker::BreakerRules;
use crate::config::{Secret, Supply};
use crate::deployment::Deployment;
use crate::dialect::{OnLoss, OutputLimit, Speech};
use crate::openai::Endpoint;
use crate::resume::Continuation;

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

/// One service that we call.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its key in the file.
    pub name: Arc<str>,
    /// Its API's shape.
    pub dialect: Dialect,
    /// `http` or `https`, without a trailing slash, with the path that the endpoints are under (usually `/v1`).
    /// Not used by the demo dialect; default of Ollama `http://127.0.0.1:11434/v1`, of Anthropic
    /// `https://api.anthropic.com/v1`.
    pub base_url: String,
    /// Sent in the header that `key_header` says, in turn; empty when the provider needs none.
    pub api_keys: Vec<Secret>,
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// To the head of the answer. Default 5 min: a local model may have to load.
    pub first_byte_timeout: Duration,
    /// To the first event of a stream. Default as `first_byte_timeout`.
    pub first_token_timeout: Duration,
    /// Longest silence within an answer. Default 60 s.
    pub idle_timeout: Duration,
    /// Longest time without a whole event, or without the rest of another answer, although bytes come. Default 5 min.
    pub keep_alive_timeout: Duration,
    /// How long an unused connection is kept. Default 4 s: llama.cpp closes at 5 s.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept. Default 256.
    pub pool_max_idle: usize,
    /// How the key is sent. Default: by dialect.
    pub key_header: KeyHeader,
    /// Endpoints that the service is known not to have; requests for them are not sent.
    pub lacks: &'static [Endpoint],
    /// Whether it has the Responses API; where it has not, that is translated. Default: as the preset says.
    pub responses: bool,
    /// Whether a stream has its usage unasked, so that a translated request does not ask for it. Default: as the preset
    /// says, or as Mistral where the address is Mistral's.
    pub usage_unasked: bool,
    /// Its name in the catalogue; its own where the catalogue does not know it. Default: by preset or address.
    pub catalogue: Arc<str>,
    /// Whether it refuses a request whose prompt and whose largest answer do not fit the window together. Default: by
    /// preset or address.
    pub answer_in_window: bool,
    /// What is done about what its dialect cannot say. Default: demands are refused, hints are left out.
    pub on_loss: OnLoss,
    /// How its models go on with an answer that another one began. Default: by dialect.
    pub continuation: Continuation,
    /// What it calls the longest answer, where a request is made for it. Default: `max_completion_tokens` at OpenAI
    /// itself, `max_tokens` anywhere else.
    pub output_limit: OutputLimit,
    /// How it is asked whether it is well; `None` = it is not.
    pub probe: Option<Probe>,
    /// How it is asked what it says of itself; `None` = it is not.
    pub facts: Option<Facts>,
    /// How often its list of models is asked for, to offer what is in it; `None` = never.
    pub watch_models: Option<Duration>,
    /// Whether small requests for embeddings are sent as one. Default: as the preset says, else not.
    pub embedding_batch: Option<EmbeddingBatch>,
    /// How the demo provider behaves; only for that dialect.
    pub demo: Option<Demo>,
}

impl Provider {
    /// Whose shapes are sent to it.
    pub fn speech(&self) -> Speech {
        match self.dialect {
            Dialect::OpenAi | Dialect::Demo => Speech::OpenAi,
            Dialect::Anthropic => Speech::Anthropic,
            Dialect::Ollama if self.base_url.ends_with("/v1") => Speech::OpenAi,
            Dialect::Ollama => Speech::Ollama,
        }
    }
}

/// How many requests for embeddings are sent as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingBatch {
    /// How long one waits for others. Default 5 ms.
    pub window: Duration,
    /// Inputs in all. Default 32.
    pub items: NonZeroUsize,
    /// Of inputs in all. Default 64 KiB.
    pub bytes: usize,
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

/// How a provider is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// From the server's root. Default: by dialect.
    pub path: Option<String>,
    /// From the server's root: what a preset knows to ask before what the dialect has.
    pub first: Option<&'static str>,
    /// While a deployment is down. Default 3 s.
    pub interval: Duration,
    /// Silence after which it is asked. Default 30 s.
    pub idle: Duration,
    /// For the whole answer. Default 2 s.
    pub timeout: Duration,
}

/// How a provider is asked what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// While it works. Default 2 s.
    pub interval: Duration,
    /// While it has nothing to do. Default 30 s.
    pub idle: Duration,
    /// For all answers together. Default 2 s.
    pub timeout: Duration,
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

/// An API's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI and everything compatible: vLLM, llama.cpp, llama-cpp-python, LM Studio, ...
    OpenAi,
    /// Ollama: by its own API, or by its OpenAI-compatible `/v1` where the address ends so.
    Ollama,
    /// Anthropic's Messages.
    Anthropic,
    /// Built in: deterministic text, no network.
    Demo,
}

/// The header that a provider's key is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHeader {
    /// `Authorization: Bearer`
    Bearer,
    /// `api-key`: Azure.
    ApiKey,
    /// `x-api-key`: Anthropic.
    XApiKey,
}

impl KeyHeader {
    /// Its name, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "authorization",
            Self::ApiKey => "api-key",
            Self::XApiKey => "x-api-key",
        }
    }
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
    /// Where files that served well are kept; `None` = only the last one, in memory. Default: in `code_cache`.
    pub revisions: Option<PathBuf>,
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
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRules {
    /// For one call. Default 5 ms; at least 2 ms, because the clock that traps ticks once a millisecond.
    pub deadline: Duration,
    /// Linear memory of one instance, bytes. Default 64 MiB.
    pub memory: usize,
    /// Instances at once. Default: twice the worker threads.
    pub instances: Option<NonZeroUsize>,
    /// Calls after which an instance is replaced. Default 1,000,000.
    pub calls: NonZeroU32,
    /// Whether instances serve more than one call. Default `Reuse`.
    pub isolation: Isolation,
    /// May read request headers. Default false.
    pub grant_headers: bool,
    /// May read prompts. Default false.
    pub grant_prompt: bool,
    /// May share cells with other gateways. Default false. Together with headers or prompts this is a way for them to
    /// leave the gateway, so [`super::load`] gives both only where the operator said that this is meant.
    pub grant_fleet_cells: bool,
    /// Log lines a second. Default 100.
    pub log_lines: u32,
    /// Tables of cells. Default 16.
    pub tables: usize,
    /// Cells in all tables together. Default 65,536.
    pub cells: usize,
    /// When it counts as crashing.
    pub crash: CrashRules,
}

impl Default for PolicyRules {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(5),
            memory: 64 << 20,
            instances: None,
            calls: NonZeroU32::MIN.saturating_add(999_999),
            isolation: Isolation::Reuse,
            grant_headers: false,
            grant_prompt: false,
            grant_fleet_cells: false,
            log_lines: 100,
            tables: 16,
            cells: 65_536,
            crash: CrashRules::default(),
        }
    }
}

/// Whether a policy's instances serve more than one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Isolation {
    /// One call after another. The default.
    #[default]
    Reuse,
    /// A new instance for each call.
    Fresh,
}

/// When a policy counts as crashing: both the number and the share of failed calls within the window are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct CrashRules {
    /// Failed calls. Default 3.
    pub failures: NonZeroU32,
    /// Of all calls, 0 to 1. Default 0.05.
    pub share: f64,
    /// Default 30 s.
    pub window: Duration,
}

impl Default for CrashRules {
    fn default() -> Self {
        Self { failures: NonZeroU32::MIN.saturating_add(2), share: 0.05, window: Duration::from_secs(30) }
    }
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
