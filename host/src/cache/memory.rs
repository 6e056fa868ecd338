//! The tier in this process: bounded in bytes, and each answer for its own time. What is asked for often stays
//! (TinyLFU), so a flood of questions that nobody repeats does not wash it out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::entry::Entry;
use super::key::Key;

/// The map.
pub(super) struct Memory(Cache<Key, Kept, ahash::RandomState>);

#[derive(Clone)]
struct Kept {
    entry: Arc<Entry>,
    remaining: Duration,
}

impl Memory {
    /// For as many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_: &Key, kept: &Kept| u32::try_from(kept.entry.weight()).unwrap_or(u32::MAX))
            .expire_after(Remaining)
            .build_with_hasher(ahash::RandomState::new());
        Self(cache)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.0.get(key).map(|kept| kept.entry)
    }

    /// Keeps an answer for the time that it has left.
    pub(super) fn put(&self, key: Key, entry: Arc<Entry>, remaining: Duration) {
        self.0.insert(key, Kept { entry, remaining });
    }
}

struct Remaining;

impl Expiry<Key, Kept> for Remaining {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.remaining)
    }

    fn expire_after_update(&self, _: &Key, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.remaining)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn entry(length: usize) -> Arc<Entry> {
        Arc::new(Entry::new(&HeaderMap::new(), Bytes::from(vec![b'x'; length]), "m@p", MINUTE, 0))
    }

    #[test]
    fn an_answer_is_there_for_its_time_and_a_new_one_for_its_own() {
        let memory = Memory::new(1 << 20);
        let key = Key([1; 32]);
        memory.put(key, entry(1), Duration::from_secs(1));
        assert_eq!(memory.get(&key), Some(entry(1)));
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(memory.get(&key), None);

        memory.put(key, entry(2), Duration::from_millis(200));
        memory.put(key, entry(3), MINUTE);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(memory.get(&key), Some(entry(3)));
    }

    #[test]
    fn the_bytes_are_bounded() {
        let memory = Memory::new(100_000);
        for number in 0..200_u8 {
            memory.put(Key([number; 32]), entry(9_000), MINUTE);
        }
        memory.0.run_pending_tasks();
        assert!((1..=100_000).contains(&memory.0.weighted_size()), "{} bytes", memory.0.weighted_size());
        // What does not fit at all is not kept.
        let small = Memory::new(500);
        small.put(Key([1; 32]), entry(0), MINUTE);
        small.0.run_pending_tasks();
        assert_eq!(small.get(&Key([1; 32])), None);
    }
}
