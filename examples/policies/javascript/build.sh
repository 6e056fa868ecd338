#!/usr/bin/env bash
# Builds the policy in this folder into one file: ./build.sh least-busy-javascript.wasm
# Needs componentize-qjs on the PATH, or in this folder's node_modules: npm ci
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm}")
cd "$(dirname "$0")"
PATH=$PWD/node_modules/.bin:$PATH
componentize-qjs --wit ../../../wit --world policy --js policy.js --sync --stub-wasi --output "$out"
