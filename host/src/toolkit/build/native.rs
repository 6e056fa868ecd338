//! C, C++ and Zig: compilers that make a module for wasm32 by themselves.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::super::project::Project;
use super::super::tools::{self, Needed, Shop, Tool};
use super::{bindings, generated, output};

pub(super) fn c(project: &Project, shop: &Shop) -> anyhow::Result<()> {
    let linked = |clang: &mut Command| links(clang, &["-x", "c"], "int main(void) { return 0; }\n");
    check(shop, "clang", CLANG, linked)?;
    let generated = bound(project)?;
    let mut clang = compiler(project, shop, "clang", &generated);
    clang.args(["-mexec-model=reactor", "-Wl,--strip-all", "policy.c", "witgate.c"]);
    clang.args([generated.join("policy.c"), generated.join("policy_component_type.o")]);
    tools::run(clang.arg("-o").arg(output(project)?))
}

pub(super) fn cpp(project: &Project, shop: &Shop) -> anyhow::Result<()> {
    // A vector needs libc++ too.
    let program = "#include <vector>\nint main() { return (int)std::vector<int>{0}.front(); }\n";
    check(shop, "clang++", CLANG_CPP, |clang| links(clang, &["-fno-exceptions", "-x", "c++"], program))?;
    let generated = bound(project)?;
    let object = generated.join("policy.o");
    let mut c = compiler(project, shop, "clang++", &generated);
    tools::run(c.args(["-x", "c", "-c"]).arg(generated.join("policy.c")).arg("-o").arg(&object))?;
    let mut clang = compiler(project, shop, "clang++", &generated);
    clang.args(["-mexec-model=reactor", "-Wl,--strip-all", "-std=c++20", "-fno-exceptions", "-fno-rtti"]);
    clang.args(["-Wno-missing-field-initializers", "policy.cpp"]);
    clang.args([object, generated.join("policy_component_type.o")]);
    tools::run(clang.arg("-o").arg(output(project)?))
}

pub(super) fn zig(project: &Project, shop: &Shop) -> anyhow::Result<()> {
    let zig = shop.find_version(&Needed {
        names: &["zig", "python-zig"],
        question: "version",
        wanted: tools::ZIG_SERIES,
        exactly: true,
        how: tools::from_pypi!("ziglang", tools::ziglang!()),
    })?;
    let out = output(project)?;
    let mut build = shop.command(zig);
    build.args(["build-exe", "-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fno-entry", "-rdynamic"]);
    build.args(["--stack", "65536", "--dep", "witgate", "-Mroot=policy.zig", "-Mwitgate=witgate.zig"]);
    tools::run(build.arg(format!("-femit-bin={}", out.display())))?;
    // Left over from linking.
    let _ = fs::remove_file(out.with_extension("wasm.o"));
    bindings::describe(project, &out)
}

/// The generated code in C.
fn bound(project: &Project) -> anyhow::Result<PathBuf> {
    let generated = generated(project)?;
    bindings::write(&generated, &bindings::generate(project, wit_bindgen_c::Opts::default().build())?)?;
    Ok(generated)
}

/// A compiler with everything that holds for each of the project's files.
fn compiler(project: &Project, shop: &Shop, name: &'static str, generated: &std::path::Path) -> Command {
    let mut clang = shop.command(name);
    clang.args(["--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-I", "."]).arg("-I").arg(generated);
    let manifest = &project.manifest;
    let grants = manifest.grants.iter().map(|grant| grant.name());
    let parts = manifest.hooks.iter().map(String::as_str).chain(grants);
    clang.args(parts.map(|part| format!("-DWITGATE_{}", part.to_uppercase())));
    clang
}

/// The compiler is there, and all that it needs to link for wasm32.
fn check(
    shop: &Shop,
    name: &'static str,
    how: &'static str,
    linked: impl Fn(&mut Command) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    shop.check(&[Tool { name, how }])?;
    if !linked(&mut shop.command(name))? {
        bail!("`{name}` is there, but not what it needs to link for wasm32-wasi: {how}");
    }
    Ok(())
}

/// Linking a small program proves the linker, the libraries and the compiler's runtime at once.
fn links(clang: &mut Command, options: &[&str], program: &str) -> anyhow::Result<bool> {
    clang.arg("--target=wasm32-wasi").args(options).args(["-", "-o", "/dev/null"]);
    let clang = clang.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = clang.spawn().context("clang cannot be run")?;
    // If it cannot be told the program, it fails, and that is the answer.
    let _ = running.stdin.take().map(|mut stdin| stdin.write_all(program.as_bytes()));
    Ok(running.wait().is_ok_and(|status| status.success()))
}

const CLANG: &str = "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32, or your system's packages for them";
const CLANG_CPP: &str =
    "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32 libc++-dev-wasm32, or your system's packages for them";
