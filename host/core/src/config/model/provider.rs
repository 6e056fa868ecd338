//! Services that the gateway calls.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Secret;
use crate::dialect::{OnLoss, OutputLimit, Speech};
use crate::openai::Endpoint;
use crate::resume::Continuation;

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
