#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs clang, lld, wasi-libc and clang's runtime for wasm32 (Debian: clang lld wasi-libc libclang-rt-dev-wasm32), and
# Rust for the program in ../bindings that turns the contract into C (`cargo install wit-bindgen-cli` has the same one).
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
policy=$(realpath "${2:-$(dirname "$0")}")
cd "$(dirname "$0")"
generated=${out%.wasm}-bindings
cargo run --quiet --locked --manifest-path ../bindings/Cargo.toml -- c ../../../wit policy "$generated"
clang --target=wasm32-wasi -mexec-model=reactor -O2 -Wall -Wextra -Werror -Wl,--strip-all -I "$generated" -I . \
  "$policy/policy.c" witgate.c "$generated/policy.c" "$generated/policy_component_type.o" -o "$out"
