//! A policy file that was taken: compiled, looked at, described, but not yet bound to a configuration.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use crate::hooks::Hooks;
use crate::inspect::Imports;
use crate::policy::Policy;
use crate::settings::{Schema, SettingsProblem};
use crate::tier::{Program, Tier};

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
    /// Replaced once, where the first one was compiled quickly.
    pub(crate) program: RwLock<Arc<Program>>,
    /// It serves no more.
    pub(crate) withdrawn: AtomicBool,
    /// The policies made of it.
    pub(crate) bound: Mutex<Vec<Weak<Policy>>>,
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
        let range = self.program().pre.component().image_range();
        range.end as usize - range.start as usize
    }

    /// How the code was compiled that new instances run.
    pub fn tier(&self) -> Tier {
        self.program().tier
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

    /// Says that it serves no more, whoever still holds it: quickly compiled code stays what it is.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }

    /// Whether optimised code would be of no use.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Relaxed)
    }

    /// What new instances are made of.
    pub(crate) fn program(&self) -> Arc<Program> {
        Arc::clone(&self.program.read())
    }

    /// Replaces its code, and every instance of the code before; that is freed with the last of them.
    pub(crate) fn put(&self, program: Program) {
        *self.program.write() = Arc::new(program);
        // Whoever is bound from now on is made of the new code.
        self.bound().iter().for_each(|policy| policy.refresh());
    }

    /// The policies made of it that are still there.
    pub(crate) fn bound(&self) -> Vec<Arc<Policy>> {
        self.bound.lock().iter().filter_map(Weak::upgrade).collect()
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
