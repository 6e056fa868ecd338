//! Talks to one registry: pulls and pushes artifacts, within limits of time and size.
//!
//! A tag is first asked for its digest, so that what is known already is not downloaded, and the rest is then fetched
//! by that digest: a tag that moves meanwhile cannot mix two artifacts. Every byte is checked against its digest.

use futures_util::TryStreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{ImageIndexEntry, OCI_IMAGE_MEDIA_TYPE, OciDescriptor};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use sha2::{Digest, Sha256};
use witgate_core::config::{Access, OciReference, Pull, Version};

use super::artifact::{self, About, LARGEST_SIGNATURE, Packed, SignaturePart};
use super::{credentials, hex};
use crate::upstream::chain;

/// A registry, ready to be asked.
pub struct Registry {
    client: Client,
    auth: RegistryAuth,
}

/// A policy out of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Of the manifest, `sha256:...`: pins it for ever.
    pub digest: String,
    /// The `.wasm`.
    pub bytes: Vec<u8>,
    /// Text of the `.minisig`.
    pub signature: Option<String>,
}

/// Why there is no artifact. Each names the reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// No connection, or it broke.
    #[error("{reference}: the registry cannot be reached: {reason}")]
    Unreachable {
        /// What was asked for.
        reference: String,
        /// The system's words.
        reason: String,
    },
    /// Longer than allowed.
    #[error("{reference}: the registry did not answer within {seconds} s (`policies.pull.timeout`)")]
    Slow {
        /// What was asked for.
        reference: String,
        /// The limit.
        seconds: u64,
    },
    /// It wants credentials, or better ones.
    #[error(
        "{reference}: the registry does not let us: {reason}; check `policies.registries.{host}` or log in with \
         `docker login {host}`"
    )]
    Denied {
        /// What was asked for.
        reference: String,
        /// Its registry.
        host: String,
        /// The registry's words.
        reason: String,
    },
    /// No such repository or version.
    #[error("{reference}: the registry has no such artifact; check repository and version")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// Above the limit, by the manifest's word.
    #[error("{reference}: the policy has {length} bytes, the limit is {limit} (`policies.pull.largest`)")]
    TooLarge {
        /// What was asked for.
        reference: String,
        /// By the manifest.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// Something else than a policy.
    #[error("{reference}: the artifact is no policy: {reason}; push one with `witgate policy push`")]
    NoPolicy {
        /// What was asked for.
        reference: String,
        /// What it is instead.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("{reference}: the registry's answer cannot be used: {reason}")]
    Answer {
        /// What was asked for.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl PullError {
    /// Whether it is the artifact that is no good: asking again changes nothing until there is another.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::NoPolicy { .. } => true,
            Self::Unreachable { .. }
            | Self::Slow { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Answer { .. } => false,
        }
    }
}

/// What one look at a reference led to.
#[derive(Debug)]
pub enum Looked {
    /// It is the one that is known already.
    Unchanged,
    /// Another one, and its digest.
    New(String, Result<Artifact, PullError>),
}

impl Registry {
    /// For the registry of `reference`. Nothing is sent yet.
    ///
    /// # Errors
    /// When no client can be made, for example for want of root certificates.
    pub fn of(reference: &OciReference, access: &Access) -> Result<Self, PullError> {
        // Left to itself reqwest looks for the process's provider, and there may be none yet or already one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig {
            protocol: protocol(reference, access),
            platform_resolver: Some(Box::new(wasm_or_only)),
            user_agent: concat!("witgate/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config)
            .map_err(|error| PullError::Unreachable { reference: reference.to_string(), reason: chain(&error) })?;
        Ok(Self { client, auth: credentials::auth(&reference.host, &access.credentials) })
    }

    /// Looks whether `reference` is another artifact than the `known` one, and pulls it then.
    ///
    /// # Errors
    /// When not even its digest can be found out.
    pub async fn look(
        &self,
        reference: &OciReference,
        known: Option<&str>,
        limits: &Pull,
    ) -> Result<Looked, PullError> {
        let look = async {
            let digest = match reference.digest() {
                Some(digest) => digest.to_string(),
                None => {
                    let asked = self.client.fetch_manifest_digest(&wire(reference), &self.auth).await;
                    asked.map_err(|error| told(reference, error))?
                }
            };
            if known == Some(&digest) {
                return Ok(Looked::Unchanged);
            }
            let Some(pinned) = reference.pinned_to(&digest) else {
                return Err(answer(reference, format!("`{digest}` is no SHA-256 digest")));
            };
            let artifact = self.fetch(&pinned, &digest, limits).await;
            Ok(Looked::New(digest, artifact))
        };
        let slow = PullError::Slow { reference: reference.to_string(), seconds: limits.timeout.as_secs() };
        tokio::time::timeout(limits.timeout, look).await.unwrap_or(Err(slow))
    }

    /// Pulls `reference`.
    ///
    /// # Errors
    /// Why not.
    pub async fn pull(&self, reference: &OciReference, limits: &Pull) -> Result<Artifact, PullError> {
        match self.look(reference, None, limits).await? {
            Looked::New(_, artifact) => artifact,
            Looked::Unchanged => Err(answer(reference, "it is unchanged, but nothing was known".to_owned())),
        }
    }

    async fn fetch(&self, pinned: &OciReference, digest: &str, limits: &Pull) -> Result<Artifact, PullError> {
        let reference = wire(pinned);
        let pulled = self.client.pull_image_manifest(&reference, &self.auth).await;
        let (manifest, _) = pulled.map_err(|error| told(pinned, error))?;
        let parts = artifact::parts(&manifest)
            .map_err(|reason| PullError::NoPolicy { reference: pinned.to_string(), reason })?;
        let length = u64::try_from(parts.wasm.size).unwrap_or(0);
        if length > limits.largest {
            let (reference, limit) = (pinned.to_string(), limits.largest);
            return Err(PullError::TooLarge { reference, length, limit });
        }
        tracing::info!(source = %pinned, bytes = length, "pulling a policy");
        let bytes = self.blob(pinned, &reference, parts.wasm, length).await?;
        let signature = match parts.signature {
            None => None,
            Some(SignaturePart::Annotation(text)) => Some(text.to_owned()),
            Some(SignaturePart::Layer(layer)) => {
                let text = self.blob(pinned, &reference, layer, LARGEST_SIGNATURE).await?;
                Some(String::from_utf8_lossy(&text).into_owned())
            }
        };
        Ok(Artifact { digest: digest.to_owned(), bytes, signature })
    }

    /// A layer's content, of at most `limit` bytes whatever the manifest says.
    async fn blob(
        &self,
        pinned: &OciReference,
        reference: &Reference,
        layer: &OciDescriptor,
        limit: u64,
    ) -> Result<Vec<u8>, PullError> {
        // By digest alone: a layer's `urls` would lead to anywhere.
        let opened = self.client.pull_blob_stream(reference, layer.digest.as_str()).await;
        let mut stream = opened.map_err(|error| told(pinned, error))?.stream;
        let mut bytes = Vec::new();
        let broken = |error: std::io::Error| match error.get_ref() {
            Some(inner) if inner.is::<reqwest::Error>() => {
                PullError::Unreachable { reference: pinned.to_string(), reason: chain(inner) }
            }
            _ => answer(pinned, chain(&error)),
        };
        while let Some(piece) = stream.try_next().await.map_err(broken)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit {
                return Err(answer(pinned, format!("a layer has more than the {limit} bytes that it may have")));
            }
        }
        Ok(bytes)
    }

    /// Pushes a policy under the tag of `reference` and gives the digest of its manifest.
    ///
    /// # Errors
    /// Why not.
    pub async fn push(
        &self,
        reference: &OciReference,
        bytes: Vec<u8>,
        signature: Option<String>,
        about: About,
        limits: &Pull,
    ) -> Result<String, PullError> {
        let Packed { layers: [wasm], config, manifest } = artifact::pack(bytes, signature, about);
        let body = serde_json::to_vec(&manifest).map_err(|error| answer(reference, error.to_string()))?;
        let digest = format!("sha256:{}", hex(&Sha256::digest(&body)));
        let to = wire(reference);
        let push = async {
            self.client.store_auth_if_needed(to.resolve_registry(), &self.auth).await;
            self.client.push_blob(&to, wasm.data, &manifest.layers[0].digest).await?;
            self.client.push_blob(&to, config.data, &manifest.config.digest).await?;
            self.client.push_manifest_raw(&to, body, http::HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE)).await
        };
        let slow = PullError::Slow { reference: reference.to_string(), seconds: limits.timeout.as_secs() };
        tokio::time::timeout(limits.timeout, push).await.map_err(|_| slow)?.map_err(|error| told(reference, error))?;
        Ok(digest)
    }
}

