//! Writes the C bindings of one world of the policy contract into a folder.
//!
//! The same as `wit-bindgen c WIT --world WORLD --out-dir FOLDER`, without installing that program: what is needed
//! is built with the rest of the workspace. A file that would not change is left alone, so that `make` need not
//! build again what depends on it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wit, world, folder] = arguments.as_slice() else {
        bail!("usage: witgate-c-bindings WIT-FOLDER WORLD OUTPUT-FOLDER");
    };
    let files = bindings(Path::new(wit), world)?;
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    for (name, content) in files.iter() {
        write_if_changed(&folder.join(name), content)?;
    }
    Ok(())
}

fn bindings(wit: &Path, world: &str) -> anyhow::Result<Files> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("cannot read the WIT in `{}`", wit.display()))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    Ok(files)
}

fn write_if_changed(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    std::fs::write(path, content).with_context(|| format!("cannot write `{}`", path.display()))
}
