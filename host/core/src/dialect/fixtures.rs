//! Fixtures of published shapes, each with what becomes of it in a file beside it (`WITGATE_BLESS=1` writes those anew).

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::json::Members;
use super::{Refusal, StreamTranslator, Translated};
use crate::golden::hold;
use crate::sse::Splitter;

const FIXTURES: &str = "host/core/tests/dialect";

/// Runs every fixture of a folder through `translate` and holds the result to the file beside it.
pub(super) fn hold_all(folder: &str, translate: impl Fn(&str) -> String) {
    hold_into(folder, folder, translate);
}

/// The same, with the results in another folder: of what is translated once more.
pub(super) fn hold_into(results: &str, folder: &str, translate: impl Fn(&str) -> String) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<PathBuf> = fs::read_dir(top.join(FIXTURES).join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        hold(&format!("{FIXTURES}/{results}/{name}.txt"), &translate(&text));
    }
}

pub(super) fn given(fixture: &str) -> &str {
    let members = Members::parse(fixture).unwrap();
    assert!(members.text("source").is_some_and(|source| !source.is_empty()), "a fixture says where it is from");
    members.get("given").unwrap().get()
}

pub(super) fn pretty(json: &str) -> String {
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    format!("{value:#}\n")
}

pub(super) fn translated(result: Result<Translated, Refusal>) -> String {
    let Translated { body, dropped } = result.unwrap();
    format!("dropped: {}\n{}", dropped.join(", "), pretty(&body))
}

/// The stream as the translator gives it, event by event.
pub(super) fn streamed(fixture: &str, mut translator: impl StreamTranslator) -> String {
    assert!(fixture.starts_with(": source: "), "a fixture says where it is from");
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(fixture.split_once('\n').unwrap().1.to_owned().into());
    let mut out = Vec::new();
    while let Some(event) = splitter.next_event().unwrap() {
        translator.event(&event, &mut out);
    }
    let before = out.len();
    translator.end(&mut out);
    let ended = out.len();
    translator.end(&mut out);
    assert_eq!(out.len(), ended, "a stream ends once");
    let marker = if ended > before { "(the upstream closes)\n" } else { "" };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!("{}{marker}{}", text(&out[..before]), text(&out[before..]))
}

/// JSON of these words, put together at random.
pub(super) fn any_json(words: Vec<&'static str>) -> impl Strategy<Value = Value> {
    let word = prop::sample::select(words);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5).prop_map(|members| Value::Object(
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}
