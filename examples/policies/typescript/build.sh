#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs typescript, esbuild and componentize-qjs on the PATH, or in this folder's node_modules: npm install
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
policy=$(realpath "${2:-$(dirname "$0")}")
cd "$(dirname "$0")"
PATH=$PWD/node_modules/.bin:$PATH
tsc --project .
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Named as `witgate policy build` does: errors say it.
mkdir "$scratch/generated"
esbuild "$policy/policy.ts" --bundle --format=esm --target=es2023 --external:'witgate:*' --log-level=warning \
  --outfile="$scratch/generated/policy.js"
componentize-qjs --wit ../../../wit --world policy --js "$scratch/generated/policy.js" --sync --stub-wasi --output "$out"
