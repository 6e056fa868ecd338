//! What is written about requests that are sent as one.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::shapes::{DurationText, SizeText};

/// Whether small requests for embeddings that come at about the same time are sent as one. Only those for one
/// deployment with the same parameters are, and each client gets its own answer. A request waits only while another
/// one runs at the deployment. Which are sent together has nothing to do with whose they are.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EmbeddingBatch")]
pub(in crate::config) struct RawEmbeddingBatch {
    /// Without it: as the preset says, which is `true` for servers that one runs oneself; `false` without a preset.
    pub(in crate::config) enabled: Option<bool>,
    /// How long a request waits for others at most.
    #[schemars(extend("default" = "5ms"))]
    pub(in crate::config) window: Option<DurationText>,
    /// Inputs that are sent as one at most.
    #[schemars(range(min = 2, max = 2048), extend("default" = 32))]
    pub(in crate::config) items: Option<u64>,
    /// Bytes of inputs that are sent as one at most; a request with more is sent by itself.
    #[schemars(extend("default" = "64KiB"))]
    pub(in crate::config) bytes: Option<SizeText>,
}
