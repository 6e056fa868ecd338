#!/usr/bin/env bash
# Builds a policy into one file: ./build.sh OUTPUT.wasm [FOLDER], by default the one in this folder.
# Needs componentize-qjs on the PATH, or in this folder's node_modules: npm install
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUTPUT.wasm [FOLDER]}")
policy=$(realpath "${2:-$(dirname "$0")}")
cd "$(dirname "$0")"
PATH=$PWD/node_modules/.bin:$PATH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The usual world, or the policy's own, which sees the contract as a dependency.
wit=../../../wit
if [ -e "$policy/world.wit" ]; then
  wit=$scratch/wit
  mkdir -p "$wit/deps"
  cp "$policy/world.wit" "$wit/"
  cp -r ../../../wit "$wit/deps/witgate-policy"
fi
mkdir "$scratch/source"
cp witgate.js "$scratch/source/"
find "$policy" -maxdepth 1 -name "*.js" -not -name witgate.js -exec cp {} "$scratch/source/" \;
componentize-qjs --wit "$wit" --world policy --js "$scratch/source/policy.js" --sync --stub-wasi --output "$out" >"$scratch/log" ||
  { cat "$scratch/log" >&2; exit 1; }
