//! The part of `policies` about where policies come from and what proves them, as it is written; see `raw`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::shapes::{DurationText, SecretText, SizeText, TextOrList};

/// Where one policy comes from, and what its bytes must prove before they are compiled.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Supply")]
pub(super) struct RawSupply {
    /// An artifact in a registry: `oci://host/repository:tag` is followed, `oci://host/repository@sha256:...` is pulled
    /// once. Without it: the file in the policy folder, or the shipped policy.
    pub(super) source: Option<String>,
    /// SHA-256 of the `.wasm` bytes, 64 hexadecimal digits; anything else is refused, wherever it comes from.
    pub(super) sha256: Option<String>,
    /// Whose signature the policy must have. Without it: none, unless `policies.require_signature` is set.
    pub(super) verify: Option<RawVerify>,
}

/// Whose signatures count.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Verify")]
pub(super) struct RawVerify {
    /// A minisign public key (`RW...`) or the path of its file, relative to the configuration's folder; a list while
    /// one key replaces another. The signature is `<name>.wasm.minisig` beside the file, or part of the artifact.
    #[schemars(required)]
    pub(super) minisign: Option<TextOrList>,
}

/// How policies are pulled from registries.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pull")]
pub(super) struct RawPull {
    /// How often a tag is asked for a newer artifact, and the longest wait after failures. A digest is never asked
    /// for again.
    #[schemars(extend("default" = "5m"))]
    pub(super) interval: Option<DurationText>,
    /// For one pull, from the first connection to the last byte.
    #[schemars(extend("default" = "1m"))]
    pub(super) timeout: Option<DurationText>,
    /// Policies above this are refused before they are downloaded.
    #[schemars(extend("default" = "64MiB"))]
    pub(super) largest: Option<SizeText>,
}

/// How to talk to one registry. Without credentials here, those of `docker login` are used (the file `config.json` in
/// `$DOCKER_CONFIG` or `~/.docker`; not its credential helpers).
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registry")]
pub(super) struct RawRegistry {
    /// Together with `password`.
    pub(super) username: Option<String>,
    /// A password or an access token that the registry takes as one.
    pub(super) password: Option<SecretText>,
    /// Sent as `Authorization: Bearer`, instead of a user's name and password.
    pub(super) token: Option<SecretText>,
    /// Whether it is asked by plain HTTP. Without it: only on this machine (`localhost`, `127.0.0.0/8`).
    pub(super) insecure: Option<bool>,
}
