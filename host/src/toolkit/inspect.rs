//! `witgate policy inspect`: what a file is, without a gateway.

use serde_json::{Value, json};
use wasmparser::{Parser, Payload, ProducersSectionReader};
use witgate_wasm::{Component, Imports};

use super::show;

/// What a file is, for people.
pub fn text(component: &Component, bytes: &[u8]) -> String {
    let info = component.info();
    let mut lines = vec![
        format!("name       {} {}", info.name, info.version),
        format!("summary    {}", info.summary),
        format!("revision   {}", component.revision()),
        format!("size       {} bytes", show::count(bytes.len() as u64)),
        format!("contract   {}", component.contract()),
        format!("hooks      {}", component.hooks().iter().map(|hook| hook.name()).collect::<Vec<_>>().join(", ")),
        format!("imports    {}", or_none(&imports(component.imports()).join(", "))),
    ];
    let grants = grants(component.imports());
    if !grants.is_empty() {
        let grants = grants.join(", ");
        lines.push(format!("needs      grants: [{grants}] under `policies.rules` in the configuration"));
    }
    let producers = producers(bytes);
    if !producers.is_empty() {
        lines.push(format!("made with  {}", producers.join(", ")));
    }
    lines.push(match info.settings_schema.trim() {
        "" | "{}" => "settings   any".into(),
        schema if has_none(schema) => "settings   none".into(),
        schema => format!("settings   {schema}"),
    });
    lines.join("\n")
}

/// The schema of its settings, for people and programs; one that accepts anything when it gives none.
pub fn schema(component: &Component) -> Value {
    match component.info().settings_schema.trim() {
        "" => json!({"type": "object"}),
        // It was parsed when the file was loaded.
        schema => serde_json::from_str(schema).unwrap_or(Value::Null),
    }
}

/// Whether a schema allows only the empty object, as the helpers write it for policies without settings.
fn has_none(schema: &str) -> bool {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return false };
    let is_empty = |key: &str| schema[key].as_object().is_none_or(serde_json::Map::is_empty);
    schema["additionalProperties"] == Value::Bool(false) && is_empty("properties") && is_empty("patternProperties")
}

/// The same for programs.
pub fn json(component: &Component, bytes: &[u8]) -> Value {
    let info = component.info();
    let digest: String = component.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let schema = match info.settings_schema.trim() {
        "" => Value::Null,
        schema => serde_json::from_str(schema).unwrap_or(Value::Null),
    };
    json!({
        "name": info.name,
        "version": info.version,
        "summary": info.summary,
        "revision": &**component.revision(),
        "sha256": digest,
        "size": bytes.len(),
        "contract": component.contract(),
        "hooks": component.hooks().iter().map(|hook| hook.name()).collect::<Vec<_>>(),
        "imports": imports(component.imports()),
        "grants": grants(component.imports()),
        "made_with": producers(bytes),
        "settings_schema": schema,
    })
}

fn grants(imports: &Imports) -> Vec<&'static str> {
    [(imports.headers, "headers"), (imports.prompt, "prompt")].into_iter().filter_map(wanted).collect()
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

/// Languages and tools that left their name in the file, also in the modules of a component.
fn producers(bytes: &[u8]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    // A file that was loaded is well-formed; were it not, what was found so far is still true.
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        let Payload::CustomSection(section) = payload else { continue };
        if section.name() != "producers" {
            continue;
        }
        let Ok(fields) = ProducersSectionReader::new(wasmparser::BinaryReader::new(section.data(), 0)) else {
            continue;
        };
        let values =
            fields.into_iter().map_while(Result::ok).flat_map(|field| field.values.into_iter().map_while(Result::ok));
        for value in values {
            let name = format!("{} {}", value.name, value.version);
            let name: String = name.trim().chars().filter(|character| !character.is_control()).take(LONGEST).collect();
            if !name.is_empty() && !found.contains(&name) && found.len() < MOST {
                found.push(name);
            }
        }
    }
    found
}

fn wanted((is_wanted, name): (bool, &'static str)) -> Option<&'static str> {
    is_wanted.then_some(name)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// A file may claim what it likes, but not fill the screen.
const MOST: usize = 20;
const LONGEST: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_allows_only_the_empty_object_means_no_settings() {
        for none in [
            r#"{"type": "object", "properties": {}, "additionalProperties": false}"#,
            r#"{"additionalProperties": false}"#,
        ] {
            assert!(has_none(none), "{none}");
        }
        for some in [
            r#"{"properties": {}}"#,
            r#"{"properties": {"a": {}}, "additionalProperties": false}"#,
            r#"{"patternProperties": {"^a": {}}, "additionalProperties": false}"#,
            "not JSON",
        ] {
            assert!(!has_none(some), "{some}");
        }
    }
}
