//! `witgate policy inspect`: what a file is, without a gateway.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use witgate_wasm::{Component, Engine, EngineOptions, Imports};

use super::say;

pub(super) fn inspect(file: &Path) -> anyhow::Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let engine = Engine::new(EngineOptions { code_cache: None, workers: 1, meter: None })?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let component = engine.load(&name, &bytes)?;
    say(&describe(&component, bytes.len()));
    Ok(ExitCode::SUCCESS)
}

fn describe(component: &Component, bytes: usize) -> String {
    let info = component.info();
    let mut lines = vec![
        format!("name       {} {}", info.name, info.version),
        format!("summary    {}", info.summary),
        format!("revision   {}", component.revision()),
        format!("size       {bytes} bytes"),
        format!("contract   {}", component.contract()),
        format!("hooks      {}", component.hooks().iter().map(|hook| hook.name()).collect::<Vec<_>>().join(", ")),
        format!("imports    {}", or_none(&imports(component.imports()).join(", "))),
    ];
    let Imports { headers, prompt, .. } = *component.imports();
    let asked: Vec<&str> = [(headers, "headers"), (prompt, "prompt")].into_iter().filter_map(wanted).collect();
    if !asked.is_empty() {
        let grants = asked.join(", ");
        lines.push(format!("needs      grants: [{grants}] under `policies.rules` in the configuration"));
    }
    match info.settings_schema.trim() {
        "" | "{}" => lines.push("settings   none".into()),
        schema => lines.push(format!("settings   {schema}")),
    }
    lines.join("\n")
}

fn imports(imports: &Imports) -> Vec<&'static str> {
    let Imports { log, cells, names, headers, prompt, wasi } = *imports;
    let all = [
        (log, "log"),
        (cells, "cells"),
        (names, "names"),
        (headers, "headers"),
        (prompt, "prompt"),
        (wasi, "wasi (inert here)"),
    ];
    all.into_iter().filter_map(wanted).collect()
}

fn wanted((is_wanted, name): (bool, &'static str)) -> Option<&'static str> {
    is_wanted.then_some(name)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
