//! What is written about deployments, and about the models behind them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::providers::RawContinuation;
use crate::config::shapes::Named;

/// One model at one provider.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Deployment")]
pub(in crate::config) struct RawDeployment {
    /// A name from `providers`. Without it: the id's part after the last `@`.
    pub(in crate::config) provider: Option<String>,
    /// The model's name at the provider; `"*"` passes on what the client asked for. Without it: the id's part before
    /// the last `@`, or the whole id.
    pub(in crate::config) model: Option<String>,
    /// The name of its model in the catalogue, from which comes what is not written here: prices, limits and
    /// capabilities; `none` for none. Without it: by provider and model, where the provider is known.
    pub(in crate::config) catalogue: Option<String>,
    /// What it can do: `chat`, `completions`, `embeddings`, `tools`, `vision`, `json-schema`, `reasoning`, `audio`,
    /// `rerank`, `image-generation`, `speech`, `transcription`, `moderation`, `responses`, or words of your own.
    pub(in crate::config) capabilities: Option<Vec<String>>,
    /// Which of these (no words of your own) it cannot do: a request that needs one is not sent to it. What is in
    /// neither list, nor in the catalogue, may be tried.
    pub(in crate::config) lacks: Option<Vec<String>>,
    /// Where it is, for policies.
    #[schemars(extend("default" = ""))]
    pub(in crate::config) region: Option<String>,
    /// Key and value pairs of your own, for policies.
    pub(in crate::config) labels: Option<Named<String>>,
    /// Its share where a policy goes by weight.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000, "default" = 1.0))]
    pub(in crate::config) weight: Option<f64>,
    /// What it costs. Without it: what the catalogue says, else it is not known and counts as nothing.
    pub(in crate::config) price: Option<RawPrice>,
    /// Requests a minute that it can take. Without it: no limit.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(in crate::config) rpm: Option<u64>,
    /// Tokens a minute that it can take. Without it: no limit.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(in crate::config) tpm: Option<u64>,
    /// Requests that it can carry out at once; more wait in the queue (`server.queue`). Without it: no limit.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_concurrency: Option<u64>,
    /// Context window in tokens. Without it: what the catalogue says, else what the server tells.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(in crate::config) context_tokens: Option<u64>,
    /// Largest answer in tokens. Without it: what the catalogue says.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(in crate::config) max_output_tokens: Option<u64>,
    /// Instead of the provider's `continuation`.
    pub(in crate::config) continuation: Option<RawContinuation>,
}

/// What is known of one model. What is left out is as the built-in catalogue has it, if it has the model.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CatalogueEntry")]
pub(in crate::config) struct RawEntry {
    /// What it costs.
    pub(in crate::config) price: Option<RawPrice>,
    /// Context window in tokens.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(in crate::config) context_tokens: Option<u64>,
    /// Largest answer in tokens.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(in crate::config) max_output_tokens: Option<u64>,
    /// What it can do, in the words of a deployment's `capabilities`, but none of your own.
    pub(in crate::config) capabilities: Option<Vec<String>>,
    /// What it cannot do.
    pub(in crate::config) lacks: Option<Vec<String>>,
}

/// Prices in USD for a million tokens. They stand for all of a model's prices: nothing is added from the catalogue.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Price")]
pub(in crate::config) struct RawPrice {
    /// Of input tokens.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 0.0))]
    pub(in crate::config) input: Option<f64>,
    /// Of output tokens.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 0.0))]
    pub(in crate::config) output: Option<f64>,
    /// Of input tokens that the provider had cached. Without it: as `input`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) cached_input: Option<f64>,
    /// Of input tokens that the provider puts into its cache. Without it: as `input`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) cache_write: Option<f64>,
    /// Of output tokens that the model thinks and does not say. Without it: as `output`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) reasoning: Option<f64>,
    /// Of requests with a long prompt. Without it: the same for all.
    pub(in crate::config) long: Option<RawLongPrice>,
}

/// Prices of requests whose prompt is longer than that. The other prices go up by the same ratio.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LongPrice")]
pub(in crate::config) struct RawLongPrice {
    /// Tokens of a prompt that still has the usual price.
    #[schemars(required, range(min = 1, max = 2_147_483_647))]
    pub(in crate::config) above: Option<u64>,
    /// Of input tokens.
    #[schemars(required, range(min = 0, max = 1_000_000))]
    pub(in crate::config) input: Option<f64>,
    /// Of output tokens.
    #[schemars(required, range(min = 0, max = 1_000_000))]
    pub(in crate::config) output: Option<f64>,
}
