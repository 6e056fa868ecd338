//! Where policies come from, and what each may do.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::supply::supply;
use super::values::{duration, is_name, memory_size};
use crate::config::findings::Findings;
use crate::config::interpolate::Lookup;
use crate::config::model::{CrashRules, Isolation, Policies, PolicyRules};
use crate::config::problem::KeyPath;
use crate::config::raw::policies::{RawCrash, RawGrant, RawIsolation, RawPolicies, RawRules};

/// The clock that traps ticks once a millisecond, so a shorter deadline could pass before the call has begun.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(2);
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);
/// One page of Wasm memory, and all that 32 bits can address.
const MEMORY: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 30;
/// For counting failures: shorter, and a pause of the machine is a whole window; longer, and nobody remembers.
const CRASH_WINDOW: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

pub(super) fn policies(mut raw: RawPolicies, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Policies {
    let path = KeyPath::top("policies");
    let supply = supply(&mut raw, &path, findings, lookup).into();
    let directory = raw.directory.unwrap_or_else(|| "policies".to_owned());
    is_name(&directory, &path.key("directory"), findings);
    let poll = Duration::from_millis(100)..=Duration::from_secs(3600);
    let built_in = Inherited { rules: PolicyRules::default(), covert_channel: false };
    let defaults = rules(raw.defaults.unwrap_or_default(), &built_in, &path.key("defaults"), findings);
    let mut by_name = Vec::new();
    for (name, raw) in raw.rules.unwrap_or_default().0 {
        let path = path.key("rules").key(&name);
        is_policy_name(&name, &path, findings);
        by_name.push((name.into(), rules(raw, &defaults, &path, findings).rules));
    }
    let code_cache = cache_folder(raw.code_cache, "witgate", &path.key("code_cache"), findings, lookup);
    Policies {
        directory: directory.into(),
        poll: duration(raw.poll, &path.key("poll"), poll, findings).unwrap_or(Duration::from_secs(5)),
        revisions: revisions(raw.revisions, code_cache.as_ref(), &path.key("revisions"), findings),
        code_cache,
        copies: cache_folder(raw.copies, "witgate-policies", &path.key("copies"), findings, lookup),
        supply,
        default_rules: defaults.rules,
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

/// What a rule that says nothing is like.
struct Inherited {
    rules: PolicyRules,
    /// `allow_covert_channel`, which is of use only here.
    covert_channel: bool,
}

fn rules(raw: RawRules, inherited: &Inherited, path: &KeyPath, findings: &mut Findings<'_>) -> Inherited {
    let Inherited { rules: before, covert_channel } = inherited;
    let deadline = duration(raw.deadline, &path.key("deadline"), SHORTEST_DEADLINE..=LONGEST_DEADLINE, findings);
    let granted = |grant, before| raw.grants.as_ref().map_or(before, |grants| grants.contains(&grant));
    let count = |number: Option<u64>, before| number.and_then(|number| usize::try_from(number).ok()).unwrap_or(before);
    let rules = PolicyRules {
        deadline: deadline.unwrap_or(before.deadline),
        memory: memory_size(raw.memory, &path.key("memory"), MEMORY, findings).unwrap_or(before.memory),
        instances: raw.instances.and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?)).or(before.instances),
        calls: whole(raw.calls).unwrap_or(before.calls),
        isolation: match raw.isolation {
            None => before.isolation,
            Some(RawIsolation::Reuse) => Isolation::Reuse,
            Some(RawIsolation::Fresh) => Isolation::Fresh,
        },
        grant_headers: granted(RawGrant::Headers, before.grant_headers),
        grant_prompt: granted(RawGrant::Prompt, before.grant_prompt),
        grant_fleet_cells: granted(RawGrant::FleetCells, before.grant_fleet_cells),
        log_lines: raw.log_lines.and_then(|lines| u32::try_from(lines).ok()).unwrap_or(before.log_lines),
        tables: count(raw.tables, before.tables),
        cells: count(raw.cells, before.cells),
        crash: crash(raw.crash.unwrap_or_default(), &before.crash, &path.key("crash"), findings),
    };
    let covert_channel = raw.allow_covert_channel.unwrap_or(*covert_channel);
    // What is inherited as it is has been reported where it is written.
    if (raw.grants.is_some() || raw.allow_covert_channel.is_some()) && !covert_channel {
        no_covert_channel(&rules, &path.key("grants"), findings);
    }
    Inherited { rules, covert_channel }
}

/// A policy that reads prompts and writes where other gateways read could carry the one to the other.
fn no_covert_channel(rules: &PolicyRules, path: &KeyPath, findings: &mut Findings<'_>) {
    let reads = match rules {
        PolicyRules { grant_fleet_cells: false, .. } => return,
        PolicyRules { grant_prompt: true, .. } => "prompt",
        PolicyRules { grant_headers: true, .. } => "headers",
        PolicyRules { .. } => return,
    };
    findings.error(
        path,
        format!("with `{reads}` and `fleet-cells` the policy could carry what it reads to other gateways"),
        "grant one of the two, or set `allow_covert_channel: true` if both are meant",
    );
}

fn crash(raw: RawCrash, inherited: &CrashRules, path: &KeyPath, findings: &mut Findings<'_>) -> CrashRules {
    CrashRules {
        failures: whole(raw.failures).unwrap_or(inherited.failures),
        share: raw.share.unwrap_or(inherited.share),
        window: duration(raw.window, &path.key("window"), CRASH_WINDOW, findings).unwrap_or(inherited.window),
    }
}

fn whole(number: Option<u64>) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(number?).ok()?)
}

fn revisions(
    raw: Option<String>,
    code_cache: Option<&PathBuf>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<PathBuf> {
    match raw {
        Some(text) if text == "off" => None,
        Some(text) => is_name(&text, path, findings).then(|| text.into()),
        None => code_cache.map(|folder| folder.join("revisions")),
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
