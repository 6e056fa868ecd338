#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs: rustup target add wasm32-unknown-unknown, or the target named in WASM_TARGET.
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
manifest=$(realpath "${2:-$(dirname "$0")}")/Cargo.toml
cd "$(dirname "$0")"
triple=${WASM_TARGET:-wasm32-unknown-unknown}
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --quiet --locked --release --target "$triple" --target-dir "$target" --manifest-path "$manifest"
package=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
cp "$target/$triple/release/${package//-/_}.wasm" "$out"
