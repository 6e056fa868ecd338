//! The API keys of a deployment's provider: which one an attempt uses, and which are left alone for a while.
//!
//! A key that is refused (401) or whose account is empty is of no use to any deployment of the provider; a limit (429)
//! or a missing permission (403) is about one deployment's model. Keys take turns; of those that all cool down, the one
//! that is ready first is used, because whether to ask at all is a policy's decision. A key comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Millis;
use crate::vocabulary::FailureKind;

/// Keys that a provider may have.
pub const MOST_KEYS: usize = 32;

/// What all deployments of a provider share.
#[derive(Debug)]
pub struct ProviderKeys {
    count: AtomicU32,
    /// Of the keys themselves: where it changes, what was known of them is forgotten.
    fingerprint: AtomicU64,
    turn: AtomicU32,
    cooling: [Cooling; MOST_KEYS],
}

impl Default for ProviderKeys {
    /// One key, or none, which is the same here.
    fn default() -> Self {
        Self {
            count: AtomicU32::new(1),
            fingerprint: AtomicU64::new(0),
            turn: AtomicU32::new(0),
            cooling: Default::default(),
        }
    }
}

/// How long one key is to be left alone.
#[derive(Debug, Default)]
struct Cooling {
    until: AtomicU64,
    /// Refusals since it last worked.
    strikes: AtomicU32,
}

/// The keys as one deployment sees them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    provider: Arc<ProviderKeys>,
    own: [Cooling; MOST_KEYS],
}

impl ProviderKeys {
    /// So many keys, at most [`MOST_KEYS`]; other ones than before if the fingerprint is another.
    pub fn set(&self, count: usize, fingerprint: u64) {
        self.count.store(count.clamp(1, MOST_KEYS) as u32, Relaxed);
        if self.fingerprint.swap(fingerprint, Relaxed) != fingerprint {
            self.cooling.iter().for_each(Cooling::forget);
        }
    }

    fn count(&self) -> usize {
        self.count.load(Relaxed) as usize
    }
}

impl Keys {
    pub(super) fn of(provider: Arc<ProviderKeys>) -> Self {
        Self { provider, own: Default::default() }
    }

    pub(super) fn provider(&self) -> &Arc<ProviderKeys> {
        &self.provider
    }

    /// The key whose turn it is.
    pub(super) fn next(&self, now: Millis) -> usize {
        let count = self.provider.count();
        if count == 1 {
            return 0;
        }
        let turn = self.provider.turn.fetch_add(1, Relaxed) as usize;
        let is_ready = |key: &usize| self.until(*key) <= now.0;
        match (0..count).filter(is_ready).count() {
            0 => (0..count).min_by_key(|key| self.until(*key)).unwrap_or(0),
            ready => (0..count).filter(is_ready).nth(turn % ready).unwrap_or(0),
        }
    }

    /// Milliseconds until some key is ready.
    pub(super) fn cooldown_ms(&self, now: Millis) -> f64 {
        let first = (0..self.provider.count()).map(|key| self.until(key)).min();
        Millis(first.unwrap_or(0)).since(now)
    }

    /// Keys that are ready.
    pub(super) fn ready(&self, now: Millis) -> u32 {
        (0..self.provider.count()).map(|key| u32::from(self.until(key) <= now.0)).sum()
    }

    /// The key worked.
    pub(super) fn served(&self, key: usize) {
        for cooling in self.both(key) {
            if cooling.strikes.load(Relaxed) != 0 {
                cooling.strikes.store(0, Relaxed);
            }
        }
    }

    /// The attempt failed; `status` tells a wrong key from a missing permission.
    pub(super) fn failed(&self, key: usize, kind: FailureKind, status: u16, asked: Option<Duration>, now: Millis) {
        let [shared, own] = self.both(key);
        match kind {
            FailureKind::RateLimited => own.cool(asked.unwrap_or(RATE_LIMITED), now),
            FailureKind::QuotaExhausted => shared.refuse(asked, QUOTA, LONGEST_QUOTA, now),
            FailureKind::Unauthorised if status == 403 => own.refuse(asked, FORBIDDEN, LONGEST_REFUSED, now),
            FailureKind::Unauthorised => shared.refuse(asked, REFUSED, LONGEST_REFUSED, now),
            _ => {}
        }
    }

    fn both(&self, key: usize) -> [&Cooling; 2] {
        let key = key.min(MOST_KEYS - 1);
        [&self.provider.cooling[key], &self.own[key]]
    }

    fn until(&self, key: usize) -> u64 {
        let [shared, own] = self.both(key);
        shared.until.load(Relaxed).max(own.until.load(Relaxed))
    }
}

