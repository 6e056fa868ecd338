//! From YAML text to a tree.
//!
//! A file holds one document. Anchors, aliases and merge keys (`<<`) are filled in; a file that would grow out of
//! bounds by them, or nests too deep, is refused.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::problem::{KeyPath, Place, Problem, Severity};
use super::tree::{Content, Entry, Node, Scalar};

/// Values in one file, copies by aliases included.
const MAX_NODES: usize = 100_000;
/// Maps and lists within each other.
const MAX_DEPTH: usize = 64;

/// Parses a file. The tree is as complete as it can be: after a syntax error it is empty.
///
/// # Errors
/// Everything that is wrong: syntax (only the first, because what follows cannot be trusted), or all duplicate keys,
/// keys that are no text, and tags.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, Vec<Problem>> {
    let mut builder = Builder::new(file);
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let step = match event {
            Ok((event, span)) => builder.take(event, span.start),
            Err(error) => Err(syntax_problem(&builder.file, text, &error)),
        };
        if let Err(problem) = step {
            builder.problems.push(problem);
            return Err(builder.problems);
        }
    }
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    Ok(builder.root.unwrap_or_else(|| Node::empty_map(Place::start_of(file))))
}

struct Builder {
    file: Arc<str>,
    root: Option<Node>,
    open: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: Vec<Problem>,
}

/// A map or list that has begun.
struct Frame {
    place: Place,
    anchor: usize,
    content: Growing,
}

enum Growing {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<Key>, merges: Vec<Node> },
}

struct Key {
    text: String,
    place: Place,
    merge: bool,
}

impl Builder {
    fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            root: None,
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            problems: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'_>, at: Marker) -> Result<(), Problem> {
        let place = self.place(at);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => Err(problem(
                place,
                "a second document begins here, but a file holds one",
                "remove the `---`, or put the rest into a file of its own",
            )),
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = self.check_tag(tag.as_deref(), &place)?;
                let plain = style == ScalarStyle::Plain && !text_tag;
                let content = Content::Scalar(Scalar { text: text.into_owned(), plain });
                self.add(Node { place, content }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), &place)?;
                self.begin(place, anchor, Growing::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), &place)?;
                self.begin(place, anchor, Growing::Map { entries: Vec::new(), key: None, merges: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let (node, size) = (node.clone(), size(node));
                    self.add(node, 0, size)
                }
                None => {
                    Err(problem(place, "this alias stands for something that it is part of", "write the value out"))
                }
            },
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, content: Growing) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            return Err(problem(
                place,
                &format!("maps and lists are nested more than {MAX_DEPTH} deep"),
                "no setting needs that",
            ));
        }
        self.open.push(Frame { place, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Frame { place, anchor, content }) = self.open.pop() else { return Ok(()) };
        let content = match content {
            Growing::List(items) => Content::List(items),
            Growing::Map { mut entries, merges, .. } => {
                for merge in merges {
                    merge_into(&mut entries, merge)?;
                }
                Content::Map(entries)
            }
        };
        self.add(Node { place, content }, anchor, 1)
    }

    /// Puts a finished value where it belongs.
    fn add(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Problem> {
        self.nodes += size;
        if self.nodes > MAX_NODES {
            return Err(problem(
                node.place,
                &format!("the file holds more than {MAX_NODES} values"),
                "aliases of aliases grow quickly; write out what is needed",
            ));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Growing::List(items)) => items.push(node),
            Some(Growing::Map { entries, key, merges }) => match key.take() {
                None => *key = Some(as_key(node)?),
                Some(Key { merge: true, .. }) => merges.push(node),
                Some(Key { text, place, .. }) => {
                    if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                        self.problems.push(duplicate(&text, place, &first.key_place));
                    } else {
                        entries.push(Entry { key: text, key_place: place, node });
                    }
                }
            },
        }
        Ok(())
    }

    /// Whether the tag says that the value is text.
    fn check_tag(&self, tag: Option<&Tag>, place: &Place) -> Result<bool, Problem> {
        match tag {
            None => Ok(false),
            Some(tag) if tag.is_yaml_core_schema() => Ok(tag.suffix == "str"),
            Some(tag) => Err(problem(
                place.clone(),
                &format!("the tag `{tag}` means nothing here"),
                "remove it; text that begins with `!` needs quotes",
            )),
        }
    }

    fn place(&self, at: Marker) -> Place {
        place(&self.file, at)
    }
}

