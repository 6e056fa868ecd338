//! Under which key an answer is kept: everything that may make a difference to it.
//!
//! A key is the SHA-256 of the tenant, the endpoint, the route with every deployment that may answer on it, the model
//! after aliases, the headers that ask a provider for other behaviour, and the whole request in its canonical form.
//! So any field that differs, known or not, is a miss.
//!
//! The answer is looked up before a policy picks a deployment, so the pick cannot be in the key. What is in it
//! instead is the route's whole offer: an answer of any of these deployments is an answer that the route may give.
//! When the configuration changes the offer (another model, another provider, another address), the fingerprint and
//! with it every key of the route changes. What a policy makes of the offer is not in it; a new policy meets answers
//! of the old one until their time is over.
//!
//! `stream` and `stream_options` are fields like any other, so streamed and whole answers are kept apart and each is
//! replayed byte for byte as it was.

use std::fmt::{self, Write as _};
use std::time::Duration;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use witgate_core::config::{Config, Dialect, Route, RouteCache};
use witgate_core::deployment::UpstreamModel;
use witgate_core::openai::Endpoint;

use super::canonical;

/// Where an answer is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) [u8; 32]);

/// A cached route: what of it goes into the keys, and how long its answers are kept. Made once for each snapshot.
#[derive(Clone, Debug)]
pub struct Scope {
    ttl: Duration,
    fingerprint: [u8; 32],
}

/// A request, as far as its answer depends on it.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Of its route; `None` when the route is not cached.
    pub scope: Option<&'a Scope>,
    /// Who asks: an answer is only ever given to the tenant that caused it.
    pub tenant: &'a str,
    /// What is asked for.
    pub endpoint: Endpoint,
    /// The model after aliases.
    pub model: &'a str,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// A JSON object; it has been checked to be one.
    pub body: &'a [u8],
}

impl Scope {
    /// What `route` comes to; `None` when it is not cached.
    pub fn of(config: &Config, route: &Route) -> Option<Self> {
        let RouteCache::For(ttl) = route.cache else { return None };
        let mut hash = Hasher::new(b"witgate route 1");
        hash.text(route.name.as_bytes());
        let fallbacks = route.fallbacks.iter().filter_map(|place| config.routes.get(*place));
        for offered in std::iter::once(route).chain(fallbacks) {
            hash.count(offered.deployments.len());
            for number in &offered.deployments {
                if let Some(configured) = config.deployments.get(*number as usize) {
                    hash_deployment(&mut hash, config, configured);
                }
            }
        }
        Some(Self { ttl, fingerprint: hash.finish() })
    }

    /// How long answers are kept.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}

fn hash_deployment(hash: &mut Hasher, config: &Config, configured: &witgate_core::config::ConfiguredDeployment) {
    let spec = &configured.deployment;
    hash.text(spec.id.as_bytes());
    match &spec.model {
        UpstreamModel::Named(model) => hash.text(model.as_bytes()),
        UpstreamModel::AsRequested => hash.text(b""),
    }
    // A capability's name as the model narrows the offer by these.
    hash.count(spec.capabilities.len());
    for capability in &spec.capabilities {
        hash.text(capability.as_bytes());
    }
    let Some(provider) = config.providers.get(configured.provider) else { return };
    hash.text(provider.name.as_bytes());
    hash.text(provider.base_url.as_bytes());
    hash.text(match provider.dialect {
        Dialect::OpenAi => b"openai",
        Dialect::Ollama => b"ollama",
        Dialect::Anthropic => b"anthropic",
        Dialect::Demo => b"demo",
    });
}

impl Key {
    /// The key of a question; `None` when no answer to it may be kept.
    pub(super) fn of(scope: &Scope, question: &Question<'_>) -> Option<Self> {
        let body = canonical::encode(question.body)?;
        // A response is kept by its provider unless the request says otherwise.
        let kept = question.endpoint == Endpoint::Responses && !body.unstored;
        if body.stateful || kept {
            return None;
        }
        let mut hash = Hasher::new(b"witgate key 1");
        hash.text(question.tenant.as_bytes());
        hash.text(question.endpoint.path().as_bytes());
        hash.text(&scope.fingerprint);
        hash.text(question.model.as_bytes());
        for name in ANSWER_CHANGING {
            let values = question.headers.get_all(name);
            hash.count(values.iter().count());
            for value in values {
                hash.text(value.as_bytes());
            }
        }
        hash.text(&body.bytes);
        Some(Self(hash.finish()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(2 * self.0.len());
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hashes texts with their lengths, so that no two lists of texts run into each other.
struct Hasher(Sha256);

impl Hasher {
    /// `purpose` names the format and its version: a change of the encoding must change it.
    fn new(purpose: &[u8]) -> Self {
        let mut hash = Self(Sha256::new());
        hash.text(purpose);
        hash
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.update(text);
    }

    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_le_bytes());
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Client headers that reach the provider and ask it to behave otherwise. Not those that trace, identify or retry.
const ANSWER_CHANGING: [&str; 3] = ["openai-beta", "anthropic-beta", "anthropic-version"];

#[cfg(test)]
mod tests;
