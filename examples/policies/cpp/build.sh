#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs clang, lld, wasi-libc, and clang's runtime and libc++ for wasm32 (Debian: clang lld wasi-libc
# libclang-rt-dev-wasm32 libc++-dev-wasm32), and Rust for the program in ../bindings that turns the contract into C.
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
policy=$(realpath "${2:-$(dirname "$0")}")
cd "$(dirname "$0")"
generated=${out%.wasm}-bindings
cargo run --quiet --locked --manifest-path ../bindings/Cargo.toml -- c ../../../wit policy "$generated"
flags=(--target=wasm32-wasi -O2 -I "$generated" -I .)
clang "${flags[@]}" -c "$generated/policy.c" -o "$generated/policy.o"
clang++ "${flags[@]}" -mexec-model=reactor -std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra -Werror -Wno-missing-field-initializers \
  -Wl,--strip-all "$policy/policy.cpp" "$generated/policy.o" "$generated/policy_component_type.o" -o "$out"
