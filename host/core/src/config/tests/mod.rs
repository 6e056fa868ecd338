//! Whole configurations: what bad ones are told, and what good ones become.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::golden;

mod defaults;
mod loaded;

/// The public key of minisign's own documentation.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// Variables and files that the cases may use.
struct Outside;

impl Lookup for Outside {
    fn variable(&self, name: &str) -> Option<String> {
        let variables = HashMap::from([
            ("KEY", "sk-from-the-environment"),
            ("NUMBER", "7"),
            ("EMPTY", ""),
            ("HOST", "10.0.0.7"),
            ("HOME", "/home/witgate"),
        ]);
        variables.get(name).map(|value| (*value).to_owned())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "/secrets/key" => Ok("sk-from-a-file\n".to_owned()),
            "/keys/minisign.pub" => Ok(format!("untrusted comment: minisign public key E7620F1842B4E81F\n{KEY}\n")),
            "/secrets/empty" => Ok("\n".to_owned()),
            "/secrets/binary" => Ok("\u{1}\u{2}".to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }
}

fn load_text(text: &str) -> Result<Loaded, Vec<Problem>> {
    load(&[SourceFile::new("witgate.yaml", text)], &Outside)
}

/// A configuration that can be used, with more in it.
fn good(more: &str) -> String {
    format!(
        "providers:\n  demo: {{dialect: demo}}\ndeployments:\n  m@demo:\nroutes:\n  m: {{deployments: m@demo}}\n{more}"
    )
}

fn show(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Every case is a file, or a folder of files that are joined; what comes out of it stands beside it.
#[test]
fn every_case_is_told_all_that_is_wrong_with_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_none_or(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() > 10, "the cases are in {}", root.display());
    for case in cases {
        let mut paths = vec![case.clone()];
        if case.is_dir() {
            paths = fs::read_dir(&case).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
        }
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let files: Vec<_> =
            paths.iter().map(|path| SourceFile::new(name(path), fs::read_to_string(path).unwrap())).collect();
        let said = match load(&files, &Outside) {
            Ok(loaded) => format!("{}usable\n", show(&loaded.warnings)),
            Err(problems) => show(&problems),
        };
        let stem = case.file_stem().unwrap().to_str().unwrap();
        golden::hold(&format!("host/core/tests/config/{stem}.txt"), &said);
    }
}

#[test]
fn no_message_quotes_a_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let said = fs::read_to_string(&path).unwrap();
            // every secret in the cases begins like this
            assert!(!said.contains("sk-"), "{} shows a secret:\n{said}", path.display());
        }
    }
}

proptest! {
    /// Whatever stands in a file, it is loaded or told, and a secret is in no message.
    #[test]
    fn nothing_makes_it_panic_or_tell(lines in proptest::collection::vec(line(), 0..12)) {
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        if let Err(problems) = load_text(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(!show(&problems).contains("sk-from"), "{}", show(&problems));
        }
    }
}

/// A line that could be one of a configuration, or any text.
fn line() -> impl Strategy<Value = String> {
    let schema = schema().to_string();
    let mut words: Vec<_> = schema.split('"').filter(|word| word.len() < 20).map(str::to_owned).collect();
    words.extend(
        ["${KEY}", "*", "[", "]", "{", "}", "&a", "*a", "<<", "- ", "'", "5", "m@demo", "30s", "~"].map(String::from),
    );
    let word = proptest::sample::select(words);
    let entry = (0usize..4, proptest::collection::vec(word, 1..4), "(: |:|, | )")
        .prop_map(|(indent, words, joint)| format!("{}{}", "  ".repeat(indent), words.join(&joint)));
    prop_oneof![9 => entry, 1 => any::<String>()]
}

#[test]
fn the_default_configuration_can_be_used_as_it_is() {
    let loaded = load(&[SourceFile::new("config/witgate.yaml", DEFAULT_CONFIG)], &NoLookup).unwrap();
    assert_eq!(show(&loaded.warnings), "");
    assert!(loaded.config.default_route.is_some());
}

#[test]
fn what_is_commented_out_in_it_can_be_used_too() {
    let is_setting = |line: &str| {
        let line = line.trim_start();
        let key = line.split(':').next().unwrap_or_default();
        line.starts_with("- ") || (key.len() < line.len() && !key.contains(' '))
    };
    let text: String = DEFAULT_CONFIG
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line).to_owned() + "\n")
        .collect();
    let text = ["WITGATE_KEY", "OPENAI_API_KEY"].iter().fold(text, |text, name| text.replace(name, "KEY"));
    let loaded = load_text(&text.replace("${REDIS_URL}", "redis://host")).map_err(|problems| show(&problems)).unwrap();
    assert_eq!(show(&loaded.warnings), "");
    assert!(loaded.config.providers.len() > 4 && !loaded.config.auth.keys.is_empty());
}

#[test]
fn the_reference_is_the_schema() {
    golden::hold("docs/configuration.md", &reference_markdown());
}
