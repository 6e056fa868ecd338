#!/usr/bin/env bash
# Builds the policy in this folder into one file: ./build.sh least-busy-rust.wasm
# Needs: rustup target add wasm32-unknown-unknown
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm}")
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --quiet --locked --release --target wasm32-unknown-unknown --target-dir "$target"
cp "$target/wasm32-unknown-unknown/release/least_busy_rust.wasm" "$out"
