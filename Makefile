# `make` lists what there is. Everything that a target needs is installed by it: see tests/scripts/setup.sh.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Tools under target/ come first, in their pinned versions.
export PATH := $(CURDIR)/target/venv/bin:$(CURDIR)/target/toolchains/bin:$(CURDIR)/target/npm/node_modules/.bin:$(PATH)
setup := tests/scripts/setup.sh
guests := target/guests-extra
# The same minimal policy in each, and one policy of real use in each: language/folder.
languages := rust c cpp zig go javascript typescript python
policies := rust/budget-guard c/consistent-hash cpp/weighted-score zig/time-of-day go/context-fit \
	javascript/prompt-language typescript/ab-split python/tenant-tiers
# What helpers must turn into declared errors, for the tests.
helpers := python/python-errors javascript/javascript-errors
standalone := examples/policies/rust examples/policies/rust/budget-guard examples/policies/bindings
# Always all of the workspace with its tests: a part of it would need its dependencies with other features, and
# compile wasmtime once more.
build := cargo build --workspace --all-targets --locked
# Arguments for the gateway or the tests, such as `make run ARGS='--config config/witgate.yaml'`.
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Build and start the gateway, with the demo provider and the model servers found on this machine
	@$(setup) rust
	cargo run --release --locked -- serve $(ARGS)

.PHONY: test
test: test-rust test-languages test-clients test-chaos ## All tests: Rust, policies in eight languages, the OpenAI SDK against real llama.cpp servers, half a minute of chaos

.PHONY: test-rust
test-rust: ## The Rust tests
	@$(setup) checks clients
	$(build)
	cargo nextest run --workspace --locked
	cargo test --workspace --locked --doc

.PHONY: test-languages
test-languages: guests-extra ## Every example policy in the real engine, and the unit tests of the one in Rust
	@$(setup) checks
	CARGO_TARGET_DIR=$(CURDIR)/$(guests)/cargo cargo test --quiet --locked --manifest-path examples/policies/rust/budget-guard/Cargo.toml
	$(build)
	cargo nextest run --workspace --locked --run-ignored only $(ARGS) \
	  -E 'package(witgate-languages) and not test(/million|cargo_component/)'

.PHONY: test-clients
test-clients: guests-extra ## The Python tests: SDK, real upstreams, policies dropped into a running gateway
	@$(setup) checks clients
	$(build)
	WITGATE_BIN=$(CURDIR)/target/debug/witgate pytest tests/clients $(ARGS)

# One round of trouble and calm.
.PHONY: test-chaos
test-chaos: ## The short form of chaos
	$(MAKE) chaos DURATION=21 ARGS='--seed 1'

# The same again: make chaos ARGS='--seed 123', with the number that a run prints first.
DURATION ?= 600
.PHONY: chaos
chaos: ## Ten minutes (DURATION=60 for one) of load while everything around the gateway fails, then count what is left
	@$(setup) checks clients
	$(build)
	target/debug/witgate-chaos --seconds $(DURATION) $(ARGS)

.PHONY: lint
lint: ## Format, clippy, and which crates may be used (deny.toml)
	@$(setup) checks
	cargo fmt --all --check
	for crate in $(standalone); do cargo fmt --manifest-path $$crate/Cargo.toml --check; done
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --log-level error check --hide-inclusion-graph bans licenses sources

.PHONY: advisories
advisories: ## Look for known vulnerabilities in what we depend on; downloads the RustSec database
	@$(setup) checks
	cargo deny --log-level error check advisories

.PHONY: bench
bench: guests-extra ## Measure decisions, throughput, added latency and swaps, beside nginx; writes docs/benchmarks.md
	@$(setup) bench
	cargo build --release --locked --package witgate --package witgate-bench
	target/release/witgate-bench all $(ARGS)

.PHONY: test-all
test-all: lint test cargo-component llama-cpp-python ## Everything that can be checked on this machine: lint, test, slow tests, a quick round of bench
	cargo nextest run --workspace --locked --run-ignored only \
	  -E 'package(witgate-languages) and test(/million|cargo_component/)'
	$(MAKE) chaos DURATION=180
	$(MAKE) bench ARGS=--quick

.PHONY: guests-extra
guests-extra: $(languages:%=$(guests)/%.wasm) $(guests)/rust-wasip2.wasm $(foreach policy,$(policies) $(helpers),$(guests)/$(notdir $(policy)).wasm) ## Build the example policies in eight languages

