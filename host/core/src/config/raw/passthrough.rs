//! What is written about paths that the gateway has no endpoint for.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::shapes::Named;

/// Where requests go for paths below `/v1/` that the gateway has no endpoint for: files, batches, fine-tuning, vector
/// stores. They are sent as they are, with the provider's first key instead of the client's, and the answers come back
/// so. No policy is asked, since what lies at one provider does not lie at another.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Passthrough")]
pub(in crate::config) struct RawPassthrough {
    /// A name from `providers`, for all paths that `paths` does not name. Without it: those are not found.
    pub(in crate::config) provider: Option<String>,
    /// Names from `providers` by the beginning of the path, for example `/v1/files`; the longest counts.
    pub(in crate::config) paths: Option<Named<String>>,
}
