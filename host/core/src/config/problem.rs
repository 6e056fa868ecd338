//! What is wrong with a configuration, where, and what would fix it.
//!
//! A [`Problem`] never quotes a secret: neither the value of a key that is meant for one, nor what came out of the
//! environment, which is shown as `${NAME}`.

use std::fmt;
use std::sync::Arc;

/// One thing that is wrong or suspicious.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the files.
    pub place: Place,
    /// Which key; empty for a problem of a whole file.
    pub key: KeyPath,
    /// What is wrong.
    pub message: String,
    /// What would fix it.
    pub hint: Option<String>,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: ", self.place)?;
        if !self.key.is_root() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but probably does not do what is meant.
    Warning,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as it was passed in.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    /// The first character of a file.
    pub fn start_of(file: &str) -> Self {
        Self { file: file.into(), line: 1, column: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One step into the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPart {
    /// Of a map.
    Key(String),
    /// Of a list, from 0.
    Index(usize),
}

/// The way from the top of the configuration to a value, shown as `auth.keys[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyPath(Vec<PathPart>);

impl KeyPath {
    /// The top.
    pub fn root() -> Self {
        Self::default()
    }

    /// A top-level key.
    pub fn top(key: &str) -> Self {
        Self::root().key(key)
    }

    /// One step further, into a map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(PathPart::Key(key.to_owned()))
    }

    /// One step further, into a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(PathPart::Index(index))
    }

    /// The steps.
    pub fn parts(&self) -> &[PathPart] {
        &self.0
    }

    /// Whether it is the top.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn with(&self, part: PathPart) -> Self {
        let mut parts = self.0.clone();
        parts.push(part);
        Self(parts)
    }
}

impl From<Vec<PathPart>> for KeyPath {
    fn from(parts: Vec<PathPart>) -> Self {
        Self(parts)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.iter().enumerate() {
            match part {
                PathPart::Index(index) => write!(f, "[{index}]")?,
                PathPart::Key(key) if is_plain(key) => write!(f, "{}{key}", if place == 0 { "" } else { "." })?,
                PathPart::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// Whether a key can stand in a path without quotes and brackets.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '*' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_how_to_fix_it() {
        let mut problem = Problem {
            place: Place { file: "gateway.yaml".into(), line: 3, column: 5 },
            key: KeyPath::top("auth").key("keys").index(0).key("gpt-4.1@openai").key("rpm"),
            message: "must be at least 1, found 0".to_owned(),
            hint: Some("leave it out for no limit".to_owned()),
            severity: Severity::Error,
        };
        assert_eq!(
            problem.to_string(),
            "gateway.yaml:3:5: error: auth.keys[0][\"gpt-4.1@openai\"].rpm: must be at least 1, found 0\n  \
             hint: leave it out for no limit"
        );
        problem = Problem { key: KeyPath::root(), hint: None, severity: Severity::Warning, ..problem };
        assert_eq!(problem.to_string(), "gateway.yaml:3:5: warning: must be at least 1, found 0");
    }
}