/// Plain HTTP is for this machine, or has to be meant.
fn protocol(reference: &OciReference, access: &Access) -> ClientProtocol {
    let plain = access.insecure.unwrap_or_else(|| reference.is_local());
    if plain { ClientProtocol::Http } else { ClientProtocol::Https }
}

fn wire(reference: &OciReference) -> Reference {
    let (host, repository) = (reference.host.to_string(), reference.repository.to_string());
    match &reference.version {
        Version::Tag(tag) => Reference::with_tag(host, repository, tag.to_string()),
        Version::Digest { digest, .. } => Reference::with_digest(host, repository, digest.to_string()),
    }
}

/// Of an index of several platforms: the one for Wasm, or the only one.
fn wasm_or_only(entries: &[ImageIndexEntry]) -> Option<String> {
    let is_wasm = |entry: &&ImageIndexEntry| {
        entry.platform.as_ref().is_some_and(|platform| platform.architecture.to_string().starts_with("wasm"))
    };
    let only = || (entries.len() == 1).then(|| &entries[0]);
    entries.iter().find(is_wasm).or_else(only).map(|entry| entry.digest.clone())
}

/// The crate's errors in an operator's words.
fn told(reference: &OciReference, error: OciDistributionError) -> PullError {
    use OciDistributionError as Oci;
    let (text, host) = (reference.to_string(), reference.host.to_string());
    let denied = |reason: String| PullError::Denied { reference: text.clone(), host, reason };
    match error {
        Oci::UnauthorizedError { .. } => denied("it wants credentials".to_owned()),
        Oci::AuthenticationFailure(reason) => denied(first_line(&reason)),
        Oci::ServerError { code: 401 | 403, message, .. } => denied(first_line(&message)),
        Oci::ServerError { code: 404, .. } | Oci::ImageManifestNotFoundError(_) => {
            PullError::NotFound { reference: text }
        }
        Oci::RegistryError { envelope, .. } => {
            let codes: Vec<&OciErrorCode> = envelope.errors.iter().map(|error| &error.code).collect();
            let has = |wanted: &[OciErrorCode]| codes.iter().any(|code| wanted.contains(code));
            if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                denied(first_line(&envelope.to_string()))
            } else if has(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound]) {
                PullError::NotFound { reference: text }
            } else {
                PullError::Answer { reference: text, reason: first_line(&envelope.to_string()) }
            }
        }
        Oci::RequestError(error) if error.is_status() || error.is_decode() => {
            PullError::Answer { reference: text, reason: chain(&error.without_url()) }
        }
        Oci::RequestError(error) => PullError::Unreachable { reference: text, reason: chain(&error.without_url()) },
        Oci::ServerError { code, message, .. } => {
            PullError::Answer { reference: text, reason: format!("status {code} {}", first_line(&message)) }
        }
        other => PullError::Answer { reference: text, reason: chain(&other) },
    }
}

