#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs componentize-py on the PATH: pip install componentize-py==0.25.1
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
policy=$(realpath "${2:-$(dirname "$0")}")
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
componentize-py --quiet --wit-path ../../../wit --world policy \
  componentize --stub-wasi --python-path "$policy" --python-path . policy -o "$out"
