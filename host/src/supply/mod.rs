//! Where policies come from, and what proves that they are the ones that were meant.
//!
//! The store asks here before it compiles anything: a file or an artifact that is not what the configuration pins, or
//! is not signed by whom it names, is refused and never looked at. Artifacts are followed in registries by tasks of
//! their own ([`puller`]); the reload thread only takes what has arrived.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use witgate_core::config::{OciReference, Policies, Supply};
use witgate_wasm::Hashed;

use crate::reload::standing::Digest;
use crate::telemetry::metrics::Metrics;

pub mod artifact;
pub mod copies;
mod credentials;
pub mod proof;
mod puller;
pub mod registry;

use copies::Copies;
use proof::{Claim, Problem, Proven, Refusal, could_prove, prove};
use puller::{Puller, Shared};
use registry::Artifact;

/// What one store knows about its sources.
#[derive(Default)]
pub struct Supplies {
    wanted: Arc<Supply>,
    shared: Arc<Shared>,
    puller: Option<Puller>,
}

/// An artifact that is proven, and waits to be compiled.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The `.wasm`.
    pub file: Hashed<Vec<u8>>,
    /// Where it was pulled from.
    pub reference: OciReference,
    /// Of its manifest.
    pub digest: Arc<str>,
    /// Text of the signature that came with it.
    pub signature: Option<String>,
    /// What was found out.
    pub proven: Proven,
}

/// What proves a policy's bytes, to be kept with them: by another configuration they may have to be proven again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Papers {
    /// Text of the `.minisig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Arc<str>>,
    /// Digest of the manifest of the artifact that they came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Arc<str>>,
}

/// Where the bytes of a loaded policy came from and what proved them, for the admin API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The artifact's reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Of the artifact's manifest: pins it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Arc<str>>,
    /// Of the `.wasm` bytes.
    pub sha256: Arc<str>,
    /// Id of the key whose signature was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<Arc<str>>,
}

