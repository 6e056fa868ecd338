//! The id of one request: the client's own if it is a sane one, else a fresh one.
//!
//! A fresh id sorts by time and is unique across gateways: 48 bits of wall clock in milliseconds and 80 random bits,
//! as a ULID behind `req_`.

use std::fmt;

use http::{HeaderName, HeaderValue, Request};

use crate::clock;

/// One request's id: visible ASCII, at most [`LONGEST`] characters.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// The header that carries it, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a client's id.
pub const LONGEST: usize = 128;

impl RequestId {
    /// What the client sent as `x-request-id`, or a fresh one where that is missing or not sane: it goes into logs
    /// and to upstreams.
    pub fn of<B>(request: &Request<B>) -> Self {
        match request.headers().get(HEADER) {
            Some(value) if is_sane(value.as_bytes()) => Self(value.clone()),
            _ => Self::fresh(),
        }
    }

    /// A new one.
    pub fn fresh() -> Self {
        let id = encode(clock::wall_ms() as u64, fastrand::u128(..));
        // The alphabet is visible ASCII, so this cannot fail.
        Self(HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("req_")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// For the answer's header.
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_sane(id: &[u8]) -> bool {
    let fits = (1..=LONGEST).contains(&id.len());
    fits && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(byte))
}

fn encode(milliseconds: u64, random: u128) -> [u8; PREFIX.len() + DIGITS] {
    let mut id = [0; PREFIX.len() + DIGITS];
    let (prefix, digits) = id.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX);
    let mut rest = u128::from(milliseconds) << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1);
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    id
}

const PREFIX: &[u8; 4] = b"req_";
/// 128 bits, five in each.
const DIGITS: usize = 26;
const RANDOM_BITS: u32 = 80;
/// Crockford's base 32: no letters that are taken for digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn sent(id: &str) -> RequestId {
        let value = HeaderValue::from_bytes(id.as_bytes()).unwrap();
        RequestId::of(&Request::builder().header(HEADER, value).body(()).unwrap())
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept() {
        for id in ["a", "0af7651916cd43dd8448eb211c80319c", "trace:1.2-x_y", &"x".repeat(LONGEST)] {
            assert_eq!(sent(id).as_str(), id);
            assert_eq!(sent(id).header_value(), id);
        }
    }

    #[test]
    fn any_other_is_replaced() {
        for id in ["", "two words", "a\"b", "é", "a/b", &"x".repeat(LONGEST + 1)] {
            let fresh = sent(id);
            assert!(fresh.as_str().starts_with("req_") && fresh.as_str().len() == 30, "{id:?} became {fresh}");
        }
        let none = RequestId::of(&Request::new(()));
        assert_eq!(none.as_str().len(), 30);
    }

    #[test]
    fn fresh_ids_differ_also_across_threads() {
        let make = || (0..1000).map(|_| RequestId::fresh().to_string()).collect::<Vec<_>>();
        let others: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let ids = others.into_iter().flat_map(|thread| thread.join().unwrap()).chain(make());
        assert_eq!(ids.collect::<HashSet<_>>().len(), 5000);
    }

    #[test]
    fn ids_sort_by_time_and_use_all_their_bits() {
        assert_eq!(&encode(0, 0), b"req_00000000000000000000000000");
        assert_eq!(&encode((1 << 48) - 1, u128::MAX), b"req_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert!(encode(1, 0) > encode(0, u128::MAX));
    }
}
