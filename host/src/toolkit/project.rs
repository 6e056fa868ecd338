//! A policy's project: the language it is in, its hooks and grants, and where that is written down.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use witgate_wasm::Hook;

/// A language with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// With the SDK, for wasm32-unknown-unknown.
    Rust,
    /// componentize-py.
    Python,
    /// componentize-qjs.
    JavaScript,
    /// The same, after tsc and esbuild.
    TypeScript,
    /// clang and wasi-libc.
    C,
    /// The same, and libc++.
    Cpp,
    /// Zig's own compiler, without a C library.
    Zig,
    /// Stock Go, for WASI.
    Go,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Rust, Self::C, Self::Cpp, Self::Zig, Self::Go, Self::JavaScript, Self::TypeScript, Self::Python];

    /// As it is written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Zig => "zig",
            Self::Go => "go",
        }
    }

    /// As people write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Zig => "Zig",
            Self::Go => "Go",
        }
    }

    /// Whether the project holds a world of its own; in Rust the SDK has the bindings.
    pub const fn has_world(self) -> bool {
        !matches!(self, Self::Rust)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that a policy may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Request headers.
    Headers,
    /// The prompt.
    Prompt,
}

impl Grant {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Headers, Self::Prompt];

    /// The interface's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Prompt => "prompt",
        }
    }
}

/// A policy's name: lower case words of letters and digits with hyphens between, so that it is a name in every
/// language, in a configuration and in a file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl TryFrom<String> for Name {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let word = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit())
        };
        ensure!(
            text.split('-').all(word) && text.len() <= LONGEST_NAME,
            "`{text}` is no name for a policy: use lower case words of letters and digits, each beginning with a \
             letter, with hyphens between, at most {LONGEST_NAME} characters; for example `cheap-at-night`"
        );
        ensure!(!TAKEN.contains(&text), "`{text}` is a word of some language or of its tools; choose another name");
        Ok(Self(text.to_owned()))
    }
}

impl Name {
    /// As it is.
    pub fn kebab(&self) -> &str {
        &self.0
    }

    /// For names of functions and files.
    pub fn snake(&self) -> String {
        self.0.replace('-', "_")
    }

    /// For names of types.
    pub fn camel(&self) -> String {
        let words = self.0.split('-').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        });
        words.collect()
    }
}

/// What `witgate-policy.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The policy's name; it is built into `<name>.wasm`.
    pub name: Name,
    /// What it is written in.
    pub language: Language,
    /// The world in `wit/world.wit`; none in Rust, where the SDK has the bindings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<String>,
    /// What it exports besides `lifecycle`.
    pub hooks: Vec<String>,
    /// Capabilities that it asks for.
    #[serde(default)]
    pub grants: Vec<Grant>,
}

/// A folder with a manifest.
pub struct Project {
    /// Where.
    pub folder: PathBuf,
    /// What it says.
    pub manifest: Manifest,
}

impl Project {
    /// Reads the manifest of a folder.
    ///
    /// # Errors
    /// When there is none, or it says something unknown.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            bail!(
                "{} has no {MANIFEST}; `witgate policy new` makes a project with one, or name the folder of yours",
                folder.display()
            );
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let world = manifest.language.has_world();
        ensure!(
            manifest.world.is_some() == world,
            "{}: {}",
            path.display(),
            if world {
                "`world` is missing: write `world = \"policy\"`"
            } else {
                "`world` has no meaning in Rust: remove it"
            }
        );
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// The file that a build makes.
    pub fn output(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.manifest.name.kebab()))
    }
}

/// The hooks of these names.
///
/// # Errors
/// When there is none, or a name is unknown.
pub fn hooks(names: &[String]) -> anyhow::Result<Vec<Hook>> {
    ensure!(!names.is_empty(), "a policy has at least one hook");
    for name in names {
        if !Hook::ALL.iter().any(|hook| hook.name() == name) {
            let known: Vec<&str> = Hook::ALL.iter().map(|hook| hook.name()).collect();
            bail!("there is no hook `{name}`; {}", witgate_core::config::suggest(name, known));
        }
    }
    Ok(Hook::ALL.into_iter().filter(|hook| names.iter().any(|name| hook.name() == name)).collect())
}

/// Name of the manifest's file.
pub const MANIFEST: &str = "witgate-policy.toml";
const LONGEST_NAME: usize = 64;
/// Packages, modules and keywords that a project of this name would get in the way of.
const TAKEN: [&str; 22] = [
    "policy", "witgate", "test", "core", "std", "alloc", "build", "target", "match", "type", "async", "await", "class",
    "def", "function", "import", "return", "static", "struct", "wit", "public", "private",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_in_every_language() {
        let name: Name = "cheap-at-night2".parse().expect("a name");
        assert_eq!(
            (name.kebab(), &*name.snake(), &*name.camel()),
            ("cheap-at-night2", "cheap_at_night2", "CheapAtNight2")
        );
        assert!("x".repeat(64).parse::<Name>().is_ok());
        for wrong in ["", "Cheap", "a--b", "-a", "a-", "2x", "a-2", "a_b", "../a", "ü", "a b", &"x".repeat(65)] {
            assert_eq!(
                wrong.parse::<Name>().expect_err("no name").to_string(),
                format!(
                    "`{wrong}` is no name for a policy: use lower case words of letters and digits, each beginning with a \
                     letter, with hyphens between, at most 64 characters; for example `cheap-at-night`"
                )
            );
        }
        assert_eq!(
            "policy".parse::<Name>().expect_err("taken").to_string(),
            "`policy` is a word of some language or of its tools; choose another name"
        );
    }

    #[test]
    fn hooks_are_told_apart() {
        let named = |names: &[&str]| hooks(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(named(&["router", "filter", "router"]).expect("hooks"), [Hook::Filter, Hook::Router]);
        assert_eq!(
            named(&["ruoter"]).expect_err("none").to_string(),
            "there is no hook `ruoter`; did you mean `router`?"
        );
        assert_eq!(named(&[]).expect_err("none").to_string(), "a policy has at least one hook");
    }
}
