//! The nested cargo.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Without WASI, and half the size of `wasm32-wasip2`.
const TARGET: &str = "wasm32-unknown-unknown";
/// In the root `Cargo.toml`.
const PROFILE: &str = "guest";

/// Compiles a package's library to a module. One package at a time, because only `cargo rustc` can leave out the
/// `rlib` that native tests link: with it there would be no link-time optimisation, and half again the size.
pub(crate) fn build(workspace: &Path, package: &str) -> Result<(), String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace).args(["rustc", "--locked", "--package", package, "--lib", "--crate-type", "cdylib"]);
    command.args(["--profile", PROFILE, "--target", TARGET, "--target-dir"]).arg(target_directory(workspace));
    // Standard output belongs to the build script's own instructions to the outer cargo.
    command.stdout(Stdio::null());
    for name in foreign_variables(env::vars_os().map(|(name, _)| name)) {
        command.env_remove(name);
    }
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("building the policy `{package}` for {TARGET} failed ({status}); cargo's messages are above"))
}

/// Where the package's module is after [`build`].
pub(crate) fn module(workspace: &Path, package: &str) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    target_directory(workspace).join(TARGET).join(PROFILE).join(file)
}

fn target_directory(workspace: &Path) -> PathBuf {
    workspace.join("target").join("guests")
}

/// Variables of the outer build that must not reach the nested one: flags and wrappers for the host's compiler, and
/// what describes the package whose build script we are. Those that tell cargo where its home, its registries and
/// its job server are stay.
fn foreign_variables(names: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    const COMPILER: [&str; 4] = ["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    const CONNECTION: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    names.filter(|name| {
        let Some(name) = name.to_str() else { return false };
        COMPILER.contains(&name) || name.starts_with("CARGO_") && !CONNECTION.iter().any(|kept| name.starts_with(kept))
    })
}

/// Asked first, because the compiler's own message (`can't find crate for core`) comes once for each dependency.
pub(crate) fn check_target_is_installed() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run {}: {error}", Path::new(&rustc).display()))?;
    // Whatever else it may have printed is no folder either.
    check_is_there(Path::new(String::from_utf8_lossy(&output.stdout).trim()))
}

fn check_is_there(libraries: &Path) -> Result<(), String> {
    if libraries.is_dir() {
        return Ok(());
    }
    Err(format!(
        "the policies are WebAssembly, but this Rust toolchain has no standard library for {TARGET} (looked for it in \
         `{}`). Install it with `rustup target add {TARGET}`, or as your distribution's package for that target",
        libraries.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_build_is_kept_out_and_the_way_to_the_registry_stays() {
        let names = [
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_PKG_NAME",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_HOME",
            "CARGO_MAKEFLAGS",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_MIRROR_INDEX",
            "PATH",
            "RUSTC",
        ];
        let removed: Vec<OsString> = foreign_variables(names.into_iter().map(OsString::from)).collect();
        assert_eq!(removed, names.map(OsString::from)[..8]);
    }

    #[test]
    fn a_missing_target_is_told_with_its_remedy() {
        assert_eq!(check_is_there(Path::new(env!("CARGO_MANIFEST_DIR"))), Ok(()));
        let message = "the policies are WebAssembly, but this Rust toolchain has no standard library for \
                       wasm32-unknown-unknown (looked for it in `/nowhere/lib`). Install it with `rustup target add \
                       wasm32-unknown-unknown`, or as your distribution's package for that target";
        assert_eq!(check_is_there(Path::new("/nowhere/lib")), Err(message.to_owned()));
    }

    #[test]
    fn a_module_is_found_under_the_name_that_cargo_gives_it() {
        let expected = "/w/target/guests/wasm32-unknown-unknown/guest/witgate_policy_in_order.wasm";
        assert_eq!(module(Path::new("/w"), "witgate-policy-in-order"), Path::new(expected));
    }
}
