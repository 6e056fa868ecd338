//! A kept answer, and its form in Redis: a version byte, a digest over the key and all that follows, then the parts
//! with their lengths. A value that is cut, changed, of another key or of another version is no entry.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::key::Key;

/// An answer with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `content-type`, and what else belongs to the answer rather than to the exchange.
    pub headers: HeaderMap,
    /// The body as the client got it; of a stream, all its events.
    pub body: Bytes,
    /// The deployment that gave it.
    pub deployment: Box<str>,
    /// Milliseconds since 1970-01-01 UTC.
    pub(super) stored_at: u64,
    /// How long it is kept.
    pub(super) ttl: Duration,
}

impl Entry {
    /// An answer that is stored at the time `now`.
    pub(super) fn new(headers: &HeaderMap, body: Bytes, deployment: &str, ttl: Duration, now: u64) -> Self {
        Self { headers: kept(headers), body, deployment: deployment.into(), stored_at: now, ttl }
    }

    /// How old it is. Clocks of gateways differ a little, so a stored time may lie ahead.
    pub(super) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.stored_at))
    }

    /// How much longer it is kept; `None` when its time is over.
    pub(super) fn remaining(&self, now: u64) -> Option<Duration> {
        self.ttl.checked_sub(self.age(now)).filter(|left| !left.is_zero())
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn weight(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD);
        self.body.len() + self.deployment.len() + headers.sum::<usize>() + OVERHEAD
    }

    /// For Redis.
    pub(super) fn encode(&self, key: &Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.weight());
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; DIGEST]);
        bytes.extend_from_slice(&self.stored_at.to_le_bytes());
        let ttl = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&ttl.to_le_bytes());
        put(&mut bytes, self.deployment.as_bytes());
        bytes.extend_from_slice(&(self.headers.len() as u32).to_le_bytes());
        for (name, value) in &self.headers {
            put(&mut bytes, name.as_str().as_bytes());
            put(&mut bytes, value.as_bytes());
        }
        bytes.extend_from_slice(&self.body);
        let digest = digest(key, &bytes[1 + DIGEST..]);
        bytes[1..=DIGEST].copy_from_slice(&digest);
        bytes
    }

    /// From Redis; `None` when it is not as it was written. The body is not copied.
    pub(super) fn decode(key: &Key, mut bytes: Bytes) -> Option<Self> {
        let head = take(&mut bytes, 1 + DIGEST)?;
        if head[0] != VERSION || head[1..] != digest(key, &bytes) {
            return None;
        }
        let stored_at = take_u64(&mut bytes)?;
        let ttl = Duration::from_millis(take_u64(&mut bytes)?);
        let deployment = take_text(&mut bytes)?;
        let deployment = str::from_utf8(&deployment).ok()?.into();
        let mut headers = HeaderMap::new();
        for _ in 0..take_u32(&mut bytes)? {
            let name = HeaderName::from_bytes(&take_text(&mut bytes)?).ok()?;
            headers.append(name, HeaderValue::from_bytes(&take_text(&mut bytes)?).ok()?);
        }
        Some(Self { headers, body: bytes, deployment, stored_at, ttl })
    }
}

fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(KEPT.len());
    for name in KEPT {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn digest(key: &Key, content: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(key.0).chain_update(content).finalize().into()
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text);
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn take_text(bytes: &mut Bytes) -> Option<Bytes> {
    let length = take_u32(bytes)?;
    take(bytes, usize::try_from(length).ok()?)
}

fn take_u32(bytes: &mut Bytes) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.as_ref().try_into().ok()?))
}

fn take_u64(bytes: &mut Bytes) -> Option<u64> {
    Some(u64::from_le_bytes(take(bytes, 8)?.as_ref().try_into().ok()?))
}

/// Headers that belong to the answer. Rate limits, timings and ids belong to the exchange that is over.
const KEPT: [HeaderName; 4] = [
    CONTENT_TYPE,
    CONTENT_LANGUAGE,
    HeaderName::from_static("openai-version"),
    HeaderName::from_static("x-witgate-dropped"),
];
const VERSION: u8 = 1;
const DIGEST: usize = 32;
/// The map's, for each entry: the key, the entry's own fields, the bookkeeping of age and frequency.
const OVERHEAD: usize = 512;
const HEADER_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key([7; 32]);

    fn entry() -> Entry {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert("x-ratelimit-remaining-requests", HeaderValue::from_static("9"));
        headers.insert("x-request-id", HeaderValue::from_static("abc"));
        headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
        Entry::new(&headers, Bytes::from_static(b"data: [DONE]\n\n"), "m@p", Duration::from_secs(60), 1000)
    }

    #[test]
    fn only_headers_of_the_answer_are_kept() {
        let mut names: Vec<_> = entry().headers.keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["content-type", "openai-version"]);
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Entry::decode(&KEY, entry().encode(&KEY).into()), Some(entry()));
        let empty = Entry { headers: HeaderMap::new(), body: Bytes::new(), deployment: "".into(), ..entry() };
        assert_eq!(Entry::decode(&KEY, empty.encode(&KEY).into()), Some(empty));
    }

    #[test]
    fn an_entry_under_another_key_is_none() {
        assert_eq!(Entry::decode(&Key([8; 32]), entry().encode(&KEY).into()), None);
    }

    #[test]
    fn time_goes_by() {
        let entry = entry();
        assert_eq!((entry.age(1000), entry.remaining(1000)), (Duration::ZERO, Some(Duration::from_secs(60))));
        assert_eq!((entry.age(500), entry.remaining(500)), (Duration::ZERO, Some(Duration::from_secs(60))));
        assert_eq!(entry.remaining(60_999), Some(Duration::from_millis(1)));
        assert_eq!(entry.remaining(61_000), None);
        assert_eq!(entry.remaining(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn a_value_that_was_changed_is_none(place in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let mut bytes = entry().encode(&KEY);
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            prop_assert_eq!(Entry::decode(&KEY, bytes.into()), None);
        }

        #[test]
        fn a_value_that_was_cut_is_none(length in any::<prop::sample::Index>()) {
            let bytes = Bytes::from(entry().encode(&KEY));
            prop_assert_eq!(Entry::decode(&KEY, bytes.slice(..length.index(bytes.len()))), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Entry::decode(&KEY, bytes.into()), None);
        }
    }
}
