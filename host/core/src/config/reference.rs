//! The reference of all settings, written from the JSON Schema.

use std::fmt::Write as _;

use serde_json::Value;

use super::outline::{Section, follow, maps, one_line};
use super::schema::schema;

/// The text of `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let schema = schema();
    let mut text = String::from(INTRODUCTION);
    for section in maps(&schema) {
        write_section(&mut text, &schema, &section);
    }
    text
}

/// A heading and a table of the settings of one map.
fn write_section(text: &mut String, root: &Value, section: &Section<'_>) {
    let required = |key: &str| section.schema["required"].as_array().is_some_and(|keys| keys.iter().any(|k| k == key));
    let title = if section.path.is_empty() { "Top level".to_owned() } else { format!("`{}`", section.path) };
    let about = section.schema["description"].as_str().map(one_line).unwrap_or_default();
    let _ = write!(text, "\n## {title}\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
    for (key, setting) in section.settings {
        let default = match setting.get("default") {
            Some(default) => format!("`{}`", show(default)),
            None if required(key) => "required".to_owned(),
            None => String::new(),
        };
        let meaning = setting["description"].as_str().map(one_line).unwrap_or_default();
        let _ = writeln!(text, "| `{key}` | {} | {default} | {meaning} |", kind(root, setting));
    }
}

/// What a setting's value looks like, in a few words.
fn kind(root: &Value, setting: &Value) -> String {
    let shape = follow(root, setting);
    match setting["$ref"].as_str() {
        Some("#/$defs/Duration") => return "duration".to_owned(),
        Some("#/$defs/Size") => return "size".to_owned(),
        Some("#/$defs/Secret") => return "secret".to_owned(),
        _ => {}
    }
    if let Some(title) = shape["title"].as_str() {
        return title.to_owned();
    }
    if let Some(options) = shape["enum"].as_array() {
        let options: Vec<_> = options.iter().map(|option| format!("`{}`", show(option))).collect();
        return options.join(", ");
    }
    match shape["type"].as_str() {
        Some("object") if shape["additionalProperties"].is_object() => {
            format!("{} by name", kind(root, &shape["additionalProperties"]))
        }
        Some("object") => "map".to_owned(),
        Some("array") => format!("list of {}", kind(root, &shape["items"])),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => format!("whole number{}", range(shape)),
        Some("number") => format!("number{}", range(shape)),
        Some("string") => "text".to_owned(),
        _ => "anything".to_owned(),
    }
}

fn range(shape: &Value) -> String {
    let above = shape.get("exclusiveMinimum").map(|limit| format!(" above {limit}"));
    let from = || shape.get("minimum").map(|limit| format!(" from {limit}"));
    // the largest integer that may cross into a policy is no limit that anybody meets
    let to = shape.get("maximum").filter(|limit| **limit != 2_147_483_647).map(|limit| format!(" to {limit}"));
    [above.or_else(from), to].into_iter().flatten().collect()
}

/// As it is written in YAML.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

const INTRODUCTION: &str = "\
# Configuration

This page is generated from the structs that the configuration is read into (`host/core/src/config/raw.rs`); \
`config/witgate.yaml` shows a whole configuration with comments.

A configuration is one YAML file, or all `*.yaml` files of a folder, such as `gateway.yaml`, `providers.yaml` and \
`models.yaml`. A top-level key may stand in several files: its maps and lists are joined, and what is given twice is \
an error that names both places. Anchors, aliases and merge keys (`<<`) work within a file.

Nothing is guessed and nothing is ignored: an unknown key, a wrong type, a name that leads nowhere is an error with \
file, line, column, key and hint, and all of them are reported at once. A key without a value counts as not given.

**Variables.** `${NAME}` in any value stands for an environment variable, `${NAME:-default}` has a default for when \
it is not set or empty, and `$$` stands for `$`. Between braces or brackets YAML wants quotes around it. Where a \
number or a truth value is wanted, the variable's text is read as one; in a policy's settings that is so where it \
stands without quotes.

**Types.** A *duration* is a number with a unit, or several: `250ms`, `30s`, `5m`, `1h30m`, `7d`. A *size* is a \
number of bytes, or has a unit: `1MB` (10⁶), `32MiB` (2²⁰ × 32). A *secret* is text, usually from a variable, or \
`{file: path}`, whose content without the line break at its end is used; a relative path is relative to the \
configuration's folder. Secrets are shown in no log, message or status.

**Names.** A client's model name is looked up in this order: an alias is replaced, once; then an exact name in a \
route's `models`; then the most specific pattern (`*` stands for any characters, also none, also `/`; the longest \
text before the first `*` wins, then the most characters, then the order of the file); then a route's \
`capabilities`; then the `default` route.
";
