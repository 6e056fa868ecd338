//! A policy's settings against the JSON Schema that the policy gives for them.
//!
//! What is wrong is told by where it is in the settings, what is there, and what the schema allows in that place.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

/// One thing that is wrong with a policy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Where, as a configuration says it: `settings.windows[0].from`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.path, self.message)
    }
}

/// The text of settings in which the order of keys does not show: who only sorts them anew has not changed them.
pub fn canonical(settings: &Value) -> String {
    let mut sorted = settings.clone();
    sorted.sort_all_objects();
    sorted.to_string()
}

/// What a policy accepts.
#[derive(Debug)]
pub(crate) struct Schema(Option<Rules>);

#[derive(Debug)]
struct Rules {
    schema: Value,
    validator: Validator,
}

impl Schema {
    /// Reads a schema; the empty string accepts anything. The schema is the policy's text, so it may not make the host
    /// fetch anything, nor match patterns in more than linear time.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map_err(|error| error.to_string())?;
        Ok(Self(Some(Rules { schema, validator })))
    }

    /// Everything that is wrong with these settings, in their order.
    pub(crate) fn problems(&self, settings: &Value) -> Vec<SettingsProblem> {
        if !settings.is_object() {
            return vec![SettingsProblem { path: ROOT.to_owned(), message: "settings are an object".to_owned() }];
        }
        let Some(Rules { schema, validator }) = &self.0 else { return Vec::new() };
        validator.iter_errors(settings).flat_map(|error| explain(&error, settings, schema)).collect()
    }
}

fn explain(error: &ValidationError<'_>, settings: &Value, schema: &Value) -> Vec<SettingsProblem> {
    let pointer = error.instance_path().as_str();
    // The last step is the keyword that is not satisfied.
    let keyword = error.schema_path().as_str();
    let owner = keyword.rsplit_once('/').and_then(|(owner, _)| schema.pointer(owner));
    let known = owner.and_then(|owner| owner["properties"].as_object());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let message = no_such_setting(known);
            let problem =
                |key: &String| SettingsProblem { path: path(settings, pointer, Some(key)), message: message.clone() };
            unexpected.iter().map(problem).collect()
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str();
            let allowed = key.and_then(|key| known?.get(key)).and_then(allowed).unwrap_or_default();
            vec![SettingsProblem { path: path(settings, pointer, key), message: format!("is required{allowed}") }]
        }
        // What it says names the value.
        _ => {
            let allowed = owner.and_then(allowed).unwrap_or_default();
            vec![SettingsProblem { path: path(settings, pointer, None), message: format!("{error}{allowed}") }]
        }
    }
}

fn no_such_setting(known: Option<&Map<String, Value>>) -> String {
    let known: Vec<String> = known.into_iter().flat_map(Map::keys).map(|key| format!("`{key}`")).collect();
    if known.is_empty() {
        return "there is no such setting".to_owned();
    }
    format!("there is no such setting; there are {}", known.join(", "))
}

/// What a schema allows in one place, unless it is too long for a message; what it says only to people is left out.
fn allowed(schema: &Value) -> Option<String> {
    let mut rules = schema.as_object()?.clone();
    rules.retain(|keyword, _| !ANNOTATIONS.contains(&keyword.as_str()));
    let text = Value::Object(rules).to_string();
    (text.len() <= LONGEST).then(|| format!(" (allowed: {text})"))
}

/// From a JSON pointer, and a key in what it points to, to what a configuration calls it.
fn path(settings: &Value, pointer: &str, key: Option<&str>) -> String {
    let (mut text, mut at) = (ROOT.to_owned(), settings);
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        text += &match at {
            Value::Array(_) => format!("[{step}]"),
            _ => format!(".{step}"),
        };
        at = match at {
            Value::Array(items) => step.parse().ok().and_then(|place: usize| items.get(place)),
            _ => at.get(&step),
        }
        .unwrap_or(&Value::Null);
    }
    key.iter().for_each(|key| text.extend([".", key]));
    text
}

