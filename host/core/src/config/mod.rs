//! The configuration: from YAML to values that cannot be invalid.
//!
//! [`load`] is pure: files come in as text, environment variables and secret files through a [`Lookup`]. It goes
//! through these steps, and reports everything that is wrong in as many of them as still make sense:
//!
//! 1. `yaml`, `tree`, `merge`: the files become one tree that knows where everything stands
//! 2. `interpolate`: variables are filled in
//! 3. `check`: the value is checked against the JSON Schema of `raw` and `shapes`; what does not fit is left out
//! 4. `resolve`: units, references, defaults; the result is `model`
//! 5. `lint`: warnings

mod check;
mod findings;
mod interpolate;
mod lint;
mod merge;
mod model;
mod oci;
mod outline;
pub mod presets;
pub mod probes;
mod problem;
mod raw;
mod raw_supply;
mod reference;
mod resolve;
mod schema;
mod secret;
mod shapes;
mod signing;
mod supply;
mod tree;
mod units;
mod yaml;

use std::fmt;

use serde::Deserialize as _;

pub use findings::suggest;
pub use interpolate::{Lookup, NoLookup};
pub use model::*;
pub use oci::{OciReference, ReferenceError, Version, is_host};
pub use problem::{KeyPath, PathPart, Place, Problem, Severity};
pub use reference::reference_markdown;
pub(crate) use resolve::ANY_CAPABILITY;
pub use resolve::DEFAULT_CHAIN;
pub use schema::schema;
pub use secret::{Secret, digest, same_digest};
pub use signing::SigningKey;
pub use supply::{Access, Credentials, PolicySupply, Pull, Supply};
pub use units::parse_duration;

use findings::Findings;
use tree::Node;

/// The configuration that a gateway without any runs with: `config/witgate.yaml`.
pub const DEFAULT_CONFIG: &str = include_str!("../../../../config/witgate.yaml");

/// One file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As problems shall name it.
    pub name: String,
    /// Its content.
    pub text: String,
}

impl SourceFile {
    /// A file with this content.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// A configuration that can be used.
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What is probably not meant.
    pub warnings: Vec<Problem>,
    /// Where everything stands; without values.
    places: Node,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Where a value is written; of one that is not, the innermost that holds it.
    pub fn place_of(&self, path: &[PathPart]) -> Place {
        self.places.place_of(path)
    }

    /// A problem that was found later, for example by opening a policy's file.
    pub fn problem(
        &self,
        severity: Severity,
        key: KeyPath,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Problem {
        let place = self.place_of(key.parts());
        Problem { place, key, message: message.into(), hint: hint.into(), severity }
    }

    /// The path of a stage, by places in [`Config::routes`] and [`Route::chain`].
    pub fn stage_path(&self, route: usize, stage: usize) -> KeyPath {
        let name = self.config.routes.get(route).map_or("", |route| &route.name);
        KeyPath::top("routes").key(name).key("policies").index(stage)
    }

    /// The path of something in a stage's settings, by a JSON pointer such as `/weights/0`; the empty pointer stands
    /// for the settings as a whole.
    pub fn settings_path(&self, route: usize, stage: usize, pointer: &str) -> KeyPath {
        let settings = self.stage_path(route, stage).key("settings");
        pointer.split('/').skip(1).fold(settings, |path, part| {
            let in_list = self.places.at(&path).is_some_and(Node::is_list);
            match part.parse() {
                Ok(index) if in_list => path.index(index),
                _ => path.key(&part.replace("~1", "/").replace("~0", "~")),
            }
        })
    }
}

/// Reads a configuration out of one file or several, which are joined in order.
///
/// # Errors
/// Everything that is wrong with it, in the order of the files.
pub fn load(files: &[SourceFile], lookup: &dyn Lookup) -> Result<Loaded, Vec<Problem>> {
    let mut tree = read_tree(files)?;
    let mut findings = Findings::new(&tree);
    let config = read_config(&mut findings, lookup);
    let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
    let problems = findings.sorted(&names);
    match config {
        Some(config) => {
            tree.forget_values();
            Ok(Loaded { config, warnings: problems, places: tree })
        }
        None => Err(problems),
    }
}

fn read_tree(files: &[SourceFile]) -> Result<Node, Vec<Problem>> {
    let mut trees = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        match yaml::parse(&file.name, &file.text) {
            Ok(tree) => trees.push(tree),
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let top = Place::start_of(files.first().map_or("configuration", |file| &file.name));
    merge::merge(trees, top)
}

/// `None` when there was an error.
fn read_config(findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Option<Config> {
    let mut values = interpolate::interpolate(findings, lookup);
    check::check(&mut values, findings);
    let raw = match raw::Raw::deserialize(values.value) {
        Ok(raw) => raw,
        Err(error) => {
            // the schema is made from the same structs, so this cannot happen; if it does, the message may hold values
            drop(error);
            findings.error(
                &KeyPath::root(),
                "the configuration cannot be read",
                "please report this as a bug of Witgate",
            );
            return None;
        }
    };
    let config = resolve::resolve(raw, findings, lookup)?;
    lint::lint(&config, findings);
    (!findings.any_error()).then_some(config)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests;
