//! Single settings: durations, sizes, names, secrets.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::Secret;
use crate::config::findings::Findings;
use crate::config::interpolate::Lookup;
use crate::config::model::RouteCache;
use crate::config::problem::KeyPath;
use crate::config::shapes::{
    CacheText, DurationText, Off, OffOrTtl, OneOrMany, SecretSource, SecretText, SizeText, TextOrList, TextOrNumber,
};
use crate::config::units::{parse_duration, parse_size, show_duration, show_size};

/// The longest that any timeout may be.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
/// The shortest timeout that is of any use.
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

pub(super) fn duration(
    raw: Option<DurationText>,
    path: &KeyPath,
    allowed: RangeInclusive<Duration>,
    findings: &mut Findings<'_>,
) -> Option<Duration> {
    duration_text(&raw?.0, path, allowed, findings)
}

fn duration_text(
    text: &str,
    path: &KeyPath,
    allowed: RangeInclusive<Duration>,
    findings: &mut Findings<'_>,
) -> Option<Duration> {
    match parse_duration(text) {
        Some(duration) if allowed.contains(&duration) => return Some(duration),
        Some(_) => findings.error(path, out_of_range(&allowed, show_duration, text), ""),
        None => {
            findings.error(path, format!("{text:?} is no duration, or longer than a year"), "write for example `30s`")
        }
    }
    None
}

pub(super) fn size(
    raw: Option<SizeText>,
    path: &KeyPath,
    allowed: RangeInclusive<u64>,
    findings: &mut Findings<'_>,
) -> Option<u64> {
    let (bytes, text) = match raw?.0 {
        TextOrNumber::Number(bytes) => (Some(bytes), bytes.to_string()),
        TextOrNumber::Text(text) => (parse_size(&text), text),
    };
    match bytes {
        Some(bytes) if allowed.contains(&bytes) => return Some(bytes),
        Some(_) => findings.error(path, out_of_range(&allowed, show_size, &text), ""),
        None => findings.error(path, format!("{text:?} is no whole number of bytes"), "write for example `32MiB`"),
    }
    None
}

/// As [`size`], for what is addressed in memory.
pub(super) fn memory_size(
    raw: Option<SizeText>,
    path: &KeyPath,
    allowed: RangeInclusive<u64>,
    findings: &mut Findings<'_>,
) -> Option<usize> {
    size(raw, path, allowed, findings).and_then(|bytes| usize::try_from(bytes).ok())
}

pub(super) fn cache_time(raw: Option<CacheText>, path: &KeyPath, findings: &mut Findings<'_>) -> Option<RouteCache> {
    match raw?.0 {
        OffOrTtl::Word(Off::Off) => Some(RouteCache::Off),
        OffOrTtl::For { ttl } => {
            let longest = DAY * 30;
            duration_text(&ttl?, &path.key("ttl"), MILLISECOND..=longest, findings).map(RouteCache::For)
        }
    }
}

/// A secret that is not empty and can stand in an HTTP header.
pub(super) fn secret(
    raw: Option<SecretText>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
    lookup: &dyn Lookup,
) -> Option<Secret> {
    let text = match raw?.0 {
        SecretSource::Text(text) => text,
        SecretSource::File { file } => {
            let file = file?;
            match lookup.file(&file) {
                // editors and `echo` end a file with a line break
                Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
                Err(why) => {
                    findings.error(
                        &path.key("file"),
                        format!("cannot read the secret from `{file}`: {why}"),
                        "check the path, and that the gateway may read it",
                    );
                    return None;
                }
            }
        }
    };
    if text.is_empty() {
        findings.error(path, "the secret is empty", "remove the key, or give it a value");
    } else if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        findings.error(path, "the secret has characters that no HTTP header can carry", "use printable ASCII only");
    } else {
        return Some(Secret::new(text));
    }
    None
}

/// Reports text that is empty, or has a space at an end, or a control character: it would never match anything.
pub(super) fn is_name(text: &str, path: &KeyPath, findings: &mut Findings<'_>) -> bool {
    let message = match text {
        "" => "must not be empty",
        text if text.trim() != text => "must not begin or end with a space",
        text if text.contains(char::is_control) => "must not hold a control character",
        _ => return true,
    };
    findings.error(path, message, "");
    false
}

/// Each text with its own path.
pub(super) fn items(raw: TextOrList, path: &KeyPath) -> Vec<(KeyPath, String)> {
    match raw.0 {
        OneOrMany::One(text) => vec![(path.clone(), text)],
        OneOrMany::Many(texts) => {
            texts.into_iter().enumerate().map(|(index, text)| (path.index(index), text)).collect()
        }
    }
}

fn out_of_range<T>(allowed: &RangeInclusive<T>, show: impl Fn(T) -> String, found: &str) -> String
where
    T: Copy,
{
    format!("must be from {} to {}, found {found}", show(*allowed.start()), show(*allowed.end()))
}
