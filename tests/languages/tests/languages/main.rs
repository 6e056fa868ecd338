//! Policies in every language, in the real engine.
//!
//! Those under `examples/policies` need toolchains that plain `cargo test` must do without, so their tests are marked
//! `ignored` and run by `make test-languages`, which builds the policies first.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod conformance;
mod examples;
mod helpers;
mod policies;
mod world;
