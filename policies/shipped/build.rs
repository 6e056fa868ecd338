//! Builds the shipped policies and lists them for `src/lib.rs`.

#![expect(clippy::expect_used, reason = "a build script that cannot go on has nobody else to tell")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::{env, fs};

/// Each is the crate `policies/<name>`, the package `witgate-policy-<name>`.
const POLICIES: [&str; 13] = [
    "best-score",
    "capability",
    "cheapest",
    "fallback-chain",
    "health",
    "hedge",
    "in-order",
    "latency",
    "least-loaded",
    "peak-ewma",
    "resilient",
    "round-robin",
    "usage-based",
];

fn main() -> ExitCode {
    let packages = POLICIES.map(|name| format!("witgate-policy-{name}"));
    let guests = match witgate_guest_build::build(&packages.each_ref().map(String::as_str)) {
        Ok(guests) => guests,
        Err(error) => {
            println!("cargo::error={error}");
            return ExitCode::FAILURE;
        }
    };
    let mut list = String::from("&[\n");
    for (name, guest) in POLICIES.iter().zip(guests) {
        writeln!(list, "Shipped {{ name: {name:?}, bytes: include_bytes!({:?}) }},", guest.path)
            .expect("a String grows");
    }
    list.push_str("]\n");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(format!("{out}/policies.rs"), list).expect("OUT_DIR is writable");
    ExitCode::SUCCESS
}
