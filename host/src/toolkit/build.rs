//! `witgate policy build`: runs the language's own tools, and says what is missing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, bail};

use super::project::{Language, Project};

/// Builds a project into its `<name>.wasm`.
///
/// # Errors
/// Every tool that is missing, or what the tools say.
pub fn run(project: &Project) -> anyhow::Result<PathBuf> {
    let shop = Shop::new(&project.folder)?;
    match project.manifest.language {
        Language::Rust => rust(project, &shop),
        Language::Python | Language::JavaScript | Language::C => bail!("not yet"),
    }?;
    Ok(project.output())
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
    let told = capture(&mut cargo)?;
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
    let files = messages.filter(|message| message["target"]["name"] == name).filter_map(|message| {
        let files = message["filenames"].as_array()?;
        files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
    });
    files.last()
}

/// A program that a language needs.
struct Tool {
    name: &'static str,
    /// How to get it.
    how: &'static str,
}

/// Where a project's tools are: in the project, then where the shell looks.
struct Shop {
    folder: PathBuf,
    path: OsString,
}

impl Shop {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("{} cannot be used", folder.display()))?;
        let own = ["node_modules/.bin", ".venv/bin", "venv/bin"].map(|place| folder.join(place));
        let usual = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(own.into_iter().chain(env::split_paths(&usual)))?;
        Ok(Self { folder, path })
    }

    /// Fails with a line for each tool that is not there.
    fn check(&self, tools: &[Tool]) -> anyhow::Result<()> {
        let missing: Vec<String> = tools
            .iter()
            .filter(|tool| self.find(tool.name).is_none())
            .map(|tool| format!("`{}` is missing: {}", tool.name, tool.how))
            .collect();
        if missing.is_empty() { Ok(()) } else { bail!("{}", missing.join("\n")) }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// A run of a tool in the project's folder.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.find(name).unwrap_or_else(|| name.into()));
        command.current_dir(&self.folder).env("PATH", &self.path).stdin(Stdio::null());
        command
    }
}

/// Runs a tool that speaks to the person through standard error; gives its standard output.
fn capture(command: &mut Command) -> anyhow::Result<String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("`{name}` cannot be run"))?;
    if !output.status.success() {
        bail!("`{name}` failed ({}); what it says is above", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const RUST_TARGET: &str = "wasm32-unknown-unknown";
