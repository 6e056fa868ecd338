//! Several files as one: the same top-level key in two files joins their maps and lists.

use super::problem::{Place, Problem, Severity};
use super::tree::{Content, Entry, Node};
use super::yaml::duplicate;

/// Joins the files in order.
///
/// # Errors
/// Every key that two files give, and every file whose top is no map.
pub(super) fn merge(files: Vec<Node>, top: Place) -> Result<Node, Vec<Problem>> {
    let mut merged: Vec<Entry> = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        match file.content {
            Content::Map(entries) => {
                for entry in entries {
                    add(&mut merged, entry, &mut problems);
                }
            }
            _ if file.is_nothing() => {}
            Content::Scalar(_) | Content::List(_) => problems.push(Problem {
                place: file.place,
                key: super::KeyPath::root(),
                message: "a configuration is a map with keys such as `providers`, this is none".to_owned(),
                hint: Some("begin with `providers:`, or see docs/configuration.md".to_owned()),
                severity: Severity::Error,
            }),
        }
    }
    let merged = Node { place: top, content: Content::Map(merged) };
    if problems.is_empty() { Ok(merged) } else { Err(problems) }
}

fn add(merged: &mut Vec<Entry>, entry: Entry, problems: &mut Vec<Problem>) {
    let Some(known) = merged.iter_mut().find(|known| known.key == entry.key) else {
        merged.push(entry);
        return;
    };
    if known.node.is_nothing() {
        *known = entry;
        return;
    }
    match (&mut known.node.content, entry.node.content) {
        (Content::Map(entries), Content::Map(more)) => {
            for inner in more {
                match entries.iter().find(|first| first.key == inner.key) {
                    None => entries.push(inner),
                    Some(first) => {
                        let key = format!("{}.{}", entry.key, inner.key);
                        problems.push(duplicate(&key, inner.key_place, &first.key_place));
                    }
                }
            }
        }
        (Content::List(items), Content::List(more)) => items.extend(more),
        (_, Content::Scalar(nothing)) if nothing.value().is_null() => {}
        _ => problems.push(duplicate(&entry.key, entry.key_place, &known.key_place)),
    }
}
