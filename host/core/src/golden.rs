//! Files that tests hold to what the code says.
//!
//! `WITGATE_BLESS=1 cargo test -p witgate-core` writes them anew; look at the difference before you commit it.

use std::path::Path;
use std::{env, fs};

/// Fails when the file, named from the top of the repository, does not hold this text.
#[track_caller]
pub(crate) fn hold(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if env::var_os("WITGATE_BLESS").is_some_and(|value| value == "1") {
        fs::write(&file, text).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }
    let held = fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    assert_eq!(held, text, "{path} is out of date: WITGATE_BLESS=1 cargo test -p witgate-core writes it anew");
}
