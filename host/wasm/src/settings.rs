//! A policy's settings against the JSON Schema that the policy gives for them.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// One thing that is wrong with a policy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// JSON pointer to the value; empty for the settings as a whole.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
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
pub(crate) struct Schema(Option<Validator>);

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
        Ok(Self(Some(validator)))
    }

    /// Everything that is wrong with these settings, in their order.
    pub(crate) fn problems(&self, settings: &Value) -> Vec<SettingsProblem> {
        if !settings.is_object() {
            return vec![SettingsProblem { pointer: String::new(), message: "settings are an object".to_owned() }];
        }
        let Some(validator) = &self.0 else { return Vec::new() };
        validator
            .iter_errors(settings)
            .map(|error| SettingsProblem {
                pointer: error.instance_path().as_str().to_owned(),
                message: error.to_string(),
            })
            .collect()
    }
}

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
                "/weights/a: -1 is less than the minimum of 0",
                "/weights/b: \"x\" is not of type \"number\"",
                "Additional properties are not allowed ('typo' was unexpected)",
            ]
        );
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
        assert_eq!(problems("", &json!([1])), ["settings are an object"]);
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
