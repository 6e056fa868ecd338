//! What toolchains without a component tool of their own need: bindings of the policy contract, and its types in the
//! module.
//!
//! The same as `wit-bindgen c`, `wit-bindgen go` and `wasm-tools component embed`, without installing those programs,
//! which takes minutes. A file that would not change is left alone, so that `make` need not build again what depends on
//! it.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, bail};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::StringEncoding;

mod go;

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
            // Else it writes its warnings to standard error, and an empty line where there are none.
            let generator = wit_bindgen_go::Opts { quiet: true, ..wit_bindgen_go::Opts::default() };
            let mut files = generate(generator.build().as_mut(), &mut resolve, world)?;
            // The module's own go.mod is the policy's to write.
            files.remove("go.mod");
            let exports = files.remove("wit_exports.go").context("the generator for Go wrote no wit_exports.go")?;
            files.push("wit_exports.go", go::repaired(&String::from_utf8(exports)?).as_bytes());
            write(output, &files)
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
