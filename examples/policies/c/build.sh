#!/usr/bin/env bash
# Builds the policy in this folder into one file: ./build.sh least-busy-c.wasm
# Needs clang, lld, wasi-libc and clang's runtime for wasm32 (Debian: clang lld wasi-libc libclang-rt-dev-wasm32), and
# Rust for the program in bindings/ that turns the contract into C (`cargo install wit-bindgen-cli` has the same one).
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm}")
cd "$(dirname "$0")"
generated=${out%.wasm}-bindings
cargo run --quiet --locked --manifest-path bindings/Cargo.toml -- ../../../wit policy "$generated"
clang --target=wasm32-wasi -mexec-model=reactor -O2 -Wall -Wextra -Werror -Wl,--strip-all -I "$generated" \
  policy.c witgate.c "$generated/policy.c" "$generated/policy_component_type.o" -o "$out"
