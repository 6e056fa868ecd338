//! Public keys that policies are signed with.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::PublicKey;

/// A minisign public key, with its id as minisign prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    key: PublicKey,
    id: Arc<str>,
}

impl SigningKey {
    /// A key as `minisign -p` shows it, or the content of a `.pub` file; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        let key = PublicKey::from_base64(line).ok()?;
        let bytes = BASE64_STANDARD.decode(line).ok()?;
        Some(Self { key, id: key_id(&bytes)?.into() })
    }

    /// Hexadecimal digits: what a person compares.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// For checking a signature.
    pub fn public(&self) -> &PublicKey {
        &self.key
    }

    /// The id of the key that made a signature, from the text of a `.minisig` file.
    pub fn id_in_signature(text: &str) -> Option<String> {
        key_id(&BASE64_STANDARD.decode(text.lines().nth(1)?.trim()).ok()?)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id).finish()
    }
}

/// The key's id out of a minisign key or signature: it follows two bytes that name the algorithm. As minisign prints it,
/// without leading zeros.
fn key_id(bytes: &[u8]) -> Option<String> {
    let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:X}", u64::from_le_bytes(id)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    // the example of minisign's own documentation
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n";

    #[test]
    fn a_key_is_read_with_and_without_its_comment_and_shows_its_id() {
        let key = SigningKey::parse(KEY).unwrap();
        assert_eq!(&**key.id(), "E7620F1842B4E81F");
        assert_eq!(format!("{key:?}"), "SigningKey(\"E7620F1842B4E81F\")");
        let file = format!("untrusted comment: minisign public key E7620F1842B4E81F\n{KEY}\n");
        assert_eq!(SigningKey::parse(&file), Some(key));
        assert_eq!(SigningKey::id_in_signature(SIGNATURE).as_deref(), Some("E7620F1842B4E81F"));
    }

    #[test]
    fn an_id_has_no_leading_zeros() {
        assert_eq!(key_id(b"EdABCDEFG\x0a").as_deref(), Some("A47464544434241"));
        assert_eq!(key_id(b"EdABCDEFG"), None);
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        for text in ["", "\n", "RWQf6", "keys/minisign.pub", &KEY[1..], &format!("{KEY}A")] {
            assert_eq!(SigningKey::parse(text), None, "{text:?}");
        }
        assert_eq!(SigningKey::id_in_signature("one line"), None);
        assert_eq!(SigningKey::id_in_signature("comment\nnot base64!"), None);
    }
}
