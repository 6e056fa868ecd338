#!/usr/bin/env bash
# Builds the policy in this folder into one file: ./build.sh least-busy-python.wasm
# Needs componentize-py on the PATH: pip install componentize-py==0.25.1
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm}")
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
componentize-py --quiet --wit-path ../../../wit --world policy componentize --stub-wasi policy -o "$out"
