//! Where policies come from, and what proves them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::policies::is_policy_name;
use super::values::{DAY, duration, is_name, secret, size};
use crate::config::findings::Findings;
use crate::config::interpolate::Lookup;
use crate::config::oci::{OciReference, is_host};
use crate::config::problem::KeyPath;
use crate::config::raw::policies::RawPolicies;
use crate::config::raw_supply::{RawPull, RawRegistry, RawSupply, RawVerify};
use crate::config::shapes::OneOrMany;
use crate::config::signing::SigningKey;
use crate::config::supply::{Access, Credentials, PolicySupply, Pull, Supply};

const SECOND: Duration = Duration::from_secs(1);
const LONGEST_PULL: Duration = Duration::from_secs(600);
/// The engine takes no larger file.
const LARGEST: RangeInclusive<u64> = 1024..=64 << 20;

/// Takes its parts out of `raw`.
pub(super) fn supply(
    raw: &mut RawPolicies,
    path: &KeyPath,
    findings: &mut Findings<'_>,
    lookup: &dyn Lookup,
) -> Supply {
    let require_signature = raw.require_signature.unwrap_or(false);
    let mut supply = Supply {
        require_signature,
        keys: keys(raw.verify.take(), &path.key("verify"), findings, lookup),
        pull: pull(raw.pull.take().unwrap_or_default(), &path.key("pull"), findings),
        ..Supply::default()
    };
    for (host, raw) in raw.registries.take().unwrap_or_default().0 {
        let path = path.key("registries").key(&host);
        if !is_host(&host) {
            let hint = "write a host's name, with the port if there is one, for example `ghcr.io` or `10.0.0.7:5000`";
            findings.error(&path, format!("`{host}` is no host"), hint);
        }
        supply.registries.insert(host.into(), access(raw, &path, findings, lookup));
    }
    for (name, raw) in raw.supply.take().unwrap_or_default().0 {
        let path = path.key("supply").key(&name);
        is_policy_name(&name, &path, findings);
        supply.policies.insert(name.into(), policy(raw, &path, findings, lookup));
    }
    let any_key = !supply.keys.is_empty() || supply.policies.values().any(|policy| !policy.keys.is_empty());
    if require_signature && !any_key && !findings.any_error_at(path) {
        findings.error(
            &path.key("require_signature"),
            "every policy must be signed, but there is no key that could have signed one",
            "add a public key, for example `verify: {minisign: RW...}`",
        );
    }
    supply
}

fn policy(raw: RawSupply, path: &KeyPath, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> PolicySupply {
    PolicySupply {
        source: raw.source.and_then(|text| source(&text, &path.key("source"), findings)),
        sha256: raw.sha256.and_then(|text| sha256(&text, &path.key("sha256"), findings)),
        keys: keys(raw.verify, &path.key("verify"), findings, lookup),
    }
}

fn source(text: &str, path: &KeyPath, findings: &mut Findings<'_>) -> Option<OciReference> {
    let parsed = OciReference::parse(text);
    if let Err(error) = &parsed {
        let hint = "write for example `oci://ghcr.io/acme/budget:v1`, or `oci://ghcr.io/acme/budget@sha256:...`";
        findings.error(path, format!("{text:?} is no reference to an artifact: {error}"), hint);
    }
    parsed.ok()
}

fn sha256(text: &str, path: &KeyPath, findings: &mut Findings<'_>) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let bytes = digits
        .map(|digits| digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect());
    let digest = bytes.and_then(|bytes: Vec<u8>| bytes.try_into().ok()).filter(|_| hex.len() == 64);
    if digest.is_none() {
        let hint = "write the 64 hexadecimal digits that `sha256sum` prints for the `.wasm` file";
        findings.error(path, format!("{text:?} is no SHA-256"), hint);
    }
    digest
}

fn keys(raw: Option<RawVerify>, path: &KeyPath, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Vec<SigningKey> {
    let path = path.key("minisign");
    let (texts, is_list) = match raw.and_then(|raw| raw.minisign).map(|texts| texts.0) {
        None => return Vec::new(),
        Some(OneOrMany::One(text)) => (vec![text], false),
        Some(OneOrMany::Many(texts)) => (texts, true),
    };
    if texts.is_empty() {
        findings.error(&path, "the list is empty", "add a public key, or remove `verify`");
    }
    let each = texts.iter().enumerate();
    each.filter_map(|(index, text)| {
        let path = if is_list { path.index(index) } else { path.clone() };
        key(text, &path, findings, lookup)
    })
    .collect()
}

fn key(text: &str, path: &KeyPath, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Option<SigningKey> {
    if !is_name(text, path, findings) {
        return None;
    }
    if let Some(key) = SigningKey::parse(text) {
        return Some(key);
    }
    let message = match lookup.file(text) {
        Ok(content) => match SigningKey::parse(&content) {
            Some(key) => return Some(key),
            None => format!("the file `{text}` holds no minisign public key"),
        },
        Err(why) => format!("`{text}` is no minisign public key, and as a file it cannot be read: {why}"),
    };
    findings.error(path, message, "write the line that begins with `RW`, or the path of the `.pub` file it is in");
    None
}

fn pull(raw: RawPull, path: &KeyPath, findings: &mut Findings<'_>) -> Pull {
    let usual = Pull::default();
    let interval = duration(raw.interval, &path.key("interval"), SECOND..=DAY, findings);
    let timeout = duration(raw.timeout, &path.key("timeout"), SECOND..=LONGEST_PULL, findings);
    let largest = size(raw.largest, &path.key("largest"), LARGEST, findings);
    Pull {
        interval: interval.unwrap_or(usual.interval),
        timeout: timeout.unwrap_or(usual.timeout),
        largest: largest.unwrap_or(usual.largest),
    }
}

fn access(raw: RawRegistry, path: &KeyPath, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Access {
    let RawRegistry { username, password, token, insecure } = raw;
    let given = (username.is_some(), password.is_some(), token.is_some());
    let password = secret(password, &path.key("password"), findings, lookup);
    let token = secret(token, &path.key("token"), findings, lookup);
    let credentials = match (given, username, password, token) {
        ((true, _, true) | (_, true, true), ..) => {
            findings.error(path, "has a token and also a user's name or password", "keep one of the two");
            Credentials::Unsaid
        }
        ((true, false, _), ..) => {
            findings.error(path, "has a `username` without a `password`", "add the password, or use `token`");
            Credentials::Unsaid
        }
        ((false, true, _), ..) => {
            findings.error(path, "has a `password` without a `username`", "add the user's name, or use `token`");
            Credentials::Unsaid
        }
        (_, Some(username), Some(password), _) => Credentials::Password { username, password },
        (_, _, _, Some(token)) => Credentials::Token(token),
        // nothing was given, or the secret cannot be read and that was told
        _ => Credentials::Unsaid,
    };
    Access { credentials, insecure }
}
