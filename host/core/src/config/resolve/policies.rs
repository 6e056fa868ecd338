//! Where policies come from, and what each may do.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::supply::supply;
use super::values::{duration, is_name, memory_size};
use crate::config::findings::Findings;
use crate::config::interpolate::Lookup;
use crate::config::model::{Policies, PolicyRules};
use crate::config::problem::KeyPath;
use crate::config::raw::{RawGrant, RawPolicies, RawRules};

/// The clock that traps ticks once a millisecond, so a shorter deadline could pass before the call has begun.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(2);
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);
/// One page of Wasm memory, and all that 32 bits can address.
const MEMORY: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 30;

pub(super) fn policies(mut raw: RawPolicies, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Policies {
    let path = KeyPath::top("policies");
    let supply = supply(&mut raw, &path, findings, lookup).into();
    let directory = raw.directory.unwrap_or_else(|| "policies".to_owned());
    is_name(&directory, &path.key("directory"), findings);
    let poll = Duration::from_millis(100)..=Duration::from_secs(3600);
    let builtin = PolicyRules {
        deadline: Duration::from_millis(5),
        memory: 64 << 20,
        calls: NonZeroU32::new(1_000_000).unwrap_or(NonZeroU32::MAX),
        grant_headers: false,
        grant_prompt: false,
        log_lines: 100,
    };
    let default_rules = rules(raw.defaults.unwrap_or_default(), &builtin, &path.key("defaults"), findings);
    let mut by_name = Vec::new();
    for (name, raw) in raw.rules.unwrap_or_default().0 {
        let path = path.key("rules").key(&name);
        is_policy_name(&name, &path, findings);
        by_name.push((name.into(), rules(raw, &default_rules, &path, findings)));
    }
    Policies {
        directory: directory.into(),
        poll: duration(raw.poll, &path.key("poll"), poll, findings).unwrap_or(Duration::from_secs(5)),
        code_cache: cache_folder(raw.code_cache, "witgate", &path.key("code_cache"), findings, lookup),
        copies: cache_folder(raw.copies, "witgate-policies", &path.key("copies"), findings, lookup),
        supply,
        default_rules,
        rules: by_name,
    }
}

/// Reports what cannot be the name of a policy's file.
pub(super) fn is_policy_name(name: &str, path: &KeyPath, findings: &mut Findings<'_>) -> bool {
    if !is_name(name, path, findings) {
        return false;
    }
    if let Some(stem) = name.strip_suffix(".wasm") {
        findings.error(path, format!("`{name}` is a file's name"), format!("write `{stem}`, without `.wasm`"));
        return false;
    }
    let fits =
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) && !name.starts_with('.');
    if !fits {
        let message = format!("`{name}` cannot be a policy's name");
        findings.error(
            path,
            message,
            "use letters, digits, `-`, `_` and `.`; policies live in one folder, `policies.directory`",
        );
    }
    fits
}

fn rules(raw: RawRules, inherited: &PolicyRules, path: &KeyPath, findings: &mut Findings<'_>) -> PolicyRules {
    let deadline = duration(raw.deadline, &path.key("deadline"), SHORTEST_DEADLINE..=LONGEST_DEADLINE, findings);
    let granted = |grant, inherited| raw.grants.as_ref().map_or(inherited, |grants| grants.contains(&grant));
    PolicyRules {
        deadline: deadline.unwrap_or(inherited.deadline),
        memory: memory_size(raw.memory, &path.key("memory"), MEMORY, findings).unwrap_or(inherited.memory),
        calls: raw.calls.and_then(|calls| NonZeroU32::new(u32::try_from(calls).ok()?)).unwrap_or(inherited.calls),
        grant_headers: granted(RawGrant::Headers, inherited.grant_headers),
        grant_prompt: granted(RawGrant::Prompt, inherited.grant_prompt),
        log_lines: raw.log_lines.and_then(|lines| u32::try_from(lines).ok()).unwrap_or(inherited.log_lines),
    }
}

/// A folder as written, `off`, or one of this name in the user's cache folder.
fn cache_folder(
    raw: Option<String>,
    usual: &str,
    path: &KeyPath,
    findings: &mut Findings<'_>,
    lookup: &dyn Lookup,
) -> Option<PathBuf> {
    match raw {
        Some(text) if text == "off" => None,
        Some(text) => is_name(&text, path, findings).then(|| text.into()),
        None => {
            let named = |name| lookup.variable(name).filter(|value| value.starts_with('/')).map(PathBuf::from);
            let folder = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
            Some(folder.join(usual))
        }
    }
}
