//! The bytes of a policy's file together with their SHA-256, which names the revision, the code in the cache, a pin.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Bytes and their SHA-256. It is computed once, because a file may have 40 MB, and always fits the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed<B> {
    bytes: B,
    digest: [u8; 32],
}

impl<B: AsRef<[u8]>> Hashed<B> {
    /// Computes it.
    pub fn new(bytes: B) -> Self {
        let digest = Sha256::digest(bytes.as_ref()).into();
        Self { bytes, digest }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Their SHA-256.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The same, borrowed.
    pub fn borrowed(&self) -> Hashed<&[u8]> {
        Hashed { bytes: self.bytes.as_ref(), digest: self.digest }
    }

    /// Without the digest.
    pub fn into_bytes(self) -> B {
        self.bytes
    }
}

impl Hashed<Vec<u8>> {
    /// The same, to be shared.
    pub fn shared(self) -> Hashed<Arc<[u8]>> {
        Hashed { bytes: self.bytes.into(), digest: self.digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_stays_with_the_bytes() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = Hashed::new(b"abc".to_vec());
        assert_eq!(crate::code_cache::hex(file.digest()), abc);
        assert_eq!((file.borrowed().bytes(), file.borrowed().digest()), (&b"abc"[..], file.digest()));
        assert_eq!(file.clone().shared(), Hashed::new(Arc::from(&b"abc"[..])));
        assert_eq!(file.into_bytes(), b"abc");
    }
}
