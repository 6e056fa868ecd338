#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs Zig 0.17 (pip install ziglang==0.17.1), and Rust for the program in ../bindings that describes the contract's
# types in the module (`wasm-tools component embed` does the same).
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
policy=$(realpath "${2:-$(dirname "$0")}")
cd "$(dirname "$0")"
python-zig build-exe -target wasm32-freestanding -O ReleaseSmall -fno-entry -rdynamic --stack 65536 \
  --dep witgate -Mroot="$policy/policy.zig" -Mwitgate=witgate.zig -femit-bin="$out"
rm -f "$out.o"
cargo run --quiet --locked --manifest-path ../bindings/Cargo.toml -- embed ../../../wit policy "$out"
