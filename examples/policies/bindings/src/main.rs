//! What toolchains without a component tool of their own need: bindings of the policy contract, and its types in the
//! module.
//!
//! The same as `wit-bindgen c`, `wit-bindgen go` and `wasm-tools component embed`, without installing those programs,
//! which takes minutes. A file that would not change is left alone, so that `make` need not build again what depends on
//! it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, bail};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::StringEncoding;

const USAGE: &str = "usage: witgate-bindings c|go WIT WORLD OUTPUT-FOLDER
       witgate-bindings embed WIT WORLD MODULE.wasm";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [command, wit, world, output] = arguments.as_slice() else { bail!(USAGE) };
    let output = Path::new(output);
    let (mut resolve, world) = read(Path::new(wit), world)?;
    match command.as_str() {
        "c" => {
            let files = generate(wit_bindgen_c::Opts::default().build().as_mut(), &mut resolve, world)?;
            write(output, &files)
        }
        "go" => {
            let mut files = generate(wit_bindgen_go::Opts::default().build().as_mut(), &mut resolve, world)?;
            // The module's own go.mod is the policy's to write.
            files.remove("go.mod");
            let exports = files.remove("wit_exports.go").context("the generator for Go wrote no wit_exports.go")?;
            files.push("wit_exports.go", repaired(&String::from_utf8(exports)?).as_bytes());
            write(output, &files)?;
            write(&output.join("pkg"), &go_runtime()?)
        }
        "embed" => embed(&resolve, world, output),
        _ => bail!(USAGE),
    }
}

/// A WIT file, or a folder with one package and its dependencies under `deps`.
fn read(wit: &Path, world: &str) -> anyhow::Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("cannot read the WIT in `{}`", wit.display()))?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}

fn generate(generator: &mut dyn WorldGenerator, resolve: &mut Resolve, world: WorldId) -> anyhow::Result<Files> {
    let mut files = Files::default();
    generator.generate(resolve, world, &mut files)?;
    Ok(files)
}

/// Adds the description of the world to a module that was linked without it.
fn embed(resolve: &Resolve, world: WorldId, path: &Path) -> anyhow::Result<()> {
    let mut module = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    wit_component::embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false)?;
    fs::write(path, module).with_context(|| format!("cannot write `{}`", path.display()))
}

/// The exported functions in Go, made fit to compile and run:
/// - Go's compiler refuses an exported function whose parameters and result take more than 128 bytes, and counts 8 for a
///   `uintptr`. The 16 parameters of `configure` are too many, so addresses come as `uint32`.
/// - The place for answers has the size of the largest of them, which its own allocator refuses unless it is a multiple of
///   the alignment, so it is rounded up.
fn repaired(source: &str) -> String {
    source
        .lines()
        .map(|line| repaired_area(line).or_else(|| repaired_signature(line)).unwrap_or(format!("{line}\n")))
        .collect()
}

fn repaired_area(line: &str) -> Option<String> {
    const START: &str = "var exportReturnArea = uintptr(witRuntime.Allocate(&staticPinner, ";
    let (size, align) = line.strip_prefix(START)?.strip_suffix("))")?.rsplit_once(", ")?;
    Some(format!("{START}({size}+{align}-1)/{align}*{align}, {align}))\n"))
}

fn repaired_signature(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("func wasm_export_")?.split_once('(')?;
    let (parameters, result) = rest.split_once(')')?;
    let mut widened = String::new();
    let narrow = |parameter: &str| match parameter.strip_suffix(" uintptr") {
        Some(name) if name.starts_with("arg") => {
            widened.push_str(&format!("\t{name} := uintptr({name}_)\n"));
            format!("{name}_ uint32")
        }
        _ => parameter.to_owned(),
    };
    let parameters: Vec<String> = parameters.split(", ").map(narrow).collect();
    Some(format!("func wasm_export_{name}({}){result}\n{widened}", parameters.join(", ")))
}

/// The Go package that generated code imports; it comes with the generator's source.
fn go_runtime() -> anyhow::Result<Files> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut ask = Command::new(cargo);
    ask.args(["metadata", "--locked", "--format-version=1", "--manifest-path", manifest]);
    let output = ask.output().context("cannot run cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let generator = packages.iter().find(|package| package["name"] == "wit-bindgen-go");
    let manifest = generator.and_then(|package| package["manifest_path"].as_str());
    let root =
        manifest.and_then(|path| Path::new(path).parent()).context("the source of wit-bindgen-go is not there")?;
    let mut files = Files::default();
    let root = root.join("src/pkg");
    for name in ["go.mod", "wit/types", "wit/runtime", "wit/async"] {
        collect(&root, Path::new(name), &mut files)?;
    }
    Ok(files)
}

fn collect(root: &Path, name: &Path, files: &mut Files) -> anyhow::Result<()> {
    let path = root.join(name);
    if path.is_dir() {
        for entry in fs::read_dir(&path).with_context(|| format!("cannot list `{}`", path.display()))? {
            collect(root, &name.join(entry?.file_name()), files)?;
        }
        return Ok(());
    }
    let content = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    files.push(&name.display().to_string(), &content);
    Ok(())
}

fn write(folder: &Path, files: &Files) -> anyhow::Result<()> {
    for (name, content) in files.iter() {
        let path: PathBuf = folder.join(name);
        if fs::read(&path).is_ok_and(|present| present == content) {
            continue;
        }
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("cannot make the folder `{}`", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}
