//! What is written about providers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::batch::RawEmbeddingBatch;
use super::health::{RawFacts, RawProbe};
use crate::config::shapes::{DurationText, Named, SecretText};

/// One service that the gateway calls.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Provider")]
pub(in crate::config) struct RawProvider {
    /// Its API's shape: `openai` for OpenAI and everything compatible (vLLM, llama.cpp, LM Studio, ...), `ollama` (its
    /// own API, or its `/v1` where `base_url` ends so), `anthropic` (Messages), or `demo`, which is built in and needs no network. Needed without a `preset`.
    pub(in crate::config) dialect: Option<RawDialect>,
    /// A service that is known by name: dialect, address, and the variable that the key is in. `docs/providers.md`
    /// lists them.
    pub(in crate::config) preset: Option<RawPreset>,
    /// With the path that the endpoints are under, usually `/v1`. Without it: the preset's. `openai` needs it; `ollama` without it:
    /// `http://127.0.0.1:11434/v1` (without the `/v1`, Ollama's own API is spoken); `anthropic` without it: `https://api.anthropic.com/v1`.
    pub(in crate::config) base_url: Option<String>,
    /// Sent as `Authorization: Bearer`; by `anthropic` as `x-api-key`. Without it: the environment variable of the
    /// preset.
    pub(in crate::config) api_key: Option<SecretText>,
    /// Instead of `api_key`: several keys that take turns, at most 32. One that is refused or over its limit is left
    /// alone for a while, and the others go on.
    pub(in crate::config) api_keys: Option<Vec<SecretText>>,
    /// Sent with every request.
    pub(in crate::config) headers: Option<Named<SecretText>>,
    /// Whether it has the Responses API (`/v1/responses`). To one that has it such a request goes as it is; for any other
    /// it is translated. Without it: as the preset says; without a preset: `dialect: ollama` and OpenAI itself have it.
    pub(in crate::config) responses: Option<bool>,
    /// What happens when a request has to be translated for the provider and holds what its dialect cannot say. A
    /// demand shapes the answer (several choices, log probabilities, audio), a hint does not (a seed, a penalty).
    /// `refuse-demands` refuses demands with status 400 and leaves hints out, `refuse` refuses both, `drop` leaves both
    /// out. What was left out is named in the answer's header `x-witgate-dropped`.
    #[schemars(extend("default" = "refuse-demands"))]
    pub(in crate::config) on_loss: Option<RawOnLoss>,
    /// How its models go on with an answer that another deployment began, where a route has `resume`.
    /// `assistant-message`: they go on with a last message of the assistant's (llama.cpp, older models of Anthropic's);
    /// `continue-final-message`: if the request says so in the field of that name (vLLM, SGLang); `prefix`: if the
    /// message says `prefix: true` (Mistral); `none`: they would begin anew. Without it: the preset's; else
    /// `assistant-message` for `anthropic`, and `none` for others. Completions are gone on with anywhere.
    pub(in crate::config) continuation: Option<RawContinuation>,
    /// For making a connection, TLS included.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) connect_timeout: Option<DurationText>,
    /// From sending a request to the head of the answer; a local model may have to be loaded first. A client may set
    /// less for one request: header `x-witgate-first-byte-timeout`.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) first_byte_timeout: Option<DurationText>,
    /// From sending a request to the first event of a stream; header `x-witgate-first-token-timeout`. Without it: as
    /// `first_byte_timeout`.
    pub(in crate::config) first_token_timeout: Option<DurationText>,
    /// Longest silence within an answer; header `x-witgate-idle-timeout`.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) idle_timeout: Option<DurationText>,
    /// Longest time without a whole event of a stream, or without the rest of another answer, although bytes come:
    /// comments or blanks that keep a connection open, or an answer byte by byte.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) keep_alive_timeout: Option<DurationText>,
    /// How long an unused connection is kept. Keep it below what the provider does: llama.cpp closes at 5 s.
    #[schemars(extend("default" = "4s"))]
    pub(in crate::config) pool_idle_timeout: Option<DurationText>,
    /// Unused connections kept.
    #[schemars(range(max = 100_000), extend("default" = 256))]
    pub(in crate::config) pool_max_idle: Option<u64>,
    /// How it is asked whether it is well, while its deployments are down or idle. The dialect `demo` is not asked.
    pub(in crate::config) probe: Option<RawProbe>,
    /// How it is asked what it says of itself: requests that wait or run, use of its cache, free slots (vLLM, SGLang,
    /// llama.cpp), loaded models (Ollama). These are signals for policies, and metrics.
    pub(in crate::config) facts: Option<RawFacts>,
    /// How often its list of models is asked for, at least every second: a model that appears in it can be asked for by
    /// its name without a restart, and one that vanishes is offered no more. Names that other routes match stay theirs.
    /// Without it: never, unless `witgate serve --watch-models` says so for all servers at `http://` addresses.
    pub(in crate::config) watch_models: Option<DurationText>,
    /// Whether small requests for embeddings that come at about the same time are sent as one.
    pub(in crate::config) embedding_batch: Option<RawEmbeddingBatch>,
    /// How a provider of the dialect `demo` behaves.
    pub(in crate::config) demo: Option<RawDemo>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Dialect", inline)]
pub(in crate::config) enum RawDialect {
    Openai,
    Ollama,
    Anthropic,
    Demo,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Preset", inline)]
pub(in crate::config) enum RawPreset {
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
pub(in crate::config) enum RawOnLoss {
    RefuseDemands,
    Refuse,
    Drop,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Continuation", inline)]
pub(in crate::config) enum RawContinuation {
    None,
    AssistantMessage,
    ContinueFinalMessage,
    Prefix,
}

/// How a provider of the dialect `demo` behaves.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Demo")]
pub(in crate::config) struct RawDemo {
    /// Before the first byte.
    #[schemars(extend("default" = "0ms"))]
    pub(in crate::config) first_token_delay: Option<DurationText>,
    /// Between tokens.
    #[schemars(extend("default" = "0ms"))]
    pub(in crate::config) token_delay: Option<DurationText>,
    /// Share of requests that fail with status 500, spread evenly.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.0))]
    pub(in crate::config) failure_rate: Option<f64>,
    /// What it says. Without it: a sentence with the model's name.
    pub(in crate::config) reply: Option<String>,
}
