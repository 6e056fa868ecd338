//! Which files a module was made from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of this workspace that the module depends on: the sources that cargo lists beside it, in the form of a
/// makefile, the manifest above each of them, and the lock file.
pub(crate) fn of(workspace: &Path, module: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let list = module.with_extension("d");
    let text = fs::read_to_string(&list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    let sources = parse(&text);
    let mut files: BTreeSet<PathBuf> = sources.iter().filter_map(|source| manifest_above(source)).collect();
    files.extend(sources);
    files.extend(["Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)));
    Ok(files)
}

/// The prerequisites of the makefile's rules. A blank within a name is escaped.
fn parse(makefile: &str) -> Vec<PathBuf> {
    let rules = makefile.lines().filter_map(|line| line.split_once(": "));
    rules.flat_map(|(_, prerequisites)| names(prerequisites)).collect()
}

fn names(prerequisites: &str) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut characters = prerequisites.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => name.extend(characters.next()),
            ' ' => names.push(std::mem::take(&mut name)),
            other => name.push(other),
        }
    }
    names.push(name);
    names.into_iter().filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

fn manifest_above(source: &Path) -> Option<PathBuf> {
    source.ancestors().map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_what_follows_the_colon() {
        let makefile = "/t/p.wasm: /w/src/lib.rs /w/with\\ blank/rank.rs\n";
        assert_eq!(parse(makefile), [PathBuf::from("/w/src/lib.rs"), PathBuf::from("/w/with blank/rank.rs")]);
        assert_eq!(parse("/t/p.wasm:\n"), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_source_belongs_to_the_nearest_manifest() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(manifest_above(&here.join("src/lib.rs")), Some(here.join("Cargo.toml")));
    }
}
