//! Checks that a policy's bytes are those that the operator asked for: by digest, by signature.
//!
//! It happens before anything else looks at the bytes, and offline: what is needed is in the configuration and beside
//! the bytes.

use std::sync::Arc;

use minisign_verify::{Error as MinisignError, Signature};
use witgate_core::config::{SigningKey, Supply};
use witgate_wasm::Hashed;

use super::hex;

/// Bytes that claim to be a policy.
pub struct Claim<'a> {
    /// Name of the policy.
    pub policy: &'a str,
    /// Where the bytes are from, for messages: a file's name, or a reference with the artifact's digest.
    pub from: &'a str,
    /// The `.wasm`.
    pub file: Hashed<&'a [u8]>,
    /// Text of the `.minisig`.
    pub signature: Option<&'a str>,
}

/// What was found out about bytes that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Of the bytes, as `sha256sum` prints it.
    pub sha256: Arc<str>,
    /// Id of the key that signed them, where a signature was asked for.
    pub key: Option<Arc<str>>,
}

/// Why bytes are not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy `{policy}`: {from} is refused: {problem}")]
pub struct Refusal {
    /// Name of the policy.
    pub policy: Arc<str>,
    /// Where the bytes are from.
    pub from: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with bytes, or with the configuration about them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Other bytes than the pinned ones.
    #[error(
        "its SHA-256 is {found}, but `{setting}` is {wanted}; put the pinned file back, or change the pin if this one \
         is meant"
    )]
    OtherBytes {
        /// Of the bytes.
        found: String,
        /// The key with the pin.
        setting: String,
        /// The pin.
        wanted: String,
    },
    /// Kept from another artifact than the pinned one.
    #[error("it is not from the artifact {wanted}, which `{setting}` names; name its own there if this one is meant")]
    OtherArtifact {
        /// The key with the pin.
        setting: String,
        /// The pin.
        wanted: String,
    },
    /// No signature.
    #[error(
        "it is not signed, but `{setting}` asks for a signature; sign it with `minisign -Sm FILE.wasm` and put the \
         .minisig beside it, in the folder or for `witgate policy push`"
    )]
    Unsigned {
        /// The key that asks.
        setting: String,
    },
    /// Everything must be signed, and no key is known for this one.
    #[error(
        "`policies.require_signature` asks for a signature, but no key is configured for it; add one to \
         `policies.verify` or to `policies.supply.{policy}.verify`"
    )]
    NoKey {
        /// Name of the policy.
        policy: Arc<str>,
    },
    /// The signature is no signature.
    #[error("its signature cannot be read ({reason}); sign it anew with `minisign -Sm FILE.wasm`")]
    Unreadable {
        /// What the format lacks.
        reason: String,
    },
    /// Signed by somebody else.
    #[error("it is signed with the key {found}, but `{setting}` names {wanted}; sign it with that key, or add the key")]
    OtherKey {
        /// Id of the key that signed.
        found: String,
        /// The key of the configuration.
        setting: String,
        /// Ids of the keys that count.
        wanted: String,
    },
    /// The signature is for other bytes.
    #[error(
        "its signature with the key {key} does not fit its bytes: they were changed after signing, or the signature \
         is that of another file; put back the file that was signed, or sign this one"
    )]
    Forged {
        /// Id of the key.
        key: String,
    },
}

/// Checks everything that the configuration asks for.
///
/// # Errors
/// The first thing that is wrong.
pub fn prove(supply: &Supply, claim: &Claim<'_>) -> Result<Proven, Refusal> {
    let refuse = |problem| Refusal { policy: claim.policy.into(), from: claim.from.to_owned(), problem };
    let own = supply.policies.get(claim.policy);
    let sha256 = claim.file.digest();
    if let Some(wanted) = own.and_then(|own| own.sha256).filter(|wanted| wanted != sha256) {
        return Err(refuse(Problem::OtherBytes {
            found: hex(sha256),
            setting: format!("policies.supply.{}.sha256", claim.policy),
            wanted: hex(&wanted),
        }));
    }
    let key = match asked(supply, claim.policy).map_err(refuse)? {
        None => None,
        Some((keys, asks)) => Some(signed_by(claim, keys, asks).map_err(refuse)?),
    };
    Ok(Proven { sha256: hex(sha256).into(), key })
}

/// Whether [`prove`] would find nothing wrong, as far as can be said without the bytes.
pub fn could_prove(supply: &Supply, policy: &str, sha256: &[u8; 32], signature: Option<&str>) -> bool {
    let pinned = supply.policies.get(policy).and_then(|own| own.sha256);
    let is_signed = |keys: &[SigningKey]| {
        let id = signature.and_then(SigningKey::id_in_signature);
        id.is_some_and(|id| keys.iter().any(|key| **key.id() == *id))
    };
    pinned.is_none_or(|pinned| pinned == *sha256)
        && asked(supply, policy).is_ok_and(|asked| asked.is_none_or(|(keys, _)| is_signed(keys)))
}

