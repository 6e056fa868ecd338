//! A policy file that was taken: compiled, looked at, described, but not yet bound to a configuration.

use std::sync::Arc;

use wasmtime::component::InstancePre;

use crate::hooks::Hooks;
use crate::inspect::Imports;
use crate::instance::Exports;
use crate::settings::{Schema, SettingsProblem};
use crate::state::State;

/// A policy file that was taken. [`crate::Engine::load`] makes it.
pub struct Component {
    pub(crate) name: Arc<str>,
    pub(crate) revision: Arc<str>,
    pub(crate) digest: [u8; 32],
    pub(crate) contract: String,
    pub(crate) hooks: Hooks,
    pub(crate) imports: Imports,
    pub(crate) info: PolicyInfo,
    pub(crate) schema: Schema,
    pub(crate) file_size: usize,
    pub(crate) from_cache: bool,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
}

/// What a policy says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyInfo {
    /// For people.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of the settings, as text; empty when anything is accepted.
    pub settings_schema: String,
}

impl Component {
    /// The policy's name: the file's, without `.wasm`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The first 12 hex digits of the file's SHA-256.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The version of the contract that it was built for.
    pub fn contract(&self) -> &str {
        &self.contract
    }

    /// What it can be asked.
    pub fn hooks(&self) -> Hooks {
        self.hooks
    }

    /// What it asks for.
    pub fn imports(&self) -> &Imports {
        &self.imports
    }

    /// What it says about itself.
    pub fn info(&self) -> &PolicyInfo {
        &self.info
    }

    /// Bytes of the file.
    pub fn file_size(&self) -> usize {
        self.file_size
    }

    /// Bytes of its machine code and data, in memory once for all instances.
    pub fn code_size(&self) -> usize {
        let range = self.pre.component().image_range();
        range.end as usize - range.start as usize
    }

    /// Whether its code came from the cache instead of the compiler.
    pub fn from_cache(&self) -> bool {
        self.from_cache
    }

    /// Everything that the policy's own schema finds wrong with these settings; [`crate::Engine::bind`] refuses them
    /// then.
    pub fn check_settings(&self, settings: &serde_json::Value) -> Vec<SettingsProblem> {
        self.schema.problems(settings)
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, revision, hooks, imports, info, .. } = self;
        f.debug_struct("Component")
            .field("name", name)
            .field("revision", revision)
            .field("hooks", &hooks.iter().collect::<Vec<_>>())
            .field("imports", imports)
            .field("info", info)
            .finish_non_exhaustive()
    }
}
