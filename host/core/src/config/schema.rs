//! The JSON Schema of the configuration, made from the structs that the files are read into.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw::Raw;

/// The JSON Schema (draft 2020-12) of the whole configuration.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Raw>().to_value();
    forbid_null(&mut schema);
    schema
}

/// `Option` is an optional key here, not a value that may be `null`: a key without a value counts as not given, so
/// the schema need not speak of it.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(options)) = map.get_mut("enum") {
                options.retain(|option| !option.is_null());
            }
            if let Some(Value::Array(variants)) = map.get("anyOf")
                && let [Value::Object(variant), null] = &variants[..]
                && null["type"] == "null"
            {
                let variant = variant.clone();
                map.shift_remove("anyOf");
                map.extend(variant);
            }
            // names of Rust's integers; a setting may be called `format`, and is then no text
            if map.get("format").is_some_and(Value::is_string) {
                map.shift_remove("format");
            }
            map.values_mut().for_each(forbid_null);
        }
        _ => {}
    }
}