# `cargo component` takes seven minutes of one core to install, so only test-all does. It makes a component itself, where
# plain cargo leaves that to the gateway.
.PHONY: cargo-component
cargo-component: ## Build the example policy in Rust by cargo component as well
	@$(setup) rust
	[ -x target/cargo-component/bin/cargo-component ] || CARGO_TARGET_DIR=$(CURDIR)/$(guests)/cargo-component \
	  cargo install --locked --debug --root target/cargo-component cargo-component@0.21.1
	CARGO_TARGET_DIR=$(CURDIR)/$(guests)/component PATH=$(CURDIR)/target/cargo-component/bin:$$PATH cargo component build \
	  --locked --release --target wasm32-unknown-unknown --manifest-path examples/policies/rust/Cargo.toml
	cp $(guests)/component/wasm32-unknown-unknown/release/least_busy_rust.wasm $(guests)/rust-component.wasm

# Its wheel is compiled, which takes ten minutes, so only test-all does.
.PHONY: llama-cpp-python
llama-cpp-python: ## Hold the real server of llama-cpp-python to its contract
	@$(setup) checks clients
	[ -x target/llama-cpp-python/bin/python ] || python3 -m venv target/llama-cpp-python
	target/llama-cpp-python/bin/pip install --quiet --disable-pip-version-check 'llama-cpp-python[server]==0.3.36'
	$(build)
	WITGATE_BIN=$(CURDIR)/target/debug/witgate WITGATE_LLAMA_CPP_PYTHON=$(CURDIR)/target/llama-cpp-python/bin/python \
	  pytest tests/clients -k 'contract and llama-cpp-python' $(ARGS)

.PHONY: policies
policies: ## Build the shipped policies alone
	@$(setup) rust
	cargo build --locked --package witgate-shipped

.PHONY: docs
docs: ## Write again the documents that are generated from code; the tests hold them to it
	@$(setup) rust
	WITGATE_BLESS=1 cargo test --workspace --locked

.PHONY: clean
clean: ## Remove everything that was built or installed under target/
	rm -rf target

# Built again when the policy, its helper or the contract has changed.
sources = $(shell find $(1) -type f -not -path '*/target/*' -not -path '*/node_modules/*' -not -name '*.pyc' -not -name '*.md' -not -name '*.wasm')
contract := $(wildcard wit/*.wit)
bindings := $(call sources,examples/policies/bindings)

# Of a language: what its build reads besides the contract.
inputs_rust := $(call sources,examples/policies/rust policies/sdk)
inputs_c := $(call sources,examples/policies/c) $(bindings)
inputs_cpp := $(call sources,examples/policies/cpp) $(bindings)
inputs_zig := $(call sources,examples/policies/zig) $(bindings) tests/toolchains.txt
inputs_go := $(call sources,examples/policies/go) $(bindings) tests/toolchains.txt
inputs_javascript := $(call sources,examples/policies/javascript)
inputs_typescript := $(call sources,examples/policies/typescript examples/policies/javascript)
inputs_python := $(call sources,examples/policies/python) tests/requirements.txt

# File, language, folder with the policy.
define guest
$(guests)/$(1).wasm: $(inputs_$(2)) $(call sources,$(3)) $(contract)
	@$(setup) $(2)
	@mkdir -p $(guests)
	CARGO_TARGET_DIR=$(CURDIR)/$(guests)/cargo ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/$(guests)/zig GOCACHE=$(CURDIR)/$(guests)/go \
	  examples/policies/$(2)/build.sh $$@ $(3)
	@touch $$@
endef
$(eval $(call guest,rust-wasip2,rust,examples/policies/rust))
$(guests)/rust-wasip2.wasm: export WASM_TARGET := wasm32-wasip2
$(foreach language,$(languages),$(eval $(call guest,$(language),$(language),examples/policies/$(language))))
$(foreach policy,$(policies),$(eval $(call guest,$(notdir $(policy)),$(patsubst %/,%,$(dir $(policy))),examples/policies/$(policy))))
$(foreach policy,$(helpers),$(eval $(call guest,$(notdir $(policy)),$(patsubst %/,%,$(dir $(policy))),tests/fixtures/languages/$(notdir $(policy)))))