fn answer(reference: &OciReference, reason: String) -> PullError {
    PullError::Answer { reference: reference.to_string(), reason }
}

/// A registry may send a page; the first words are enough.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_to_another_machine_has_to_be_meant() {
        let reference = |host: &str| OciReference::parse(&format!("oci://{host}/x:1")).expect("a reference");
        let spoken = |host: &str, insecure| protocol(&reference(host), &Access { insecure, ..Access::default() });
        assert_eq!(spoken("registry.example", None), ClientProtocol::Https);
        assert_eq!(spoken("registry.example", Some(true)), ClientProtocol::Http);
        assert_eq!(spoken("localhost:5000", None), ClientProtocol::Http);
        assert_eq!(spoken("localhost:5000", Some(false)), ClientProtocol::Https);
    }

    #[test]
    fn every_answer_of_a_registry_has_its_own_words() {
        let reference = OciReference::parse("oci://ghcr.io/acme/budget:v1").expect("a reference");
        let envelope = |code: &str| {
            let text = format!(r#"{{"errors":[{{"code":"{code}","message":"the registry's words"}}]}}"#);
            let envelope = serde_json::from_str(&text).expect("an envelope");
            OciDistributionError::RegistryError { envelope, url: "u".to_owned() }
        };
        let status =
            |code| OciDistributionError::ServerError { code, url: "u".to_owned(), message: "busy\n".to_owned() };
        let said = |error| told(&reference, error).to_string();
        assert_eq!(
            said(envelope("DENIED")),
            "oci://ghcr.io/acme/budget:v1: the registry does not let us: OCI API errors: [OCI API error: the registry's \
             words]; check `policies.registries.ghcr.io` or log in with `docker login ghcr.io`"
        );
        assert_eq!(
            said(envelope("MANIFEST_UNKNOWN")),
            "oci://ghcr.io/acme/budget:v1: the registry has no such artifact; check repository and version"
        );
        assert_eq!(said(status(404)), said(envelope("NAME_UNKNOWN")));
        assert_eq!(
            said(status(503)),
            "oci://ghcr.io/acme/budget:v1: the registry's answer cannot be used: status 503 busy"
        );
        assert!(told(&reference, status(401)).to_string().contains("does not let us: busy"));
        assert!(told(&reference, envelope("TOOMANYREQUESTS")).to_string().contains("cannot be used"));
    }
}
