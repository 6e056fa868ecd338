//! `witgate policy build`: runs the language's own tools, and says what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use witgate_wasm::{BindProblem, FailureCause};

use super::project::{Language, Project};
use super::tools::{self, Shop, Tool};

mod bindings;
mod go;
mod native;

/// Builds a project into its `<name>.wasm`.
///
/// # Errors
/// Every tool that is missing, or what the tools say.
pub fn run(project: &Project) -> anyhow::Result<PathBuf> {
    let shop = Shop::new(&project.folder)?;
    match project.manifest.language {
        Language::Rust => rust(project, &shop),
        Language::Python => python(project, &shop),
        Language::JavaScript => javascript(project, &shop, &project.folder.join("policy.js")),
        Language::TypeScript => typescript(project, &shop),
        Language::C => native::c(project, &shop),
        Language::Cpp => native::cpp(project, &shop),
        Language::Zig => native::zig(project, &shop),
        Language::Go => go::build(project, &shop),
    }?;
    Ok(project.output())
}

/// What may be behind a problem that only shows once the file runs; empty, or after a semicolon.
pub fn hint(project: &Project, problem: &BindProblem) -> String {
    let BindProblem::Trial { hook, cause: FailureCause::Trap(_), .. } = problem else { return String::new() };
    match project.manifest.language {
        // Bindings find no export, and trap.
        language @ (Language::JavaScript | Language::TypeScript) => {
            let suffix = if language == Language::JavaScript { "js" } else { "ts" };
            format!(
                "; does policy.{suffix} export `{hook}`, as in `export const {{ lifecycle, {hook} }} = policy({{...}})`?"
            )
        }
        Language::Rust | Language::Python | Language::C | Language::Cpp | Language::Zig | Language::Go => String::new(),
    }
}

fn rust(project: &Project, shop: &Shop) -> anyhow::Result<()> {
    let tools = [
        Tool { name: "cargo", how: "install Rust, see https://rustup.rs" },
        Tool { name: "rustc", how: "install Rust, see https://rustup.rs" },
    ];
    shop.check(&tools)?;
    if !has_rust_target(shop) {
        bail!("the Rust target {RUST_TARGET} is missing: rustup target add {RUST_TARGET}");
    }
    let mut cargo = shop.command("cargo");
    cargo.args(["build", "--release", "--target", RUST_TARGET, "--message-format", "json-render-diagnostics"]);
    let told = tools::capture(&mut cargo)?;
    let module = module_of(&told, &project.manifest.name.snake()).with_context(|| {
        format!(
            "cargo made no module `{}`; is `crate-type = [\"cdylib\"]` in Cargo.toml?",
            project.manifest.name.snake()
        )
    })?;
    fs::copy(&module, project.output()).with_context(|| format!("{} cannot be copied", module.display()))?;
    Ok(())
}

fn has_rust_target(shop: &Shop) -> bool {
    let mut rustc = shop.command("rustc");
    rustc.args(["--print", "target-libdir", "--target", RUST_TARGET]).stderr(Stdio::null());
    let Ok(output) = rustc.output() else { return false };
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
}

/// The module that cargo says it made.
fn module_of(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut files = messages.filter(|message| message["target"]["name"] == name).filter_map(|message| {
        let files = message["filenames"].as_array()?;
        files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
    });
    files.next_back()
}

fn python(project: &Project, shop: &Shop) -> anyhow::Result<()> {
    let how = tools::from_pypi!("componentize-py", tools::componentize_py!());
    shop.check(&[Tool { name: "componentize-py", how }])?;
    let mut componentize = shop.command("componentize-py");
    // What was compiled for this machine's Python would only lie about; what it says of the policy is enough, without
    // the way that its own Rust took to say so.
    componentize.env("PYTHONDONTWRITEBYTECODE", "1").env("RUST_BACKTRACE", "0");
    componentize.args([
        "--quiet",
        "--wit-path",
        "wit",
        "--world",
        world(project),
        "componentize",
        "--stub-wasi",
        "policy",
        "-o",
    ]);
    componentize.arg(output(project)?);
    tools::run(&mut componentize)
}

fn javascript(project: &Project, shop: &Shop, source: &Path) -> anyhow::Result<()> {
    shop.check(&[Tool { name: "componentize-qjs", how: NPM }])?;
    let mut componentize = shop.command("componentize-qjs");
    componentize.args(["--wit", "wit", "--world", world(project), "--sync", "--stub-wasi", "--js"]);
    componentize.arg(fs::canonicalize(source).with_context(|| format!("{} cannot be read", source.display()))?);
    componentize.arg("--output").arg(output(project)?);
    // It tells its progress, which is of use only when it fails.
    tools::run_quietly(&mut componentize)
}

fn typescript(project: &Project, shop: &Shop) -> anyhow::Result<()> {
    let tools = ["tsc", "esbuild", "componentize-qjs"].map(|name| Tool { name, how: NPM });
    shop.check(&tools)?;
    tools::run(shop.command("tsc").args(["--project", "."]))?;
    let bundle = generated(project)?.join("policy.js");
    let mut esbuild = shop.command("esbuild");
    esbuild.args([
        "policy.ts",
        "--bundle",
        "--format=esm",
        "--target=es2023",
        "--external:witgate:*",
        "--log-level=warning",
    ]);
    tools::run(esbuild.arg(format!("--outfile={}", bundle.display())))?;
    javascript(project, shop, &bundle)
}

fn world(project: &Project) -> &str {
    project.manifest.world.as_deref().unwrap_or_default()
}

/// Where tools leave what nobody wants to look at.
fn generated(project: &Project) -> anyhow::Result<PathBuf> {
    let folder = project.folder.join("generated");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(fs::canonicalize(folder)?)
}

/// The output as tools find it that run in the project's folder.
fn output(project: &Project) -> anyhow::Result<PathBuf> {
    let output = project.output();
    let name = output.file_name().unwrap_or_default();
    Ok(fs::canonicalize(&project.folder)?.join(name))
}

const RUST_TARGET: &str = "wasm32-unknown-unknown";
const NPM: &str = "npm install (in the project's folder)";
