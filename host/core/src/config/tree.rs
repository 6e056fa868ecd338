//! The files' content as one tree that knows where everything stands.
//!
//! Values and positions come from one parser, so they cannot disagree.

use serde_json::{Number, Value};

use super::problem::{KeyPath, PathPart, Place};

/// A value and where it begins.
///
/// No `Debug`: it may hold a secret that was written into the file.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a [`Node`] holds.
#[derive(Clone)]
pub(super) enum Content {
    /// As written, before variables are filled in.
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<Entry>),
}

/// A single value as text.
#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes, so that it may mean a number, `true`, `false` or nothing.
    pub(super) plain: bool,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// An empty map.
    pub(super) fn empty_map(place: Place) -> Self {
        Self { place, content: Content::Map(Vec::new()) }
    }

    /// The entries; none when it is not a map.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Scalar(_) | Content::List(_) => &[],
        }
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }

    /// Whether nothing was written: an empty value, `~` or `null`.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.value().is_null())
    }

    /// The value at a path, if there is one.
    pub(super) fn at(&self, path: &KeyPath) -> Option<&Self> {
        let mut node = self;
        for part in path.parts() {
            node = node.child(part)?.0;
        }
        Some(node)
    }

    /// Where a value is: a single value itself, of a map or list its key. Of a value that does not exist, the
    /// innermost that does.
    pub(super) fn place_of(&self, path: &[PathPart]) -> Place {
        let (node, key) = self.follow(path);
        match (&node.content, key) {
            (Content::List(_) | Content::Map(_), Some(key)) => key.clone(),
            (Content::Scalar(scalar), Some(key)) if scalar.text.is_empty() && scalar.plain => key.clone(),
            (Content::Scalar(_) | Content::List(_) | Content::Map(_), _) => node.place.clone(),
        }
    }

    /// Where the last key of a path is.
    pub(super) fn key_place_of(&self, path: &[PathPart]) -> Place {
        let (node, key) = self.follow(path);
        key.unwrap_or(&node.place).clone()
    }

    /// Drops all values and keeps the places, and whether there was a value.
    pub(super) fn forget_values(&mut self) {
        match &mut self.content {
            Content::Scalar(scalar) if scalar.text.is_empty() => {}
            Content::Scalar(scalar) => scalar.text = "forgotten".to_owned(),
            Content::List(items) => items.iter_mut().for_each(Self::forget_values),
            Content::Map(entries) => entries.iter_mut().for_each(|entry| entry.node.forget_values()),
        }
    }

    /// As far as the path goes; with the place of the last key, if the last step was one.
    fn follow(&self, path: &[PathPart]) -> (&Self, Option<&Place>) {
        let (mut node, mut key) = (self, None);
        for part in path {
            match node.child(part) {
                Some(child) => (node, key) = child,
                None => break,
            }
        }
        (node, key)
    }

    /// One step further; with the place of the key.
    fn child(&self, part: &PathPart) -> Option<(&Self, Option<&Place>)> {
        match (&self.content, part) {
            (Content::Map(entries), PathPart::Key(key)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| (&entry.node, Some(&entry.key_place)))
            }
            (Content::List(items), PathPart::Index(index)) => items.get(*index).map(|item| (item, None)),
            (Content::Scalar(_) | Content::List(_) | Content::Map(_), _) => None,
        }
    }
}

impl Scalar {
    /// What the text stands for, by the core schema of YAML 1.2: `null`, `true`, a number, else text. A number that
    /// JSON cannot hold (`.inf`, `.nan`) stays text.
    pub(super) fn value(&self) -> Value {
        if self.plain { plain_value(&self.text) } else { Value::String(self.text.clone()) }
    }
}

/// What text without quotes stands for.
pub(super) fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok().map(Number::from);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !digits.contains(|c: char| c.is_ascii_digit())
        || !digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return None;
    }
    let unsigned = text.parse::<u64>().ok().map(Number::from);
    let whole = unsigned.or_else(|| text.parse::<i64>().ok().map(Number::from));
    whole.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_without_quotes_follows_the_core_schema() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("off", json!("off")),
            ("no", json!("no")),
            ("12", json!(12)),
            ("+12", json!(12)),
            ("-3", json!(-3)),
            ("0.15", json!(0.15)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("0x10", json!(16)),
            ("0o17", json!(15)),
            ("1.2.3", json!("1.2.3")),
            ("30s", json!("30s")),
            ("e5", json!("e5")),
            (".", json!(".")),
            ("-", json!("-")),
            (".inf", json!(".inf")),
            ("4000-5000", json!("4000-5000")),
            ("127.0.0.1:4000", json!("127.0.0.1:4000")),
            ("18446744073709551616", json!(18446744073709551616.0)),
        ] {
            assert_eq!(plain_value(text), value, "{text}");
        }
    }
}
