//! The problems found so far, and the tree that says where each of them is.

use super::problem::{KeyPath, Problem, Severity};
use super::tree::Node;

/// Gathers problems; every layer of loading adds its own.
pub(super) struct Findings<'a> {
    tree: &'a Node,
    problems: Vec<Problem>,
    /// Values of variables, and what is shown instead of them.
    hidden: Vec<(String, String)>,
}

/// What is shorter is no secret, and may stand in a message by chance.
const SHORTEST_HIDDEN: usize = 6;

impl<'a> Findings<'a> {
    pub(super) fn new(tree: &'a Node) -> Self {
        Self { tree, problems: Vec::new(), hidden: Vec::new() }
    }

    pub(super) fn tree(&self) -> &'a Node {
        self.tree
    }

    /// Has the value of a variable shown by its name from now on: it may be a secret in the wrong place.
    pub(super) fn hide(&mut self, value: &str, name: &str) {
        if value.len() >= SHORTEST_HIDDEN {
            self.hidden.push((value.to_owned(), format!("${{{name}}}")));
        }
    }

    /// At the value of a path.
    pub(super) fn error(&mut self, key: &KeyPath, message: impl Into<String>, hint: impl Into<String>) {
        let place = self.tree.place_of(key.parts());
        self.add(Problem {
            place,
            key: key.clone(),
            message: message.into(),
            hint: some(hint.into()),
            severity: Severity::Error,
        });
    }

    /// At the key of a path instead of its value. Shown under the path of the map that holds the key.
    pub(super) fn key_error(&mut self, map: &KeyPath, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        let place = self.tree.key_place_of(map.key(key).parts());
        self.add(Problem {
            place,
            key: map.clone(),
            message: message.into(),
            hint: some(hint.into()),
            severity: Severity::Error,
        });
    }

    /// At the key of a path: it can be used, but not as it is probably meant.
    pub(super) fn warning(&mut self, key: &KeyPath, message: impl Into<String>, hint: impl Into<String>) {
        let place = self.tree.place_of(key.parts());
        self.add(Problem {
            place,
            key: key.clone(),
            message: message.into(),
            hint: some(hint.into()),
            severity: Severity::Warning,
        });
    }

    /// Whether an error was found.
    pub(super) fn any_error(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Whether a key was written, right or wrong. What depends on a value that is wrong is not reported again.
    pub(super) fn written(&self, path: &KeyPath) -> bool {
        self.tree.at(path).is_some_and(|node| !node.is_nothing())
    }

    /// Whether an error was found at a path or below it.
    pub(super) fn any_error_at(&self, path: &KeyPath) -> bool {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        errors.map(|problem| problem.key.parts()).any(|parts| parts.starts_with(path.parts()))
    }

    /// The keys of a top-level map as written.
    pub(super) fn names(&self, section: &str) -> Vec<&'a str> {
        let section = self.tree.at(&KeyPath::top(section));
        section.into_iter().flat_map(Node::entries).map(|entry| &*entry.key).collect()
    }

    /// Whether a top-level map has such a key, right or wrong; or is no map, so that nobody can tell.
    pub(super) fn declares(&self, section: &str, name: &str) -> bool {
        let path = KeyPath::top(section);
        self.names(section).contains(&name) || (self.names(section).is_empty() && self.any_error_at(&path))
    }

    /// Everything, in the order of `files` and of the lines in them.
    pub(super) fn sorted(mut self, files: &[&str]) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| {
            let file = files.iter().position(|name| *name == &*problem.place.file);
            (file, problem.place.line, problem.place.column)
        });
        self.problems
    }

    fn add(&mut self, mut problem: Problem) {
        for (value, shown) in &self.hidden {
            problem.message = problem.message.replace(value, shown);
            problem.hint = problem.hint.map(|hint| hint.replace(value, shown));
        }
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn some(hint: String) -> Option<String> {
    (!hint.is_empty()).then_some(hint)
}

/// The name that was probably meant: at most one edit for every three characters away.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let close = (name.chars().count() / 3).max(1);
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&plain(name), &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= close)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A hint for a name that is not known: the one that was probably meant, else all that there are.
pub fn suggest<'n>(name: &str, known: impl IntoIterator<Item = &'n str> + Clone) -> String {
    if let Some(nearest) = nearest(name, known.clone()) {
        return format!("did you mean `{nearest}`?");
    }
    let all: Vec<_> = known.into_iter().collect();
    match all.len() {
        0 => "there is none yet".to_owned(),
        1..=12 => format!("there is {}", list(&all)),
        more => format!("there are {more}: {}, ...", list(&all[..11])),
    }
}

/// `a`, `b`, `c`.
pub(super) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
