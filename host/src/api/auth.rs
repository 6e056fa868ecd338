//! Who asks: from a request's headers to a tenant.
//!
//! A key is compared by its SHA-256 digest, in constant time, with every configured key, so neither its length nor a
//! common prefix shows in the time taken.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use witgate_core::admission::Priority;
use witgate_core::config::Config;

use crate::names::{ANONYMOUS, NameTable};

/// The configured client keys.
pub struct KeyRing {
    keys: Vec<Key>,
}

struct Key {
    digest: [u8; 32],
    caller: Caller,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Interned id of the tenant.
    pub tenant: u32,
    /// The tenant's name: the scope of the response cache.
    pub tenant_name: Arc<str>,
    /// The key's name, for logs; empty without keys.
    pub key_name: Arc<str>,
    /// The key may change things over the admin API.
    pub admin: bool,
    /// The highest that its requests may have.
    pub priority: Priority,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No key was sent.
    Missing,
    /// A key was sent that is not configured.
    Wrong,
}

impl KeyRing {
    /// The keys of `config`.
    pub fn new(config: &Config, names: &NameTable) -> Self {
        let keys = config.auth.keys.iter().map(|key| Key {
            digest: Sha256::digest(key.key.expose()).into(),
            caller: Caller {
                tenant: names.tenant_id(&key.tenant),
                tenant_name: Arc::clone(&key.tenant),
                key_name: Arc::clone(&key.name),
                admin: key.admin,
                priority: key.priority,
            },
        });
        Self { keys: keys.collect() }
    }

    /// Whether nobody has to show a key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Finds the caller by `Authorization: Bearer` or `x-api-key`. Without configured keys everybody is anonymous.
    ///
    /// # Errors
    /// When keys are configured and none of them was sent.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        if self.keys.is_empty() {
            return Ok(Caller {
                tenant: ANONYMOUS,
                tenant_name: Arc::from("anonymous"),
                key_name: Arc::from(""),
                admin: false,
                priority: Priority::default(),
            });
        }
        let digest: [u8; 32] = Sha256::digest(presented(headers).ok_or(AuthError::Missing)?).into();
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(&key.caller);
            }
        }
        found.cloned().ok_or(AuthError::Wrong)
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| key.trim_ascii())
    });
    let key = bearer.or_else(|| headers.get("x-api-key").map(http::HeaderValue::as_bytes))?;
    (!key.is_empty()).then_some(key)
}

const BEARER: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        let key = |name: &str, text: &str, tenant| Key {
            digest: Sha256::digest(text).into(),
            caller: Caller {
                tenant,
                tenant_name: name.into(),
                key_name: name.into(),
                admin: false,
                priority: Priority::Normal,
            },
        };
        KeyRing { keys: vec![key("alice", "sk-alice", 1), key("bob", "sk-bob", 2)] }
    }

    fn with(name: &'static str, value: &str) -> Result<u32, AuthError> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header value"));
        ring().authenticate(&headers).map(|caller| caller.tenant)
    }

    #[test]
    fn a_configured_key_opens_by_either_header() {
        assert_eq!(with("authorization", "Bearer sk-alice"), Ok(1));
        assert_eq!(with("authorization", "bearer  sk-bob "), Ok(2));
        assert_eq!(with("x-api-key", "sk-bob"), Ok(2));
    }

    #[test]
    fn anything_else_does_not() {
        assert_eq!(with("authorization", "Bearer sk-alic"), Err(AuthError::Wrong));
        assert_eq!(with("authorization", "Bearer sk-alice2"), Err(AuthError::Wrong));
        assert_eq!(with("authorization", "Bearer "), Err(AuthError::Missing));
        assert_eq!(with("authorization", "Basic c2st"), Err(AuthError::Missing));
        assert_eq!(with("x-other", "sk-alice"), Err(AuthError::Missing));
    }

    #[test]
    fn without_keys_everybody_is_anonymous() {
        let caller = KeyRing { keys: vec![] }.authenticate(&HeaderMap::new());
        assert_eq!(caller.map(|caller| caller.tenant), Ok(ANONYMOUS));
    }
}
