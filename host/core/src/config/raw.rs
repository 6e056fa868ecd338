//! The files as they are written: one struct for each section, one field for each key.
//!
//! The doc comments are the reference (`docs/configuration.md` and the JSON Schema are generated from them), and so
//! are the stated defaults, which a test compares with the resolved ones. Every field is optional here; a key that
//! the schema requires is reported by the validator, and what follows from a value that is wrong is left out.

pub(super) mod batch;
pub(super) mod health;
pub(super) mod passthrough;

use schemars::JsonSchema;
use serde::Deserialize;

use self::batch::RawEmbeddingBatch;
use self::health::{RawBreaker, RawFacts, RawProbe, RawRetries};
use self::passthrough::RawPassthrough;
use super::raw_supply::{RawPull, RawRegistry, RawSupply, RawVerify};
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

/// Sockets, limits and timeouts of the gateway's own side.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Server")]
pub(super) struct RawServer {
    /// Address and port. An address that others can reach needs `auth.keys`, or `allow_unauthenticated`.
    #[schemars(extend("default" = "127.0.0.1:4000"))]
    pub(super) listen: Option<String>,
    /// Says that a public address without keys is meant.
    #[schemars(extend("default" = false))]
    pub(super) allow_unauthenticated: Option<bool>,
    /// Largest request body.
    #[schemars(extend("default" = "32MiB"))]
    pub(super) body_limit: Option<SizeText>,
    /// Largest body that is passed on as it comes: a form with a file in it, or anything that is passed through. Of a
    /// form, as much as `body_limit` is held until its field `model` has come.
    #[schemars(extend("default" = "512MiB"))]
    pub(super) upload_limit: Option<SizeText>,
    /// From the first byte of a request to the last of its answer. A client may set less for one request: headers
    /// `x-witgate-timeout`, and those that the OpenAI SDKs send.
    #[schemars(extend("default" = "10m"))]
    pub(super) request_timeout: Option<DurationText>,
    /// For reading a request's head and body; of a body that is passed on as it comes, for each piece of it.
    #[schemars(extend("default" = "30s"))]
    pub(super) read_timeout: Option<DurationText>,
    /// After SIGTERM, how long requests are still taken while `/health/ready` says 503 already, so that load balancers
    /// see it. Ctrl-C does not wait.
    #[schemars(extend("default" = "3s"))]
    pub(super) drain_delay: Option<DurationText>,
    /// How long requests in flight may go on once no more are taken.
    #[schemars(extend("default" = "30s"))]
    pub(super) shutdown_grace: Option<DurationText>,
    /// Whether another gateway may listen at the same address (SO_REUSEPORT), so that a new one takes over before the
    /// old one ends. Both must say so, and belong to the same user.
    #[schemars(extend("default" = false))]
    pub(super) reuse_port: Option<bool>,
    /// Longest time in which a client takes nothing of an answer that is there for it; then the connection is closed,
    /// and the deployment is free for others.
    #[schemars(extend("default" = "60s"))]
    pub(super) write_timeout: Option<DurationText>,
    /// Requests at once, all in all; more wait in the queue. Without it: no limit.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_in_flight: Option<u64>,
    /// Where requests wait when `max_in_flight`, or the `max_concurrency` of a deployment, is reached.
    pub(super) queue: Option<RawQueue>,
    /// Memory for the bodies of all requests in flight; what would need more is refused. At least `body_limit`.
    #[schemars(extend("default" = "1GiB"))]
    pub(super) body_memory: Option<SizeText>,
    /// Worker threads. Without it: one for each core.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) workers: Option<u64>,
    /// Attempts for one request, all in all: the first, retries, failovers and hedges.
    #[schemars(range(min = 1, max = 16), extend("default" = 4))]
    pub(super) max_attempts: Option<u64>,
    /// Pages in browsers that may ask. Without it: none.
    pub(super) cors: Option<RawCors>,
}

/// Pages in browsers that may ask (CORS). A page that may ask a gateway without `auth.keys` may use all its models.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cors")]
pub(super) struct RawCors {
    /// Their origins, each as a browser writes it (`https://app.example`, `http://localhost:3000`), or `"*"` for all.
    #[schemars(required)]
    pub(super) origins: Option<TextOrList>,
}

