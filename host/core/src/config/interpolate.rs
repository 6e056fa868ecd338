//! Fills in `${NAME}` and `${NAME:-default}`, and turns the tree into a JSON value.
//!
//! Everything that came out of the environment is remembered, so that no message quotes it, and so that
//! `rpm: ${RPM}` can become a number where a number is wanted.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::findings::Findings;
use super::problem::{KeyPath, PathPart};
use super::tree::{Content, Node, Scalar, plain_value};

/// What the configuration may ask the outside for.
pub trait Lookup {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a secret's file. A relative path is relative to the configuration's own folder.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// An outside with nothing in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLookup;

impl Lookup for NoLookup {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

/// The configuration as one JSON value.
pub(super) struct Values {
    /// Without values whose variable is missing.
    pub(super) value: Value,
    /// What came out of the environment.
    pub(super) interpolated: HashSet<KeyPath>,
}

/// Turns the tree into a value and reports variables that are not set.
pub(super) fn interpolate(findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Values {
    let mut filler = Filler { lookup, interpolated: HashSet::new(), findings };
    let tree = filler.findings.tree();
    let value = filler.fill(tree, &KeyPath::root()).unwrap_or_else(|| Value::Object(Map::new()));
    Values { value, interpolated: filler.interpolated }
}

struct Filler<'a, 'b> {
    lookup: &'a dyn Lookup,
    interpolated: HashSet<KeyPath>,
    findings: &'a mut Findings<'b>,
}

impl Filler<'_, '_> {
    /// `None` when something in it is missing; a list is then missing as a whole, so that the places of its other
    /// items stay right.
    fn fill(&mut self, node: &Node, path: &KeyPath) -> Option<Value> {
        match &node.content {
            Content::Scalar(scalar) => self.fill_scalar(scalar, path),
            Content::List(items) => {
                let filled: Vec<_> =
                    items.iter().enumerate().map(|(index, item)| self.fill(item, &path.index(index))).collect();
                filled.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
            }
            Content::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    if let Some(value) = self.fill(&entry.node, &path.key(&entry.key)) {
                        map.insert(entry.key.clone(), value);
                    }
                }
                Some(Value::Object(map))
            }
        }
    }

    fn fill_scalar(&mut self, scalar: &Scalar, path: &KeyPath) -> Option<Value> {
        if !scalar.text.contains('$') {
            return Some(scalar.value());
        }
        let mut read = |name: &str| {
            let value = self.lookup.variable(name);
            if let Some(value) = &value {
                self.findings.hide(value, name);
            }
            value
        };
        match expand(&scalar.text, &mut read) {
            Ok(text) => {
                self.interpolated.insert(path.clone());
                // only the policy knows what its settings are, so what YAML says about the text has to do
                let value = if scalar.plain && is_setting(path) { plain_value(&text) } else { Value::String(text) };
                Some(value)
            }
            Err(Trouble { message, hint }) => {
                self.findings.error(path, message, hint);
                None
            }
        }
    }
}

/// Whether a path leads into a policy's settings.
fn is_setting(path: &KeyPath) -> bool {
    let key = |place: usize, name: &str| matches!(path.parts().get(place), Some(PathPart::Key(key)) if key == name);
    key(0, "routes") && key(2, "policies") && key(4, "settings")
}

#[derive(Debug, PartialEq)]
struct Trouble {
    message: String,
    hint: String,
}

/// Replaces every `${...}`; `$$` stands for `$`, and any other `$` for itself.
fn expand(text: &str, read: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, Trouble> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('{') {
            let Some(end) = tail.find('}') else {
                return Err(Trouble {
                    message: "`${` has no `}` after it".to_owned(),
                    hint: "write `${NAME}` for a variable, `$$` for the character `$`".to_owned(),
                });
            };
            out.push_str(&variable(&tail[..end], read)?);
            rest = &tail[end + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, read: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, Trouble> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Trouble {
            message: format!("`{name}` is no name of an environment variable"),
            hint: "write `${NAME}` or `${NAME:-default}` for a variable, `$$` for the character `$`".to_owned(),
        });
    }
    match (read(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Trouble {
            message: format!("the environment variable `{name}` is not set"),
            hint: format!("set it, or give a default: `${{{name}:-...}}`"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let mut read = |name: &str| match name {
            "NAME" => Some("value".to_owned()),
            "_2" => Some("${NAME}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &mut read).map_err(|trouble| format!("{}; {}", trouble.message, trouble.hint))
    }

    #[test]
    fn variables_are_filled_in_once() {
        for (text, result) in [
            ("", ""),
            ("${NAME}", "value"),
            ("a${NAME}b${NAME}", "avaluebvalue"),
            ("${NAME:-other}", "value"),
            ("${GONE:-other}", "other"),
            ("${GONE:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-other}", "other"),
            ("${GONE:-a:-b}", "a:-b"),
            ("$${NAME}", "${NAME}"),
            ("$$$$", "$$"),
            ("5$ $x $", "5$ $x $"),
            ("${_2}", "${NAME}"),
            ("ü${NAME}ü", "üvalueü"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(result), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_told() {
        let not_set = "the environment variable `GONE` is not set; set it, or give a default: `${GONE:-...}`";
        assert_eq!(expanded("a ${GONE}"), Err(not_set.to_owned()));
        let open = "`${` has no `}` after it; write `${NAME}` for a variable, `$$` for the character `$`";
        assert_eq!(expanded("${NAME"), Err(open.to_owned()));
        for (text, name) in [("${}", ""), ("${1A}", "1A"), ("${A-B}", "A-B"), ("${A B}", "A B"), ("${:-x}", "")] {
            let wrong = format!(
                "`{name}` is no name of an environment variable; \
                 write `${{NAME}}` or `${{NAME:-default}}` for a variable, `$$` for the character `$`"
            );
            assert_eq!(expanded(text), Err(wrong), "{text}");
        }
    }
}
