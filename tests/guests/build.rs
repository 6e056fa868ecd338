//! Builds the guests under `tests/fixtures` and lists them for `src/lib.rs`.

#![expect(clippy::expect_used, reason = "a build script that cannot go on has nobody else to tell")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::{env, fs};

/// Each is the crate `tests/fixtures/<name>`, the package `witgate-fixture-<name>`.
const FIXTURES: [&str; 12] = [
    "describe-loop",
    "fleet",
    "misbehave",
    "no-hook",
    "observer",
    "peek-prompt",
    "rates",
    "tagged",
    "tagged-b",
    "turncoat",
    "witness",
    "wrong-version",
];

fn main() -> ExitCode {
    let packages = FIXTURES.map(|name| format!("witgate-fixture-{name}"));
    let guests = match witgate_guest_build::build(&packages.each_ref().map(String::as_str)) {
        Ok(guests) => guests,
        Err(error) => {
            println!("cargo::error={error}");
            return ExitCode::FAILURE;
        }
    };
    let mut list = String::new();
    for (name, guest) in FIXTURES.iter().zip(guests) {
        let constant = name.replace('-', "_").to_uppercase();
        writeln!(
            list,
            "/// `tests/fixtures/{name}`.\npub static {constant}: &[u8] = include_bytes!({:?});",
            guest.path
        )
        .expect("a String grows");
    }
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(format!("{out}/guests.rs"), list).expect("OUT_DIR is writable");
    ExitCode::SUCCESS
}