/// Where requests wait: one queue before the gateway, and one before each deployment that has a limit. More urgent
/// requests go first.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Queue")]
pub(super) struct RawQueue {
    /// Requests that wait in one queue; a more urgent one takes the place of a less urgent one when it is full.
    #[schemars(range(max = 1_000_000), extend("default" = 256))]
    pub(super) length: Option<u64>,
    /// How long a request waits.
    #[schemars(extend("default" = "30s"))]
    pub(super) timeout: Option<DurationText>,
}

/// What is logged and how.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Log")]
pub(super) struct RawLog {
    /// `auto` is `pretty` on a terminal and `json` elsewhere.
    #[schemars(extend("default" = "auto"))]
    pub(super) format: Option<RawLogFormat>,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or `target=level` pairs with commas between them.
    #[schemars(extend("default" = "info"))]
    pub(super) filter: Option<String>,
    /// Whether each request gets a line.
    #[schemars(extend("default" = true))]
    pub(super) requests: Option<bool>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LogFormat", inline)]
pub(super) enum RawLogFormat {
    Auto,
    Json,
    Pretty,
}

/// Who may ask. Without keys everybody may.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Auth")]
pub(super) struct RawAuth {
    /// Keys that clients send as `Authorization: Bearer`.
    pub(super) keys: Option<Vec<RawKey>>,
}

/// One client key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Key")]
pub(super) struct RawKey {
    /// Shown in logs and metrics instead of the key; no two keys share one.
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// What the client sends.
    #[schemars(required)]
    pub(super) key: Option<SecretText>,
    /// Whose key it is. Without it: the key's name.
    pub(super) tenant: Option<String>,
    /// Shown to policies that ask for them.
    pub(super) labels: Option<Named<String>>,
    /// Whether its holder may change things over the admin API: reload, roll back, pin, unload.
    #[schemars(extend("default" = false))]
    pub(super) admin: Option<bool>,
    /// How urgent its requests are; the header `x-witgate-priority` may say less.
    #[schemars(extend("default" = "normal"))]
    pub(super) priority: Option<RawPriority>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Priority", inline)]
pub(super) enum RawPriority {
    Low,
    Normal,
    High,
}

/// One service that the gateway calls.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Provider")]
pub(super) struct RawProvider {
    /// Its API's shape: `openai` for OpenAI and everything compatible (vLLM, llama.cpp, LM Studio, ...), `ollama` (its
    /// own API, or its `/v1` where `base_url` ends so), `anthropic` (Messages), or `demo`, which is built in and needs no network. Needed without a `preset`.
    pub(super) dialect: Option<RawDialect>,
    /// A service that is known by name: dialect, address, and the variable that the key is in. `docs/providers.md`
    /// lists them.
    pub(super) preset: Option<RawPreset>,
    /// With the path that the endpoints are under, usually `/v1`. Without it: the preset's. `openai` needs it; `ollama` without it:
    /// `http://127.0.0.1:11434/v1` (without the `/v1`, Ollama's own API is spoken); `anthropic` without it: `https://api.anthropic.com/v1`.
    pub(super) base_url: Option<String>,
    /// Sent as `Authorization: Bearer`; by `anthropic` as `x-api-key`. Without it: the environment variable of the
    /// preset.
    pub(super) api_key: Option<SecretText>,
    /// Instead of `api_key`: several keys that take turns, at most 32. One that is refused or over its limit is left
    /// alone for a while, and the others go on.
    pub(super) api_keys: Option<Vec<SecretText>>,
    /// Sent with every request.
    pub(super) headers: Option<Named<SecretText>>,
    /// Whether it has the Responses API (`/v1/responses`). To one that has it such a request goes as it is; for any other
    /// it is translated. Without it: as the preset says; without a preset: `dialect: ollama` and OpenAI itself have it.
    pub(super) responses: Option<bool>,
    /// What happens when a request has to be translated for the provider and holds what its dialect cannot say. A
    /// demand shapes the answer (several choices, log probabilities, audio), a hint does not (a seed, a penalty).
    /// `refuse-demands` refuses demands with status 400 and leaves hints out, `refuse` refuses both, `drop` leaves both
    /// out. What was left out is named in the answer's header `x-witgate-dropped`.
    #[schemars(extend("default" = "refuse-demands"))]
    pub(super) on_loss: Option<RawOnLoss>,
    /// How its models go on with an answer that another deployment began, where a route has `resume`.
    /// `assistant-message`: they go on with a last message of the assistant's (llama.cpp, older models of Anthropic's);
    /// `continue-final-message`: if the request says so in the field of that name (vLLM, SGLang); `prefix`: if the
    /// message says `prefix: true` (Mistral); `none`: they would begin anew. Without it: the preset's; else
    /// `assistant-message` for `anthropic`, and `none` for others. Completions are gone on with anywhere.
    pub(super) continuation: Option<RawContinuation>,
    /// For making a connection, TLS included.
    #[schemars(extend("default" = "5s"))]
    pub(super) connect_timeout: Option<DurationText>,
    /// From sending a request to the head of the answer; a local model may have to be loaded first. A client may set
    /// less for one request: header `x-witgate-first-byte-timeout`.
    #[schemars(extend("default" = "5m"))]
    pub(super) first_byte_timeout: Option<DurationText>,
    /// From sending a request to the first event of a stream; header `x-witgate-first-token-timeout`. Without it: as
    /// `first_byte_timeout`.
    pub(super) first_token_timeout: Option<DurationText>,
    /// Longest silence within an answer; header `x-witgate-idle-timeout`.
    #[schemars(extend("default" = "60s"))]
    pub(super) idle_timeout: Option<DurationText>,
    /// Longest time without a whole event of a stream, or without the rest of another answer, although bytes come:
    /// comments or blanks that keep a connection open, or an answer byte by byte.
    #[schemars(extend("default" = "5m"))]
    pub(super) keep_alive_timeout: Option<DurationText>,
    /// How long an unused connection is kept. Keep it below what the provider does: llama.cpp closes at 5 s.
    #[schemars(extend("default" = "4s"))]
    pub(super) pool_idle_timeout: Option<DurationText>,
    /// Unused connections kept.
    #[schemars(range(max = 100_000), extend("default" = 256))]
    pub(super) pool_max_idle: Option<u64>,
    /// How it is asked whether it is well, while its deployments are down or idle. The dialect `demo` is not asked.
    pub(super) probe: Option<RawProbe>,
    /// How it is asked what it says of itself: requests that wait or run, use of its cache, free slots (vLLM, SGLang,
    /// llama.cpp), loaded models (Ollama). These are signals for policies, and metrics.
    pub(super) facts: Option<RawFacts>,
    /// How often its list of models is asked for, at least every second: a model that appears in it can be asked for by
    /// its name without a restart, and one that vanishes is offered no more. Names that other routes match stay theirs.
    /// Without it: never, unless `witgate serve --watch-models` says so for all servers at `http://` addresses.
    pub(super) watch_models: Option<DurationText>,
    /// Whether small requests for embeddings that come at about the same time are sent as one.
    pub(super) embedding_batch: Option<RawEmbeddingBatch>,
    /// How a provider of the dialect `demo` behaves.
    pub(super) demo: Option<RawDemo>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Dialect", inline)]
pub(super) enum RawDialect {
    Openai,
    Ollama,
    Anthropic,
    Demo,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Preset", inline)]
pub(super) enum RawPreset {
    Openai,
    Anthropic,
    Azure,
    Gemini,
    Mistral,
    Groq,
    Deepseek,
    Together,
    Openrouter,
    Huggingface,
    Ollama,
    LlamaCpp,
    LlamaCppPython,
    Vllm,
    Sglang,
    Tgi,
    Lmstudio,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "OnLoss", inline)]
pub(super) enum RawOnLoss {
    RefuseDemands,
    Refuse,
    Drop,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Continuation", inline)]
pub(super) enum RawContinuation {
    None,
    AssistantMessage,
    ContinueFinalMessage,
    Prefix,
}

/// How a provider of the dialect `demo` behaves.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Demo")]
pub(super) struct RawDemo {
    /// Before the first byte.
    #[schemars(extend("default" = "0ms"))]
    pub(super) first_token_delay: Option<DurationText>,
    /// Between tokens.
    #[schemars(extend("default" = "0ms"))]
    pub(super) token_delay: Option<DurationText>,
    /// Share of requests that fail with status 500, spread evenly.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.0))]
    pub(super) failure_rate: Option<f64>,
    /// What it says. Without it: a sentence with the model's name.
    pub(super) reply: Option<String>,
}

/// One model at one provider.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Deployment")]
pub(super) struct RawDeployment {
    /// A name from `providers`. Without it: the id's part after the last `@`.
    pub(super) provider: Option<String>,
    /// The model's name at the provider; `"*"` passes on what the client asked for. Without it: the id's part before
    /// the last `@`, or the whole id.
    pub(super) model: Option<String>,
    /// The name of its model in the catalogue, from which comes what is not written here: prices, limits and
    /// capabilities; `none` for none. Without it: by provider and model, where the provider is known.
    pub(super) catalogue: Option<String>,
    /// What it can do: `chat`, `completions`, `embeddings`, `tools`, `vision`, `json-schema`, `reasoning`, `audio`,
    /// `rerank`, `image-generation`, `speech`, `transcription`, `moderation`, `responses`, or words of your own.
    pub(super) capabilities: Option<Vec<String>>,
    /// Which of these (no words of your own) it cannot do: a request that needs one is not sent to it. What is in
    /// neither list, nor in the catalogue, may be tried.
    pub(super) lacks: Option<Vec<String>>,
    /// Where it is, for policies.
    #[schemars(extend("default" = ""))]
    pub(super) region: Option<String>,
    /// Key and value pairs of your own, for policies.
    pub(super) labels: Option<Named<String>>,
    /// Its share where a policy goes by weight.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000, "default" = 1.0))]
    pub(super) weight: Option<f64>,
    /// What it costs. Without it: what the catalogue says, else it is not known and counts as nothing.
    pub(super) price: Option<RawPrice>,
    /// Requests a minute that it can take. Without it: no limit.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) rpm: Option<u64>,
    /// Tokens a minute that it can take. Without it: no limit.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) tpm: Option<u64>,
    /// Requests that it can carry out at once; more wait in the queue (`server.queue`). Without it: no limit.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_concurrency: Option<u64>,
    /// Context window in tokens. Without it: what the catalogue says, else what the server tells.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) context_tokens: Option<u64>,
    /// Largest answer in tokens. Without it: what the catalogue says.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) max_output_tokens: Option<u64>,
    /// Instead of the provider's `continuation`.
    pub(super) continuation: Option<RawContinuation>,
}

/// What is known of one model. What is left out is as the built-in catalogue has it, if it has the model.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CatalogueEntry")]
pub(super) struct RawEntry {
    /// What it costs.
    pub(super) price: Option<RawPrice>,
    /// Context window in tokens.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) context_tokens: Option<u64>,
    /// Largest answer in tokens.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) max_output_tokens: Option<u64>,
    /// What it can do, in the words of a deployment's `capabilities`, but none of your own.
    pub(super) capabilities: Option<Vec<String>>,
    /// What it cannot do.
    pub(super) lacks: Option<Vec<String>>,
}

/// Prices in USD for a million tokens. They stand for all of a model's prices: nothing is added from the catalogue.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Price")]
pub(super) struct RawPrice {
    /// Of input tokens.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 0.0))]
    pub(super) input: Option<f64>,
    /// Of output tokens.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 0.0))]
    pub(super) output: Option<f64>,
    /// Of input tokens that the provider had cached. Without it: as `input`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) cached_input: Option<f64>,
    /// Of input tokens that the provider puts into its cache. Without it: as `input`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) cache_write: Option<f64>,
    /// Of output tokens that the model thinks and does not say. Without it: as `output`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) reasoning: Option<f64>,
    /// Of requests with a long prompt. Without it: the same for all.
    pub(super) long: Option<RawLongPrice>,
}

/// Prices of requests whose prompt is longer than that. The other prices go up by the same ratio.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LongPrice")]
pub(super) struct RawLongPrice {
    /// Tokens of a prompt that still has the usual price.
    #[schemars(required, range(min = 1, max = 2_147_483_647))]
    pub(super) above: Option<u64>,
    /// Of input tokens.
    #[schemars(required, range(min = 0, max = 1_000_000))]
    pub(super) input: Option<f64>,
    /// Of output tokens.
    #[schemars(required, range(min = 0, max = 1_000_000))]
    pub(super) output: Option<f64>,
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

/// Where policies come from, and what each may do.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Policies")]
pub(super) struct RawPolicies {
    /// The watched folder; a file `name.wasm` in it is the policy `name`.
    #[schemars(extend("default" = "policies"))]
    pub(super) directory: Option<String>,
    /// How often the folder is looked through besides the system's file events.
    #[schemars(extend("default" = "5s"))]
    pub(super) poll: Option<DurationText>,
    /// Where compiled policies are kept, or `off`. Without it: `witgate` in the user's cache folder.
    pub(super) code_cache: Option<String>,
    /// Where files that served well are kept for rollbacks, with what was decided about them, or `off`: then the last
    /// one is kept in memory. Without it: the folder `revisions` in that of `code_cache`.
    pub(super) revisions: Option<String>,
    /// Where the last good copies of pulled policies are kept, so that a start without the registry works, or `off`.
    /// Without it: `witgate-policies` in the user's cache folder.
    pub(super) copies: Option<String>,
    /// Where policies come from and what proves them, by policy name.
    pub(super) supply: Option<Named<RawSupply>>,
    /// Whether every policy that is not shipped must be signed.
    #[schemars(extend("default" = false))]
    pub(super) require_signature: Option<bool>,
    /// Whose signatures count where `require_signature` asks for one and `supply` does not say.
    pub(super) verify: Option<RawVerify>,
    /// How policies are pulled from registries.
    pub(super) pull: Option<RawPull>,
    /// How to talk to registries that need more than HTTPS, by host, with the port if there is one.
    pub(super) registries: Option<Named<RawRegistry>>,
    /// Limits and grants of policies that `rules` does not name, and of what a rule leaves out.
    pub(super) defaults: Option<RawRules>,
    /// Limits and grants by policy name.
    pub(super) rules: Option<Named<RawRules>>,
}

/// Limits and grants. What a rule leaves out is as in `policies.defaults`; the defaults here are those of that map.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rules")]
pub(super) struct RawRules {
    /// For one call.
    #[schemars(extend("default" = "5ms"))]
    pub(super) deadline: Option<DurationText>,
    /// Linear memory of one instance.
    #[schemars(extend("default" = "64MiB"))]
    pub(super) memory: Option<SizeText>,
    /// Instances at once, and so calls at once: one more waits for at most its deadline, and then fails. Without it:
    /// twice the worker threads.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) instances: Option<u64>,
    /// Calls after which an instance is replaced.
    #[schemars(range(min = 1, max = 2_147_483_647), extend("default" = 1_000_000))]
    pub(super) calls: Option<u64>,
    /// Whether an instance serves one call after another (`reuse`), or each call gets a new one (`fresh`), made ready
    /// beforehand where there is time: then nothing in its memory outlives a call, and each call costs an instance.
    #[schemars(extend("default" = "reuse"))]
    pub(super) isolation: Option<RawIsolation>,
    /// What the policy may use besides numbers: `headers` and `prompt` of a request, and `fleet-cells`, which it shares
    /// with other gateways. A list in a rule replaces that of the defaults.
    #[schemars(extend("default" = []))]
    pub(super) grants: Option<Vec<RawGrant>>,
    /// Whether a policy that reads headers or prompts may have `fleet-cells` too, through which it could carry what it
    /// reads to other gateways.
    #[schemars(extend("default" = false))]
    pub(super) allow_covert_channel: Option<bool>,
    /// Log lines a second.
    #[schemars(range(max = 1_000_000), extend("default" = 100))]
    pub(super) log_lines: Option<u64>,
    /// Tables of cells.
    #[schemars(range(max = 1024), extend("default" = 16))]
    pub(super) tables: Option<u64>,
    /// Cells in all tables together, 8 bytes each.
    #[schemars(range(max = 16_777_216), extend("default" = 65_536))]
    pub(super) cells: Option<u64>,
    /// When it counts as crashing.
    pub(super) crash: Option<RawCrash>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Grant", inline)]
pub(super) enum RawGrant {
    Headers,
    Prompt,
    FleetCells,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Isolation", inline)]
pub(super) enum RawIsolation {
    Reuse,
    Fresh,
}

/// When a policy counts as crashing: so many of its calls failed, and such a share of them, within a time. Traps, missed
/// deadlines and impossible verdicts count, errors that it declares do not. The revision before then takes its place;
/// without one, it is suspended for 10s, tried again, and suspended for longer each time, up to 5m.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Crash")]
pub(super) struct RawCrash {
    /// At least so many.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 3))]
    pub(super) failures: Option<u64>,
    /// At least such a share of its calls, 0 to 1.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.05))]
    pub(super) share: Option<f64>,
    /// Within such a time, to an eighth.
    #[schemars(extend("default" = "30s"))]
    pub(super) window: Option<DurationText>,
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
