//! The check of a value against the JSON Schema.
//!
//! It finds everything at once, says it in plain words, and takes what is wrong out of the value, so that the rest
//! can still be read and checked.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::{Value, json};

use super::findings::{Findings, list, nearest, suggest};
use super::interpolate::Values;
use super::outline::{maps, one_line};
use super::problem::{KeyPath, PathPart};
use super::schema::schema;
use super::tree::plain_value;
use super::units::DURATION_PATTERN;

/// Reports everything that does not fit the schema and takes it out of the value.
pub(super) fn check(values: &mut Values, findings: &mut Findings<'_>) {
    let schema = schema();
    let Ok(validator) = jsonschema::validator_for(&schema) else {
        findings.error(&KeyPath::root(), "the built-in schema is wrong", "please report this as a bug of Witgate");
        return;
    };
    let fixes: Vec<_> = validator.iter_errors(&values.value).filter_map(|error| harmless(&error, values)).collect();
    for (path, fix) in fixes {
        apply(&mut values.value, &path, fix);
    }
    let mut wrong = Vec::new();
    for error in validator.iter_errors(&values.value) {
        report(&error, &schema, values, findings, &mut wrong);
    }
    for path in wrong {
        prune(&mut values.value, path.parts());
    }
}

/// What a value that does not fit is to be read as.
enum Fix {
    /// The key counts as not given.
    Drop,
    /// This instead.
    Replace(Value),
}

/// Whether a value is only written in a way that the schema does not know: a setting without a value, a map without
/// entries, or a number as text out of the environment.
fn harmless(error: &ValidationError<'_>, values: &Values) -> Option<(KeyPath, Fix)> {
    let ValidationErrorKind::Type { kind } = error.kind() else { return None };
    let path = path_at(error.instance_path().as_str(), &values.value);
    match error.instance().as_ref() {
        Value::Null => {
            let way = error.evaluation_path().as_str();
            let way = way.strip_suffix("/type").unwrap_or(way);
            let way = way.strip_suffix("/$ref").unwrap_or(way);
            let is_setting = way.rsplit('/').nth(1) == Some("properties");
            let is_map = matches!(kind, TypeKind::Single(JsonType::Object));
            let fix = if is_setting { Some(Fix::Drop) } else { is_map.then(|| Fix::Replace(json!({}))) };
            fix.map(|fix| (path, fix))
        }
        Value::String(text) if values.interpolated.contains(&path) => {
            let value = plain_value(text);
            let fits = !value.is_string() && !value.is_null();
            fits.then_some((path, Fix::Replace(value)))
        }
        _ => None,
    }
}

fn apply(value: &mut Value, path: &KeyPath, fix: Fix) {
    match fix {
        Fix::Drop => prune(value, path.parts()),
        Fix::Replace(new) => {
            if let Some(slot) = descend(value, path.parts()) {
                *slot = new;
            }
        }
    }
}

fn report(
    error: &ValidationError<'_>,
    schema: &Value,
    values: &Values,
    findings: &mut Findings<'_>,
    wrong: &mut Vec<KeyPath>,
) {
    let path = path_at(error.instance_path().as_str(), &values.value);
    if wrong.contains(&path) {
        return;
    }
    // the schema around the keyword that failed
    let around = error.schema_path().as_str().rsplit_once('/').and_then(|(parent, _)| schema.pointer(parent));
    let around = around.unwrap_or(&Value::Null);
    let found = || match (&around["writeOnly"], values.interpolated.contains(&path)) {
        (Value::Bool(true), _) => kind_of(error.instance()).to_owned(),
        (_, true) => format!("{} from the environment", kind_of(error.instance())),
        _ => describe(error.instance()),
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                unknown_key(&path, key, around, schema, findings);
                wrong.push(path.key(key));
            }
            return;
        }
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            let known = |key: &str| around["properties"].get(key).is_some();
            let misspelt =
                error.instance().as_object().is_some_and(|map| !map.is_empty() && !map.keys().any(|key| known(key)));
            if !misspelt && !findings.written(&path.key(property)) {
                let about = around["properties"][property]["description"].as_str();
                let hint = about.map(|about| format!("`{property}`: {}", one_line(about))).unwrap_or_default();
                findings.error(&path, format!("`{property}` is missing"), hint);
            }
            return;
        }
        ValidationErrorKind::Type { kind } => {
            findings.error(
                &path,
                format!("expected {}, found {}", expected(around, kind), found()),
                type_hint(error, kind, around),
            );
        }
        ValidationErrorKind::Pattern { .. } => {
            findings.error(&path, format!("expected {}, found {}", title(around).unwrap_or("other text"), found()), "");
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<_> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let hint = error.instance().as_str().and_then(|text| nearest(text, options.iter().copied()));
            let hint = hint.map(|option| format!("did you mean `{option}`?")).unwrap_or_default();
            findings.error(&path, format!("expected one of {}, found {}", list(&options), found()), hint);
        }
        ValidationErrorKind::Minimum { limit } => {
            findings.error(&path, format!("must be at least {limit}, found {}", found()), "");
        }
        ValidationErrorKind::ExclusiveMinimum { limit } => {
            findings.error(&path, format!("must be above {limit}, found {}", found()), "");
        }
        ValidationErrorKind::Maximum { limit } => {
            findings.error(&path, format!("must be at most {limit}, found {}", found()), "");
        }
        other => findings.error(&path, format!("does not fit the schema: `{}`", other.keyword()), ""),
    }
    wrong.push(path);
}

