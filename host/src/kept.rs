//! Which provider keeps which response, so that what a client later wants of one reaches the place where it lies.
//!
//! A response's id does not say where it was made. So the gateway remembers it, for the tenant that it was made for and
//! for nobody else, in this process alone: after a restart, or at another gateway, it is not known.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

/// The responses that are known.
pub struct KeptResponses(Cache<Key, Arc<str>, ahash::RandomState>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    tenant: Arc<str>,
    id: Box<str>,
}

impl KeptResponses {
    /// None so far.
    pub fn new() -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(LONGEST);
        Self(known.build_with_hasher(ahash::RandomState::new()))
    }

    /// The provider of this name has made a response. An id that nobody would give is passed over.
    pub fn remember(&self, tenant: &Arc<str>, id: &str, provider: &Arc<str>) {
        if id.len() <= LONGEST_ID {
            self.0.insert(Key { tenant: Arc::clone(tenant), id: id.into() }, Arc::clone(provider));
        }
    }

    /// The name of the provider that has made a response for this tenant.
    pub fn provider_of(&self, tenant: &Arc<str>, id: &str) -> Option<Arc<str>> {
        self.0.get(&Key { tenant: Arc::clone(tenant), id: id.into() })
    }
}

impl Default for KeptResponses {
    fn default() -> Self {
        Self::new()
    }
}

/// About 15 MiB.
const MOST: u64 = 65_536;
/// As long as OpenAI keeps them.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// OpenAI's have about 60 bytes.
const LONGEST_ID: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_known_to_the_tenant_that_it_was_made_for() {
        let (kept, provider) = (KeptResponses::new(), Arc::from("p"));
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        kept.remember(&ann, "resp_1", &provider);
        assert_eq!(kept.provider_of(&ann, "resp_1"), Some(provider.clone()));
        assert_eq!((kept.provider_of(&bob, "resp_1"), kept.provider_of(&ann, "resp_2")), (None, None));
        let longest = "x".repeat(LONGEST_ID);
        kept.remember(&ann, &longest, &provider);
        kept.remember(&ann, &format!("{longest}x"), &provider);
        assert_eq!(kept.provider_of(&ann, &longest), Some(provider));
        assert_eq!(kept.provider_of(&ann, &format!("{longest}x")), None);
    }
}
