//! Builds policies for WebAssembly from a build script, so that plain `cargo build` at the root needs no other step.
//!
//! A nested cargo compiles the named workspace packages to core modules in a target directory of its own,
//! `target/guests`: the outer cargo holds the lock of its own directory while it waits for us. All profiles of the
//! outer build share that directory, so guests are compiled once. Each module is then wrapped into a component that
//! imports no WASI. The nested build sees nothing of the outer one's flags and wrappers (clippy, sanitizers,
//! coverage), because those are meant for the host.

mod cargo;
mod component;
mod sources;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// One policy, built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Name of the cargo package.
    pub package: String,
    /// The component.
    pub path: PathBuf,
}

/// Builds packages of this workspace into `OUT_DIR/<package>.wasm`, and tells cargo when to do so again. To be called
/// by a build script.
///
/// # Errors
/// Says which step failed for which package, and how to install the wasm target when that is missing.
pub fn build(packages: &[&str]) -> Result<Vec<Guest>, String> {
    let out = variable("OUT_DIR")?;
    let workspace = workspace()?;
    cargo::check_target_is_installed()?;
    let build = |package: &&str| {
        cargo::build(&workspace, package)?;
        wrap(&workspace, package, Path::new(&out))
    };
    packages.iter().map(build).collect()
}

fn wrap(workspace: &Path, package: &str, out: &Path) -> Result<Guest, String> {
    let module = cargo::module(workspace, package);
    let bytes = fs::read(&module).map_err(|error| {
        format!("`{package}` left no module at {}: {error}; is its crate type `cdylib`?", module.display())
    })?;
    let component = component::from_module(&bytes).map_err(|error| format!("cannot wrap `{package}`: {error}"))?;
    let path = out.join(format!("{package}.wasm"));
    fs::write(&path, component).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    for source in sources::of(workspace, &module)? {
        tell_cargo("rerun-if-changed", &source);
    }
    Ok(Guest { package: package.to_owned(), path })
}

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn tell_cargo(what: &str, path: &Path) {
    println!("cargo::{what}={}", path.display());
}

/// Two folders above this crate.
fn workspace() -> Result<PathBuf, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).ok_or_else(|| format!("{} is in no workspace", here.display()))?;
    Ok(root.to_owned())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}; guests are built from a build script"))
}
