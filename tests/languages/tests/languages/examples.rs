//! The minimal policy, which is the same in every language.

use serde_json::json;

use crate::world::{World, deployment, priced, targets};

const LANGUAGES: [&str; 8] = ["rust", "c", "cpp", "zig", "go", "javascript", "typescript", "python"];

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn the_least_busy_deployment_is_picked_and_of_equals_the_cheapest() {
    LANGUAGES.into_iter().for_each(least_busy);
}

fn least_busy(file: &str) {
    let world = World::new([priced("m@dear", 9.0), priced("m@cheap", 1.0), deployment("m@busy")]);
    let _running = world.busy(2, 1);
    let policy = world.example(file, json!({}));
    let offer = world.offer(&[]);
    assert_eq!(targets(&policy, &offer), [1], "{file}");
    let _running = world.busy(1, 2);
    assert_eq!(targets(&policy, &offer), [0], "{file}");
    // it asks for no capability
    let imports = policy.component().imports();
    assert_eq!((imports.headers, imports.prompt), (false, false), "{file}");
}

/// Plain cargo for `wasm32-unknown-unknown`, whose module the gateway wraps, is the first; `make test-all` adds
/// `cargo component`.
#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn the_same_crate_in_rust_may_be_built_for_wasip2() {
    least_busy("rust-wasip2");
}

#[test]
#[ignore = "needs `make cargo-component`; `make test-all` runs it"]
fn the_same_crate_in_rust_may_be_built_by_cargo_component() {
    least_busy("rust-component");
}

/// Go's garbage collector runs some thousand times on the way, also while the host asks for memory.
#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn go_keeps_deciding_and_does_not_grow() {
    decides("go", 30_000);
}

/// A test for each language, so that one can be run alone.
macro_rules! many_decisions {
    ($($test:ident: $file:literal, $calls:literal;)+) => {
        $(
            #[test]
            #[ignore = "takes up to a minute; `make test-all` runs it"]
            fn $test() {
                decides($file, $calls);
            }
        )+
    };
}

// A call of an interpreter takes some twenty times as long, in a build for tests more; a leak of 100 bytes a call
// passes the mark in 250 000 calls as well.
many_decisions! {
    rust_decides_a_million_times: "rust", 1_000_000;
    c_decides_a_million_times: "c", 1_000_000;
    cpp_decides_a_million_times: "cpp", 1_000_000;
    zig_decides_a_million_times: "zig", 1_000_000;
    go_decides_a_million_times: "go", 1_000_000;
    javascript_decides_a_quarter_of_a_million_times: "javascript", 250_000;
    typescript_decides_a_quarter_of_a_million_times: "typescript", 250_000;
    python_decides_a_quarter_of_a_million_times: "python", 250_000;
}

fn decides(file: &str, calls: u32) {
    let mut world = World::new([priced("m@dear", 9.0), priced("m@cheap", 1.0)]);
    // A quarter of the default. An instance is replaced at three quarters of what it may claim beyond what it starts
    // with, of which CPython has more. Go collects for the first time when its heap has 4 MiB.
    world.rules.memory = if file == "python" { 32 << 20 } else { 16 << 20 };
    let policy = world.example(file, json!({}));
    let offer = world.offer(&[]);
    for call in 0..calls {
        assert_eq!(targets(&policy, &offer), [1], "{file}: call {call}");
    }
    let statistics = policy.statistics();
    assert_eq!((statistics.calls, statistics.lost, statistics.retired), (u64::from(calls), 0, 0), "{file}");
}
