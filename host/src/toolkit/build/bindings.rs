//! What the contract becomes in languages without a component tool of their own: generated code, and the description of
//! the world in a module.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::StringEncoding;

use super::super::project::Project;

/// What a generator makes of the project's world.
pub(super) fn generate(project: &Project, mut generator: Box<dyn WorldGenerator>) -> anyhow::Result<Files> {
    let wit = project.folder.join("wit");
    let mut resolve = Resolve::default();
    let (package, _) =
        resolve.push_path(&wit).with_context(|| format!("the WIT in {} cannot be read", wit.display()))?;
    let world = resolve.select_world(&[package], Some(super::world(project)))?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    Ok(files)
}

/// Writes files into a folder; those that would not change are left alone, so that tools need not build them again.
pub(super) fn write(folder: &Path, files: &Files) -> anyhow::Result<()> {
    for (name, content) in files.iter() {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|present| present == content) {
            continue;
        }
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Adds the description of the project's world to a module that was linked without it.
pub(super) fn describe(project: &Project, path: &Path) -> anyhow::Result<()> {
    let wit = project.folder.join("wit");
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) =
        resolve.push_path(&wit).with_context(|| format!("the WIT in {} cannot be read", wit.display()))?;
    let world = resolve.select_world(&[package], Some(super::world(project)))?;
    let mut module = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .with_context(|| format!("{} cannot be given its component type", path.display()))?;
    fs::write(path, module).with_context(|| format!("{} cannot be written", path.display()))
}
