//! Where policies come from, and what proves them: resolved, see `model`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::oci::OciReference;
use super::secret::Secret;
use super::signing::SigningKey;

/// Where policies come from, and what proves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// Every policy that is not shipped must be signed. Default false.
    pub require_signature: bool,
    /// Whose signatures count for policies that do not say.
    pub keys: Vec<SigningKey>,
    /// How artifacts are pulled.
    pub pull: Pull,
    /// By host, with the port if there is one.
    pub registries: BTreeMap<Arc<str>, Access>,
    /// By policy name.
    pub policies: BTreeMap<Arc<str>, PolicySupply>,
}

impl Supply {
    /// The artifact that a policy comes from, if it comes from a registry.
    pub fn source(&self, policy: &str) -> Option<&OciReference> {
        self.policies.get(policy)?.source.as_ref()
    }

    /// Every policy that comes from a registry.
    pub fn sources(&self) -> impl Iterator<Item = (&Arc<str>, &OciReference)> {
        self.policies.iter().filter_map(|(name, supply)| Some((name, supply.source.as_ref()?)))
    }

    /// How to talk to a registry.
    pub fn access(&self, host: &str) -> Access {
        self.registries.get(host).cloned().unwrap_or_default()
    }
}

/// One policy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySupply {
    /// Where it is pulled from; `None` = the folder, or the binary.
    pub source: Option<OciReference>,
    /// Of the `.wasm` bytes.
    pub sha256: Option<[u8; 32]>,
    /// One of these must have signed it; empty when it does not say.
    pub keys: Vec<SigningKey>,
}

/// How artifacts are pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Between two looks at a tag, and the longest wait after failures. Default 5 min.
    pub interval: Duration,
    /// For one pull. Default 1 min.
    pub timeout: Duration,
    /// Bytes of a policy. Default 64 MiB, which is the engine's own cap.
    pub largest: u64,
}

impl Default for Pull {
    fn default() -> Self {
        Self { interval: Duration::from_secs(300), timeout: Duration::from_secs(60), largest: 64 << 20 }
    }
}

/// How to talk to one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What it is shown.
    pub credentials: Credentials,
    /// Plain HTTP, or not; `None` = only on this machine.
    pub insecure: Option<bool>,
}

/// What a registry is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing is configured: those of `docker login`, or none.
    #[default]
    Unsaid,
    /// A user's.
    Password {
        /// Their name.
        username: String,
        /// Their password, or a token in its place.
        password: Secret,
    },
    /// A token.
    Token(Secret),
}
