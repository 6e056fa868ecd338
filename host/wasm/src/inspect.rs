//! Reads from a component's type which version of the contract it speaks, which hooks it exports and what it imports,
//! before anything of it runs.

use wasmtime::Engine;
use wasmtime::component::types::Component;

use crate::bindings::{PACKAGE, VERSION};
use crate::hooks::{Hook, Hooks};
use crate::load_error::LoadProblem;
use crate::wasi;

/// What a policy imports. To import `headers` or `prompt` is to ask for it; the configuration must grant it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    /// Writes log lines.
    pub log: bool,
    /// Keeps numbers in the host.
    pub cells: bool,
    /// Reads names behind interned ids.
    pub names: bool,
    /// Reads request headers: a capability.
    pub headers: bool,
    /// Reads prompts: a capability.
    pub prompt: bool,
    /// Some interface of WASI, which is there but has nothing behind it.
    pub wasi: bool,
}

/// The outside of a component.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) hooks: Hooks,
    pub(crate) imports: Imports,
    /// The contract version that it was built for.
    pub(crate) version: String,
}

/// Checks the names of all imports and exports.
pub(crate) fn inspect(engine: &Engine, component: &Component) -> Result<Outside, LoadProblem> {
    let exports: Vec<&str> = component.exports(engine).map(|(name, _)| name).collect();
    let imports: Vec<&str> = component.imports(engine).map(|(name, _)| name).collect();
    // A wrong version explains everything else that would be found wrong.
    if let Some(theirs) = exports
        .iter()
        .chain(&imports)
        .filter_map(|name| ours(name))
        .map(|(_, version)| version)
        .find(|version| !speaks(version))
    {
        return Err(LoadProblem::WrongVersion { theirs: theirs.to_owned(), ours: VERSION });
    }
    let imports = classify(&imports)?;
    let mut hooks = Hooks::default();
    let mut lifecycle = None;
    for (interface, version) in exports.iter().filter_map(|name| ours(name)) {
        if interface == "lifecycle" {
            lifecycle = Some(version.to_owned());
        } else if let Some(hook) = Hook::ALL.into_iter().find(|hook| hook.name() == interface) {
            hooks.insert(hook);
        }
    }
    let Some(version) = lifecycle else {
        return Err(LoadProblem::NoLifecycle { exports: exports.iter().map(ToString::to_string).collect() });
    };
    if hooks.is_empty() {
        return Err(LoadProblem::NoHook);
    }
    Ok(Outside { hooks, imports, version })
}

fn classify(names: &[&str]) -> Result<Imports, LoadProblem> {
    let mut imports = Imports::default();
    let mut unknown = Vec::new();
    for name in names {
        match ours(name) {
            Some(("types", _)) => {}
            Some(("log", _)) => imports.log = true,
            Some(("cells", _)) => imports.cells = true,
            Some(("names", _)) => imports.names = true,
            Some(("headers", _)) => imports.headers = true,
            Some(("prompt", _)) => imports.prompt = true,
            None if name.starts_with(wasi::NAMESPACE) => imports.wasi = true,
            Some(_) | None => unknown.push((*name).to_owned()),
        }
    }
    if unknown.is_empty() { Ok(imports) } else { Err(LoadProblem::UnknownImports { imports: unknown }) }
}

/// `witgate:policy/router@0.1.0` as `("router", "0.1.0")`.
fn ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    Some(rest.split_once('@').unwrap_or((rest, "(none)")))
}

/// Versions are compatible as in semver: below 1.0 the minor must be the same, then the major.
fn speaks(version: &str) -> bool {
    compatible(version).is_some_and(|theirs| Some(theirs) == compatible(VERSION))
}

/// Whether a version that we speak has more than ours.
pub(crate) fn is_newer(version: &str) -> bool {
    let parts = |version: &str| version.split('.').map(|part| part.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>();
    parts(version) > parts(VERSION)
}

fn compatible(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split(['.', '-', '+']);
    let major: u64 = parts.next()?.parse().ok()?;
    let minor: u64 = parts.next()?.parse().ok()?;
    Some((major, if major == 0 { minor } else { 0 }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn versions_match_as_in_semver() {
        assert_eq!(["0.1.0", "0.1.1", "0.1.10", "0.0.9"].map(is_newer), [false, true, true, false]);
        assert_eq!(["0.1.0", "0.1.7"].map(speaks), [true, true]);
        assert_eq!(["0.2.0", "1.0.0", "(none)", ""].map(speaks), [false; 4]);
        assert_eq!(compatible("1.4.2"), compatible("1.0.0"));
    }

    #[test]
    fn imports_are_told_apart() {
        let found = classify(&["witgate:policy/types@0.1.0", "witgate:policy/prompt@0.1.0", "wasi:io/poll@0.2.6"]);
        assert_eq!(found, Ok(Imports { prompt: true, wasi: true, ..Imports::default() }));
        assert_eq!(
            classify(&["witgate:policy/net@0.1.0", "acme:db/query"]).unwrap_err().to_string(),
            "it imports `witgate:policy/net@0.1.0` and `acme:db/query`, which this gateway does not offer; a policy \
             may import `log`, `cells`, `names`, `headers` and `prompt` of `witgate:policy`"
        );
    }
}