fn unknown_key(map: &KeyPath, key: &str, around: &Value, schema: &Value, findings: &mut Findings<'_>) {
    if around["writeOnly"] == true {
        // whoever writes a secret in braces by mistake does not want to see it in a log
        findings.error(map, "unknown key", format!("write {}", title(around).unwrap_or("text")));
        return;
    }
    let known: Vec<&str> = around["properties"].as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
    let elsewhere = || maps(schema).into_iter().find(|map| map.settings.contains_key(key)).map(|map| map.path);
    let hint = match nearest(key, known.iter().copied()) {
        None if let Some(path) = elsewhere() => format!("`{key}` belongs in `{path}`"),
        _ => suggest(key, known),
    };
    findings.key_error(map, key, format!("unknown key `{key}`"), hint);
}

fn expected(around: &Value, kind: &TypeKind) -> String {
    if let Some(title) = title(around) {
        return title.to_owned();
    }
    if let Some(options) = around["enum"].as_array() {
        let options: Vec<_> = options.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", list(&options));
    }
    let name = |kind: JsonType| match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a map",
        JsonType::String => "text",
    };
    match kind {
        TypeKind::Single(kind) => name(*kind).to_owned(),
        TypeKind::Multiple(kinds) => kinds.iter().map(name).collect::<Vec<_>>().join(" or "),
    }
}

fn type_hint(error: &ValidationError<'_>, kind: &TypeKind, around: &Value) -> String {
    let wants = |wanted| match kind {
        TypeKind::Single(kind) => *kind == wanted,
        TypeKind::Multiple(kinds) => kinds.contains(wanted),
    };
    let hint = match error.instance().as_ref() {
        Value::Number(number) if around["pattern"] == DURATION_PATTERN => {
            return format!("add a unit, for example `{number}s`");
        }
        Value::Number(_) | Value::Bool(_) if wants(JsonType::String) => "put it in quotes if text is meant",
        Value::String(text) if wants(JsonType::Boolean) => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" => "write `true`",
            "no" | "off" | "n" => "write `false`",
            _ => "",
        },
        _ => "",
    };
    hint.to_owned()
}

fn title(around: &Value) -> Option<&str> {
    around["title"].as_str()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("text {:?}", shorten(text)),
        Value::Null | Value::Array(_) | Value::Object(_) => kind_of(value).to_owned(),
    }
}

/// Enough of a text to recognise it.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The path that a JSON pointer stands for in a value.
fn path_at(pointer: &str, value: &Value) -> KeyPath {
    let mut node = Some(value);
    let mut parts = Vec::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        parts.push(match (node, part.parse::<usize>()) {
            (Some(Value::Array(_)), Ok(index)) => PathPart::Index(index),
            _ => PathPart::Key(part.clone()),
        });
        node = node.and_then(|node| match (node, parts.last()) {
            (Value::Array(items), Some(PathPart::Index(index))) => items.get(*index),
            (node, _) => node.get(&part),
        });
    }
    parts.into()
}

/// Removes the key that holds the value; of an item of a list the key that holds the list, because the places of the
/// other items would no longer be right.
fn prune(value: &mut Value, path: &[PathPart]) {
    let Some(last_key) = path.iter().rposition(|part| matches!(part, PathPart::Key(_))) else { return };
    if let (Some(Value::Object(map)), PathPart::Key(key)) = (descend(value, &path[..last_key]), &path[last_key]) {
        map.shift_remove(key);
    }
}

fn descend<'v>(value: &'v mut Value, path: &[PathPart]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |node, part| match part {
        PathPart::Key(key) => node.get_mut(key),
        PathPart::Index(index) => node.get_mut(index),
    })
}