/// The keys of which one must have signed a policy, if one must.
fn asked<'a>(supply: &'a Supply, policy: &str) -> Result<Option<(&'a [SigningKey], Asks)>, Problem> {
    let own_keys = supply.policies.get(policy).map_or(&[][..], |own| &own.keys);
    match (own_keys, supply.require_signature) {
        ([], false) => Ok(None),
        ([], true) if supply.keys.is_empty() => Err(Problem::NoKey { policy: policy.into() }),
        ([], true) => {
            let asks = Asks { setting: "policies.require_signature".into(), names: "policies.verify".into() };
            Ok(Some((&supply.keys, asks)))
        }
        (keys, _) => {
            let setting = format!("policies.supply.{policy}.verify");
            Ok(Some((keys, Asks { setting: setting.clone(), names: setting })))
        }
    }
}

/// Keys of the configuration, for messages.
struct Asks {
    /// Asks for a signature.
    setting: String,
    /// Names the keys.
    names: String,
}

fn signed_by(claim: &Claim<'_>, keys: &[SigningKey], asks: Asks) -> Result<Arc<str>, Problem> {
    let text = claim.signature.ok_or(Problem::Unsigned { setting: asks.setting })?;
    let signature = Signature::decode(text).map_err(|error| Problem::Unreadable { reason: error.to_string() })?;
    for key in keys {
        match key.public().verify(claim.file.bytes(), &signature, false) {
            Ok(()) => return Ok(Arc::clone(key.id())),
            Err(MinisignError::UnexpectedKeyId) => {}
            Err(MinisignError::InvalidSignature) => return Err(Problem::Forged { key: key.id().to_string() }),
            Err(error) => return Err(Problem::Unreadable { reason: error.to_string() }),
        }
    }
    Err(Problem::OtherKey {
        found: SigningKey::id_in_signature(text).unwrap_or_default(),
        setting: asks.names,
        wanted: keys.iter().map(|key| &**key.id()).collect::<Vec<_>>().join(" and "),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use witgate_core::config::PolicySupply;

    use super::*;

    // Two keys, and what `minisign -Sm` made with each for a file that holds `abc`.
    const OURS: &str = "RWSSxsZ1fFgeLpjn7TCK0YNvFJDWuE52Hp+rb0AN9Ho1QDMsvf6FntLf";
    const BY_US: &str = "untrusted comment: signature from minisign secret key
RUSSxsZ1fFgeLvYsRHNoSmh66pCJ4MDD8MnxWRw8ZhcJ2HgW2ZRK0UTbQ6nm0kf+azB+hIAMhpkkZXdEJDcazNATo6fKrDplbwU=
trusted comment: timestamp:1795631689\tfile:abc\thashed
9gpODrINmI/xatCRfhZeRBwywZEKplMJ/ZIvb7z3kLPcqPtfNbVIZCDGckBIGiTImTEXqmG9U1zc0tg7XZ1BCA==
";
    const THEIRS: &str = "RWQwBcKPTct1QxiKA3CHqixiz0SG0V6MnwkIvQB6AtMcQARSiqAEySfS";
    const BY_THEM: &str = "untrusted comment: signature from minisign secret key
RUQwBcKPTct1Q6v5/YE8lSVib7dw4qVp5/lg+1OzJwN/36eKDcu9HquqtHzPvlck5Q/nP362daI+cMbIAlmAyRIX6opzeC/oKgQ=
trusted comment: timestamp:1795631689\tfile:abc\thashed
upKk7jFd2e7gIV6LsXYRwdHJGxw67Xs9+YNnYG4LrYoIPlkX7PNUpqTHqUFdQ1fPZlI7DGtNbCrv5fJl6u5JBA==
";

    fn keys(texts: &[&str]) -> Vec<SigningKey> {
        texts.iter().map(|text| SigningKey::parse(text).expect("a key")).collect()
    }

    fn claim<'a>(bytes: &'a [u8], signature: Option<&'a str>) -> Claim<'a> {
        Claim { policy: "guard", from: "guard.wasm", file: Hashed::new(bytes), signature }
    }

    fn guard(guard: PolicySupply) -> Supply {
        Supply { policies: BTreeMap::from([("guard".into(), guard)]), ..Supply::default() }
    }

    fn signed(by: &[&str]) -> Supply {
        guard(PolicySupply { keys: keys(by), ..PolicySupply::default() })
    }

    fn told(supply: &Supply, claim: &Claim<'_>) -> String {
        prove(supply, claim).expect_err("refused").to_string()
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn where_nothing_is_asked_for_only_the_digest_is_told() {
        let proven = prove(&Supply::default(), &claim(b"abc", Some("no signature at all"))).expect("taken");
        assert_eq!(proven, Proven { sha256: ABC.into(), key: None });
    }

    #[test]
    fn a_pin_lets_only_its_bytes_through() {
        let digest = *Hashed::new(b"abc").digest();
        let pinned = guard(PolicySupply { sha256: Some(digest), ..PolicySupply::default() });
        assert!(prove(&pinned, &claim(b"abc", None)).is_ok());
        assert_eq!(
            told(&pinned, &claim(b"", None)),
            format!(
                "policy `guard`: guard.wasm is refused: its SHA-256 is \
                 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, but `policies.supply.guard.sha256` \
                 is {ABC}; put the pinned file back, or change the pin if this one is meant"
            )
        );
    }

    #[test]
    fn what_cannot_be_proven_is_known_without_the_bytes() {
        let (abc, other) = (*Hashed::new("abc").digest(), *Hashed::new("").digest());
        let pinned = guard(PolicySupply { sha256: Some(abc), ..PolicySupply::default() });
        assert_eq!([abc, other].map(|sha256| could_prove(&pinned, "guard", &sha256, None)), [true, false]);
        assert!(could_prove(&pinned, "another", &other, None));
        let by = |supply: &Supply| [Some(BY_US), Some(BY_THEM), None].map(|by| could_prove(supply, "guard", &abc, by));
        assert_eq!(by(&signed(&[OURS])), [true, false, false]);
        assert_eq!(by(&signed(&[OURS, THEIRS])), [true, true, false]);
        let strict = Supply { require_signature: true, keys: keys(&[THEIRS]), ..Supply::default() };
        assert_eq!(by(&strict), [false, true, false]);
        assert_eq!(by(&Supply { keys: Vec::new(), ..strict }), [false, false, false]);
    }

    #[test]
    fn a_signature_by_one_of_the_keys_is_enough() {
        let both = signed(&[OURS, THEIRS]);
        for (signature, id) in [(BY_US, "2E1E587C75C6C692"), (BY_THEM, "4375CB4D8FC20530")] {
            let proven = prove(&both, &claim(b"abc", Some(signature))).expect("taken");
            assert_eq!(proven.key.as_deref(), Some(id));
        }
    }

    #[test]
    fn each_bad_signature_is_told_in_its_own_words() {
        let supply = signed(&[OURS]);
        assert_eq!(
            told(&supply, &claim(b"abc", None)),
            "policy `guard`: guard.wasm is refused: it is not signed, but `policies.supply.guard.verify` asks for a \
             signature; sign it with `minisign -Sm FILE.wasm` and put the .minisig beside it, in the folder or for \
             `witgate policy push`"
        );
        assert_eq!(
            told(&supply, &claim(b"abc", Some(BY_THEM))),
            "policy `guard`: guard.wasm is refused: it is signed with the key 4375CB4D8FC20530, but \
             `policies.supply.guard.verify` names 2E1E587C75C6C692; sign it with that key, or add the key"
        );
        assert_eq!(
            told(&supply, &claim(b"abd", Some(BY_US))),
            "policy `guard`: guard.wasm is refused: its signature with the key 2E1E587C75C6C692 does not fit its bytes: \
             they were changed after signing, or the signature is that of another file; put back the file that was \
             signed, or sign this one"
        );
        assert_eq!(
            told(&supply, &claim(b"abc", Some("nonsense"))),
            "policy `guard`: guard.wasm is refused: its signature cannot be read (Invalid encoding in minisign data); \
             sign it anew with `minisign -Sm FILE.wasm`"
        );
    }

    #[test]
    fn a_signature_s_comment_is_signed_too() {
        let signature = BY_US.replace("trusted comment: timestamp", "trusted comment: approved, timestamp");
        let refusal = prove(&signed(&[OURS]), &claim(b"abc", Some(&signature))).expect_err("refused");
        assert_eq!(refusal.problem, Problem::Forged { key: "2E1E587C75C6C692".to_owned() });
    }

    #[test]
    fn everything_may_have_to_be_signed() {
        let strict = |by: &[&str]| Supply { require_signature: true, keys: keys(by), ..Supply::default() };
        assert!(prove(&strict(&[OURS]), &claim(b"abc", Some(BY_US))).is_ok());
        assert_eq!(
            told(&strict(&[OURS]), &claim(b"abc", None)),
            "policy `guard`: guard.wasm is refused: it is not signed, but `policies.require_signature` asks for a \
             signature; sign it with `minisign -Sm FILE.wasm` and put the .minisig beside it, in the folder or for \
             `witgate policy push`"
        );
        assert_eq!(
            told(&strict(&[]), &claim(b"abc", Some(BY_US))),
            "policy `guard`: guard.wasm is refused: `policies.require_signature` asks for a signature, but no key is \
             configured for it; add one to `policies.verify` or to `policies.supply.guard.verify`"
        );
    }
}