const ROOT: &str = "settings";
/// Keywords that allow and forbid nothing.
const ANNOTATIONS: [&str; 5] = ["$comment", "$schema", "description", "examples", "title"];
/// Bytes of a schema in a message.
const LONGEST: usize = 200;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    const SCHEMA: &str = r#"{
        "type": "object", "additionalProperties": false,
        "properties": { "weights": { "type": "object", "additionalProperties": { "type": "number", "minimum": 0 } } }
    }"#;

    fn problems(schema: &str, settings: &Value) -> Vec<String> {
        Schema::parse(schema).unwrap().problems(settings).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        assert_eq!(problems(SCHEMA, &json!({"weights": {"a": 1}})), [""; 0]);
        assert_eq!(
            problems(SCHEMA, &json!({"weights": {"a": -1, "b": "x"}, "typo": 1})),
            [
                r#"`settings.weights.a`: -1 is less than the minimum of 0 (allowed: {"type":"number","minimum":0})"#,
                r#"`settings.weights.b`: "x" is not of type "number" (allowed: {"type":"number","minimum":0})"#,
                "`settings.typo`: there is no such setting; there are `weights`",
            ]
        );
    }

    #[test]
    fn a_problem_is_told_by_where_it_is_and_what_is_allowed_there() {
        let schema = r##"{
            "required": ["usd"], "properties": {
                "usd": {"exclusiveMinimum": 0, "type": "number", "description": "A day."},
                "windows": {"items": {"$ref": "#/$defs/window"}},
                "a/b~c": {"enum": ["d"]}
            },
            "$defs": {"window": {"additionalProperties": false, "properties": {"from": {"type": "string"}}}}
        }"##;
        assert_eq!(
            problems(schema, &json!({"windows": [{}, {"from": 7, "to": 8}], "a/b~c": 0})),
            [
                r#"`settings.usd`: is required (allowed: {"exclusiveMinimum":0,"type":"number"})"#,
                r#"`settings.windows[1].from`: 7 is not of type "string" (allowed: {"type":"string"})"#,
                "`settings.windows[1].to`: there is no such setting; there are `from`",
                r#"`settings.a/b~c`: 0 is not one of "d" (allowed: {"enum":["d"]})"#,
            ]
        );
        // a long list is left to `witgate policy inspect`
        let listed = |length| {
            let word = "x".repeat(length);
            problems(&json!({"properties": {"a": {"enum": [word]}}}).to_string(), &json!({"a": 1})).concat()
        };
        let around = r#"{"enum":[""]}"#.len();
        assert!(listed(LONGEST - around).ends_with(r#""]})"#));
        assert!(!listed(LONGEST - around + 1).contains("allowed"));
        let none = r#"{"properties": {}, "additionalProperties": false}"#;
        assert_eq!(problems(none, &json!({"a": 1})), ["`settings.a`: there is no such setting"]);
    }

    #[test]
    fn the_order_of_keys_does_not_count_but_that_of_lists_does() {
        let of = |text: &str| canonical(&serde_json::from_str(text).unwrap());
        assert_eq!(
            of(r#"{"b": {"d": 1, "c": [{"f": 2, "e": 3}]}, "a": 4}"#),
            r#"{"a":4,"b":{"c":[{"e":3,"f":2}],"d":1}}"#
        );
        assert_ne!(of(r#"{"a": [1, 2]}"#), of(r#"{"a": [2, 1]}"#));
    }

    #[test]
    fn no_schema_accepts_any_object() {
        assert_eq!(problems("", &json!({"a": 1})), [""; 0]);
        assert_eq!(problems("{}", &json!({"a": 1})), [""; 0]);
        assert_eq!(problems("", &json!([1])), ["`settings`: settings are an object"]);
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        assert_eq!(Schema::parse("{").unwrap_err(), "EOF while parsing an object at line 1 column 1");
        assert_eq!(
            Schema::parse(r#"{"type": "nonsense"}"#).unwrap_err(),
            "\"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword"
        );
        assert!(Schema::parse(r#"{"$ref": "https://example.com/schema.json"}"#).is_err());
        assert!(Schema::parse(r#"{"$ref": "file:///etc/hostname"}"#).is_err());
        // back-references need a matcher that can take exponential time
        assert!(Schema::parse(r#"{"pattern": "(a)\\1"}"#).is_err());
    }
}