/// The problem of a key that is given twice.
pub(super) fn duplicate(key: &str, second: Place, first: &Place) -> Problem {
    problem(second, &format!("`{key}` is given twice; it was first given at {first}"), "keep one of the two")
}

fn as_key(node: Node) -> Result<Key, Problem> {
    match node.content {
        Content::Scalar(Scalar { text, plain }) => Ok(Key { merge: plain && text == "<<", text, place: node.place }),
        Content::List(_) | Content::Map(_) => {
            Err(problem(node.place, "a key must be text", "text that begins with `[`, `{` or `*` needs quotes"))
        }
    }
}

/// Adds the entries of `<<: *anchor` (or a list of such) that are not given already.
fn merge_into(entries: &mut Vec<Entry>, from: Node) -> Result<(), Problem> {
    match from.content {
        Content::Map(more) => {
            for entry in more {
                if !entries.iter().any(|known| known.key == entry.key) {
                    entries.push(entry);
                }
            }
            Ok(())
        }
        Content::List(maps) => maps.into_iter().try_for_each(|map| merge_into(entries, map)),
        Content::Scalar(_) => {
            Err(problem(from.place, "`<<` merges a map, and this is none", "write `<<: *name` with an anchored map"))
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 1,
        Content::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Content::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.node)).sum::<usize>(),
    }
}

fn syntax_problem(file: &Arc<str>, text: &str, error: &ScanError) -> Problem {
    let info = error.info();
    let line = text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
    let hint = if info.contains("flow") && line.contains("${") {
        "between braces or brackets, `${NAME}` needs quotes"
    } else if info.contains("tab") {
        "indent with spaces, YAML does not allow tabs there"
    } else if info.contains("unknown anchor") {
        "an alias `*name` needs an anchor `&name` before it; text that begins with `*` needs quotes"
    } else if info.contains("mapping values are not allowed") {
        "put text that holds `: ` in quotes, and indent the keys of one map alike"
    } else {
        "look for a missing quote, bracket or colon, or for wrong indentation, here or just above"
    };
    problem(place(file, *error.marker()), &format!("this is not valid YAML: {info}"), hint)
}

fn place(file: &Arc<str>, at: Marker) -> Place {
    Place { file: Arc::clone(file), line: at.line(), column: at.col() + 1 }
}

fn problem(place: Place, message: &str, hint: &str) -> Problem {
    Problem {
        place,
        key: KeyPath::root(),
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
        severity: Severity::Error,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn only_problem(text: &str) -> String {
        match parse("f", text) {
            Ok(_) => panic!("it should be refused"),
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse("f", &nested(MAX_DEPTH)).is_ok());
        let refused = "f:1:65: error: maps and lists are nested more than 64 deep\n  hint: no setting needs that";
        assert_eq!(only_problem(&nested(MAX_DEPTH + 1)), refused);
        // the parser has a bound of its own, for what it has read but not yet handed on
        assert!(parse("f", &"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn size_has_a_bound() {
        // the list itself is a value too
        let list = |items: usize| format!("[{}]", "a,".repeat(items));
        assert!(parse("f", &list(MAX_NODES - 1)).is_ok());
        assert_eq!(
            only_problem(&list(MAX_NODES)),
            "f:1:1: error: the file holds more than 100000 values\n  \
             hint: aliases of aliases grow quickly; write out what is needed"
        );
    }

    #[test]
    fn aliases_of_aliases_are_counted_as_what_they_stand_for() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..30 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{below}]\n");
        }
        let refused = only_problem(&text);
        assert!(refused.contains("error: the file holds more than 100000 values\n"), "{refused}");
    }

    #[test]
    fn places_count_characters_from_one() {
        let tree = parse("f", "\u{feff}a: 1\nb:\n  'ü': {c: [x, \"y\"]}\n").unwrap();
        let place = |path: KeyPath| tree.place_of(path.parts()).to_string();
        let b = KeyPath::top("b").key("ü");
        assert_eq!(place(KeyPath::top("a")), "f:1:4");
        assert_eq!(place(KeyPath::top("b")), "f:2:1");
        assert_eq!(place(b.clone()), "f:3:3");
        assert_eq!(place(b.key("c").index(1)), "f:3:16");
        assert_eq!(place(b.key("c").index(2)), "f:3:9");
        assert_eq!(tree.key_place_of(KeyPath::top("a").parts()).to_string(), "f:1:1");
    }
}
