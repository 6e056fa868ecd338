//! A policy's file, loaded as a gateway would load it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use witgate_wasm::{BindError, BindProblem, Binding, Compiling, Component, Engine, Policy};

use super::scene::Scene;
use crate::app;

/// A policy's file, loaded.
pub struct Guest {
    /// Runs it.
    pub engine: Engine,
    /// What it is.
    pub component: Arc<Component>,
    /// How long it took, the compiler included unless the code was in the cache.
    pub loading: Duration,
}

impl Guest {
    /// Reads, compiles and describes a file. Its name without `.wasm` is the policy's.
    ///
    /// # Errors
    /// When it cannot be read, or is no policy.
    pub fn load(file: &Path, scene: &Scene) -> anyhow::Result<Self> {
        Self::load_with(app::engine(&scene.config, None, Compiling::AtOnce)?, file)
    }

    /// The same, on an engine that is there.
    ///
    /// # Errors
    /// When it cannot be read, or is no policy.
    pub fn load_with(engine: Engine, file: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let started = Instant::now();
        let component = engine.load(&name_of(file), &bytes).with_context(|| file.display().to_string())?;
        Ok(Self { engine, component, loading: started.elapsed() })
    }

    /// Puts it into service there, with cells of its own.
    ///
    /// # Errors
    /// When a gateway would not serve it.
    pub fn bind(&self, scene: &Scene, settings: &Value) -> Result<Arc<Policy>, BindError> {
        let binding = Binding {
            settings: Arc::new(settings.clone()),
            rules: scene.config.policies.rules_for(self.component.name()).clone(),
            fleet: Arc::clone(&scene.fleet),
            names: Arc::clone(&scene.names) as _,
            cells: Arc::new(app::cells(&scene.config)),
        };
        self.engine.bind(&self.component, binding)
    }
}

/// Why a policy is not served, for somebody who says settings and grants on the command line.
pub fn explained(error: &BindError) -> anyhow::Error {
    match &error.problem {
        BindProblem::Settings(_) => {
            anyhow!("{error}; say them with `--settings JSON`: `witgate policy inspect --schema` shows what it accepts")
        }
        BindProblem::NotGranted { missing, .. } => {
            let grants: Vec<&str> = missing.iter().map(|(interface, _)| *interface).collect();
            anyhow!("{error}; here, say `--grant {}`", grants.join(","))
        }
        BindProblem::Refused(_)
        | BindProblem::Configure(_)
        | BindProblem::Subscription(_)
        | BindProblem::Trial { .. } => anyhow!("{error}"),
    }
}

/// What a configuration calls a file.
pub fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