/// How the pulls of one policy go, for the admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullStatus {
    /// Seconds since 1970 when the registry last answered as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pull: Option<u64>,
    /// Why the last pull failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Supplies {
    /// Follows the sources of a configuration, and waits until each has been heard of, so that a start has all that
    /// can be had. No longer than two pulls may take, though.
    pub async fn start(policies: &Policies, metrics: Arc<Metrics>) -> Self {
        let wanted = Arc::clone(&policies.supply);
        let copies = Copies::at(policies.copies.clone());
        let puller = Puller::start(Arc::clone(&wanted), copies, metrics);
        let shared = Arc::clone(puller.shared());
        if tokio::time::timeout(wanted.pull.timeout * 2, shared.all_heard()).await.is_err() {
            tracing::warn!("not every registry was heard of in time; starting with what there is");
        }
        Self { wanted, shared, puller: Some(puller) }
    }

    /// Only the copies that are kept: nothing is pulled.
    pub fn offline(policies: &Policies) -> Self {
        let wanted = Arc::clone(&policies.supply);
        let shared = Arc::new(Shared::new(Copies::at(policies.copies.clone()), None));
        shared.expect(&wanted);
        for (policy, reference) in wanted.sources() {
            if let Some(artifact) = shared.copies.find(reference) {
                shared.arrived(&wanted, policy, Arrived::prove(&wanted, policy, reference, artifact));
            }
        }
        Self { wanted, shared, puller: None }
    }

    /// Goes by another configuration from now on; `None` when nothing changes here, else the policies that no longer
    /// come from a registry.
    pub fn follow(&mut self, policies: &Policies) -> Option<Vec<Arc<str>>> {
        if self.wanted == policies.supply {
            return None;
        }
        let before = std::mem::replace(&mut self.wanted, Arc::clone(&policies.supply));
        if let Some(puller) = &self.puller {
            puller.follow(Arc::clone(&self.wanted));
        }
        Some(before.sources().map(|(name, _)| name).filter(|name| !self.is_remote(name)).cloned().collect())
    }

    /// Whether a policy comes from a registry.
    pub fn is_remote(&self, policy: &str) -> bool {
        self.wanted.source(policy).is_some()
    }

    /// Policies from registries of which nothing is there.
    pub fn unheard(&self) -> Vec<(Arc<str>, OciReference)> {
        let sources = self.wanted.sources().filter(|(policy, _)| !self.shared.is_heard(policy));
        sources.map(|(policy, reference)| (Arc::clone(policy), reference.clone())).collect()
    }

    /// Checks a file's bytes.
    ///
    /// # Errors
    /// The message of the refusal.
    pub fn prove_file(&self, policy: &str, file: Hashed<&[u8]>, signature: Option<&str>) -> Result<Provenance, String> {
        let from = format!("{policy}.wasm");
        let claim = Claim { policy, from: &from, file, signature };
        let Proven { sha256, key } = prove(&self.wanted, &claim).map_err(|refusal| refusal.to_string())?;
        Ok(Provenance { reference: None, digest: None, sha256, verified_by: key })
    }

    /// Checks bytes that served before, by the configuration as it is now.
    ///
    /// # Errors
    /// The message of the refusal.
    pub fn prove_kept(
        &self,
        policy: &str,
        revision: &str,
        file: Hashed<&[u8]>,
        papers: &Papers,
    ) -> Result<Provenance, String> {
        let from = format!("the kept revision {revision}");
        let claim = Claim { policy, from: &from, file, signature: papers.signature.as_deref() };
        let artifact = self.is_from(policy, papers).map_err(|problem| Refusal {
            policy: policy.into(),
            from: from.clone(),
            problem,
        });
        let proven = artifact.and_then(|()| prove(&self.wanted, &claim));
        let Proven { sha256, key } = proven.map_err(|refusal| refusal.to_string())?;
        Ok(Provenance { reference: None, digest: papers.artifact.clone(), sha256, verified_by: key })
    }

    /// Whether [`Self::prove_kept`] would find nothing wrong, as far as can be said without the bytes.
    pub fn could_prove_kept(&self, policy: &str, digest: Digest, papers: &Papers) -> bool {
        self.is_from(policy, papers).is_ok()
            && could_prove(&self.wanted, policy, digest.as_bytes(), papers.signature.as_deref())
    }

    /// A source by digest names one artifact, and rules out what came from another.
    fn is_from(&self, policy: &str, papers: &Papers) -> Result<(), Problem> {
        match self.wanted.source(policy).and_then(OciReference::digest) {
            Some(wanted) if papers.artifact.as_ref() != Some(wanted) => Err(Problem::OtherArtifact {
                setting: format!("policies.supply.{policy}.source"),
                wanted: wanted.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// What has arrived since the last call, by policy name; an error is the message of a refusal.
    pub fn arrivals(&self) -> BTreeMap<Arc<str>, Result<Arrived, String>> {
        self.shared.arrivals()
    }

    /// A revision is in service: the next start begins with it.
    pub fn in_service(&self, policy: &str, provenance: Option<&Provenance>) {
        if let (Some(reference), Some(Provenance { reference: Some(from), sha256, .. })) =
            (self.wanted.source(policy), provenance)
            && *from == reference.to_string()
        {
            self.shared.copies.is_good(reference, sha256);
        }
    }

    /// How the pulls of a policy go; `None` when it comes from no registry.
    pub fn status(&self, policy: &str) -> Option<PullStatus> {
        self.shared.status(policy)
    }

    /// Why pulls fail.
    pub fn problems(&self) -> Vec<String> {
        self.shared.problems()
    }

    /// Why a policy from a registry is not there; `None` when it comes from no registry.
    pub fn why_missing(&self, policy: &str) -> Option<String> {
        let reference = self.wanted.source(policy)?;
        let problem = self.status(policy).and_then(|status| status.problem);
        Some(problem.unwrap_or_else(|| {
            format!(
                "policy `{policy}`: {reference} has not been pulled, and no copy of it is kept; \
                 `witgate policy pull` shows whether it can be"
            )
        }))
    }

    /// `wake` is called whenever there is something new to take or to show.
    pub fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.shared.wake_with(wake);
    }

    /// Asks every registry again now; what comes of it arrives later.
    pub fn ask_again(&self) {
        self.shared.ask_again();
    }
}

impl Arrived {
    /// Checks an artifact.
    ///
    /// # Errors
    /// The message of the refusal.
    fn prove(wanted: &Supply, policy: &str, reference: &OciReference, artifact: Artifact) -> Result<Self, String> {
        let Artifact { digest, bytes, signature } = artifact;
        let from = reference.pinned_to(&digest).as_ref().unwrap_or(reference).to_string();
        let file = Hashed::new(bytes);
        let claim = Claim { policy, from: &from, file: file.borrowed(), signature: signature.as_deref() };
        let proven = prove(wanted, &claim).map_err(|refusal| refusal.to_string())?;
        Ok(Self { file, reference: reference.clone(), digest: digest.into(), signature, proven })
    }

    /// To be kept with the bytes.
    pub fn papers(&self) -> Papers {
        Papers { signature: self.signature.as_deref().map(Into::into), artifact: Some(Arc::clone(&self.digest)) }
    }

    /// For the admin API.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            reference: Some(self.reference.to_string()),
            digest: Some(Arc::clone(&self.digest)),
            sha256: Arc::clone(&self.proven.sha256),
            verified_by: self.proven.key.clone(),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
