//! Text that must not be seen.
//!
//! A [`Secret`] shows itself in no log, no error and no debug output; [`Secret::expose`] is the only way to its text,
//! so that every use can be found by that word.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A key, a password, or a text that may hold one.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself: for sending it, never for showing it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its SHA-256, for [`same_digest`].
    pub fn digest(&self) -> [u8; 32] {
        digest(self.0.as_bytes())
    }

    /// Whether a client sent this secret. The time that it takes says nothing about the text.
    pub fn matches(&self, sent: &[u8]) -> bool {
        same_digest(&self.digest(), &digest(sent))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        same_digest(&self.digest(), &other.digest())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// SHA-256. Comparing digests instead of texts hides their lengths too.
pub fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Compares two digests in constant time.
pub fn same_digest(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("sk-hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:#?}", Some(&secret)),
            "(redacted) Secret(redacted) Some(\n    Secret(redacted),\n)"
        );
        assert_eq!(secret.expose(), "sk-hunter2");
    }

    #[test]
    fn only_the_same_text_matches() {
        let secret = Secret::new("sk-hunter2");
        assert!(secret.matches(b"sk-hunter2"));
        assert!(!secret.matches(b"sk-hunter3"));
        assert!(!secret.matches(b"sk-hunter"));
        assert!(!secret.matches(b""));
    }
}
