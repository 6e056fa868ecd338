//! The schema as a list of the maps that a configuration may hold, for messages and the reference.

use serde_json::{Map, Value};

/// A map with settings.
pub(super) struct Section<'s> {
    /// Such as `deployments.<name>`; empty for the top.
    pub(super) path: String,
    /// Its schema.
    pub(super) schema: &'s Value,
    /// The schemas of its settings.
    pub(super) settings: &'s Map<String, Value>,
}

/// All maps with settings, each followed by those in it.
pub(super) fn maps(root: &Value) -> Vec<Section<'_>> {
    let mut sections = Vec::new();
    collect(root, root, String::new(), &mut sections);
    sections
}

/// What a reference within the schema stands for.
pub(super) fn follow<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let target = schema["$ref"].as_str().and_then(|name| root.pointer(name.trim_start_matches('#')));
    target.unwrap_or(schema)
}

/// A description without the line breaks of the source.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn collect<'s>(root: &'s Value, schema: &'s Value, path: String, sections: &mut Vec<Section<'s>>) {
    // a secret's other form is no section
    let Some(settings) = schema["properties"].as_object().filter(|_| schema["writeOnly"] != true) else { return };
    sections.push(Section { path: path.clone(), schema, settings });
    for (key, setting) in settings {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let setting = follow(root, setting);
        if setting["items"].is_object() {
            collect(root, follow(root, &setting["items"]), format!("{path}[]"), sections);
        } else if setting["additionalProperties"].is_object() {
            collect(root, follow(root, &setting["additionalProperties"]), format!("{path}.<name>"), sections);
        } else if setting["type"] == "object" {
            collect(root, setting, path, sections);
        }
    }
}