impl Cooling {
    /// A later answer never shortens a pause that the provider asked for.
    fn cool(&self, pause: Duration, now: Millis) {
        self.until.fetch_max(now.after(pause.min(LONGEST_LIMIT)).0, Relaxed);
    }

    /// Twice as long each time, until it works again.
    fn refuse(&self, asked: Option<Duration>, first: Duration, longest: Duration, now: Millis) {
        let strikes = self.strikes.fetch_add(1, Relaxed).min(16);
        let pause = asked.unwrap_or_else(|| first.saturating_mul(1 << strikes)).min(longest);
        self.until.fetch_max(now.after(pause).0, Relaxed);
    }

    fn forget(&self) {
        self.until.store(0, Relaxed);
        self.strikes.store(0, Relaxed);
    }
}

/// After a 429 without `Retry-After`.
const RATE_LIMITED: Duration = Duration::from_secs(3);
/// However long a provider says.
const LONGEST_LIMIT: Duration = Duration::from_secs(300);
/// The first time; somebody may be about to put it right.
const REFUSED: Duration = Duration::from_secs(30);
/// Short, because some providers say 403 to single requests too.
const FORBIDDEN: Duration = Duration::from_secs(5);
const LONGEST_REFUSED: Duration = Duration::from_secs(15 * 60);
const QUOTA: Duration = Duration::from_secs(5 * 60);
const LONGEST_QUOTA: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> Keys {
        let provider = Arc::new(ProviderKeys::default());
        provider.set(count, 1);
        Keys::of(provider)
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    const NOW: Millis = Millis(1_000);

    #[test]
    fn keys_take_turns_and_those_that_cool_down_are_left_out() {
        let keys = keys(3);
        assert_eq!([(); 4].map(|()| keys.next(NOW)), [0, 1, 2, 0]);
        keys.failed(1, FailureKind::RateLimited, 429, seconds(10), NOW);
        let used: Vec<_> = (0..6).map(|_| keys.next(NOW)).collect();
        assert!(!used.contains(&1) && used.contains(&0) && used.contains(&2), "{used:?}");
        assert_eq!((keys.ready(NOW), keys.cooldown_ms(NOW)), (2, 0.0));
        assert_eq!((keys.ready(Millis(10_999)), keys.ready(Millis(11_000))), (2, 3));
    }

    #[test]
    fn when_all_cool_down_the_first_to_be_ready_is_used() {
        let keys = keys(2);
        keys.failed(0, FailureKind::RateLimited, 429, seconds(20), NOW);
        keys.failed(1, FailureKind::RateLimited, 429, seconds(10), NOW);
        assert_eq!([keys.next(NOW), keys.next(NOW)], [1, 1]);
        assert_eq!((keys.ready(NOW), keys.cooldown_ms(NOW)), (0, 10_000.0));
    }

    #[test]
    fn a_wrong_key_is_wrong_for_all_deployments_and_a_limit_is_one_s_own() {
        let one = keys(2);
        let other = Keys::of(Arc::clone(one.provider()));
        one.failed(0, FailureKind::RateLimited, 429, None, NOW);
        assert_eq!((one.ready(NOW), other.ready(NOW)), (1, 2));
        one.failed(0, FailureKind::Unauthorised, 403, None, NOW);
        assert_eq!(other.ready(NOW), 2);
        one.failed(1, FailureKind::Unauthorised, 401, None, NOW);
        assert_eq!((one.ready(NOW), other.ready(NOW)), (0, 1));
        one.failed(0, FailureKind::QuotaExhausted, 429, None, NOW);
        assert_eq!(other.ready(NOW), 0);
    }

    #[test]
    fn a_key_that_is_refused_again_waits_twice_as_long_until_it_works() {
        let keys = keys(1);
        let refused_at = |now: u64| {
            keys.failed(0, FailureKind::Unauthorised, 401, None, Millis(now));
            keys.cooldown_ms(Millis(now))
        };
        assert_eq!([refused_at(0), refused_at(100_000), refused_at(300_000)], [30_000.0, 60_000.0, 120_000.0]);
        keys.served(0);
        assert_eq!(refused_at(1_000_000), 30_000.0);
        for at in 2..12 {
            refused_at(at * 1_000_000);
        }
        assert_eq!(refused_at(100_000_000), 900_000.0);
    }

    #[test]
    fn other_keys_start_afresh_and_their_number_has_a_limit() {
        let keys = keys(1);
        keys.failed(0, FailureKind::Unauthorised, 401, None, NOW);
        keys.provider().set(2, 1);
        assert_eq!(keys.ready(NOW), 1);
        keys.provider().set(2, 2);
        assert_eq!(keys.ready(NOW), 2);
        keys.provider().set(MOST_KEYS + 1, 3);
        assert_eq!(keys.ready(NOW), MOST_KEYS as u32);
    }
}
