//! The exact response cache: the same question by the same tenant is answered with the same bytes, within the time
//! that its route grants.
//!
//! A route caches or it does not; where it does, every answer that ended well is kept, whatever the request's
//! temperature. An operator who wants fresh samples leaves the route uncached, and a client asks for one with
//! `Cache-Control: no-cache` (`no-store` keeps an answer out, `max-age` refuses older ones). Requests that make the
//! provider remember something are never answered from here.
//!
//! Two tiers: this process's memory, and, where one is configured, a Redis that gateways share. A hit in Redis moves
//! into memory for the time that it has left.

use std::sync::Arc;
use std::time::Duration;

use witgate_core::config;

use self::directives::Directives;
use self::key::Key;
use self::memory::Memory;
use self::redis::Redis;
use crate::clock;
use crate::telemetry::metrics::{CacheMetrics, Metrics};

mod canonical;
mod directives;
mod entry;
mod key;
mod memory;
mod record;
mod redis;
#[cfg(test)]
mod tests;

pub use entry::Entry;
pub use key::{Question, Scope};
pub use record::{Recording, Slot};

/// Kept answers.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    memory: Memory,
    redis: Option<Redis>,
    largest: usize,
    metrics: CacheMetrics,
}

/// What became of a question.
pub enum Lookup {
    /// It was answered before.
    Hit(Hit),
    /// It was not; its answer may be kept in the slot.
    Miss(Slot),
    /// It has nothing to do with the cache.
    Bypass,
}

/// A kept answer that serves a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The answer.
    pub entry: Arc<Entry>,
    /// For the header `age`.
    pub age: Duration,
    /// Where it was found.
    pub tier: Tier,
}

/// Where answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In this process.
    Memory,
    /// In the Redis that gateways share.
    Redis,
}

impl Tier {
    /// For logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The URL cannot be used. What is wrong is told without the URL, which may hold a password.
    #[error("`cache.redis.url` cannot be used: {problem}. Write `redis://host:6379` or `rediss://host:6379`")]
    Url {
        /// In the words of the Redis client.
        problem: String,
    },
    /// The shared tier works in the background.
    #[error("a cache with `cache.redis` can only be made within an async runtime")]
    NoRuntime,
}

impl CacheError {
    pub(crate) fn url(error: ::redis::RedisError) -> Self {
        Self::Url { problem: error.to_string() }
    }
}

impl Cache {
    /// An empty cache. A shared tier is connected in the background.
    ///
    /// # Errors
    /// When the shared tier's URL cannot be used.
    pub fn new(config: &config::Cache, metrics: &Metrics) -> Result<Self, CacheError> {
        let metrics = metrics.cache();
        let redis = config.redis.as_ref().map(|redis| Redis::new(redis, metrics.clone())).transpose()?;
        Ok(Self(Arc::new(Inner { memory: Memory::new(config.memory), redis, largest: config.largest, metrics })))
    }

    /// Looks for an answer.
    pub async fn look(&self, question: Question<'_>) -> Lookup {
        let Some(scope) = question.scope else { return Lookup::Bypass };
        let cache = &self.0;
        let directives = Directives::of(question.headers);
        let useless = directives.no_cache && directives.no_store;
        let Some(key) = Key::of(scope, &question).filter(|_| !useless) else {
            cache.metrics.bypassed.inc();
            return Lookup::Bypass;
        };
        if directives.no_cache {
            cache.metrics.bypassed.inc();
        } else if let Some(hit) = cache.find(key, directives.max_age).await {
            cache.metrics.age.observe(hit.age.as_secs_f64());
            return Lookup::Hit(hit);
        }
        if directives.no_store {
            return Lookup::Bypass;
        }
        let endpoint = question.endpoint;
        Lookup::Miss(Slot { cache: Arc::clone(cache), key, ttl: scope.ttl(), endpoint })
    }

    /// Waits for what is on its way to Redis.
    pub async fn stop(&self) {
        if let Some(redis) = &self.0.redis {
            redis.stop().await;
        }
    }
}

impl Inner {
    async fn find(&self, key: Key, max_age: Option<Duration>) -> Option<Hit> {
        let now = clock::wall_ms() as u64;
        let hit = |entry: &Arc<Entry>, tier| {
            let age = entry.age(now);
            let fresh = max_age.is_none_or(|max_age| age <= max_age);
            fresh.then(|| Hit { entry: Arc::clone(entry), age, tier })
        };
        if let Some(hit) = self.memory.get(&key).and_then(|entry| hit(&entry, Tier::Memory)) {
            self.metrics.memory_hits.inc();
            return Some(hit);
        }
        self.metrics.memory_misses.inc();
        let entry = Arc::new(self.redis.as_ref()?.get(&key).await?);
        // Redis ends an answer's time by its own clock; a gateway whose clock is ahead ends it sooner.
        let remaining = entry.remaining(now)?;
        let hit = hit(&entry, Tier::Redis)?;
        self.memory.put(key, entry, remaining);
        Some(hit)
    }

    fn store(&self, key: Key, entry: Arc<Entry>, ttl: Duration) {
        self.metrics.stored.inc();
        if let Some(redis) = &self.redis {
            redis.put(key, Arc::clone(&entry));
        }
        self.memory.put(key, entry, ttl);
    }
}
