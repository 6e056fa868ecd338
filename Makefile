# `make` lists what there is. Everything that a target needs is installed by it: see tests/scripts/setup.sh.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Tools of target/venv and target/npm come first, in their pinned versions.
export PATH := $(CURDIR)/target/venv/bin:$(CURDIR)/target/npm/node_modules/.bin:$(PATH)
setup := tests/scripts/setup.sh
languages := rust c javascript python
standalone := examples/policies/rust examples/policies/c/bindings
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
test: test-rust test-clients ## All tests: Rust, policies in four languages, the OpenAI SDK against real llama.cpp servers

.PHONY: test-rust
test-rust: ## The Rust tests
	@$(setup) checks clients
	$(build)
	cargo nextest run --workspace --locked
	cargo test --workspace --locked --doc

.PHONY: test-clients
test-clients: guests-extra ## The Python tests: SDK, real upstreams, policies dropped into a running gateway
	@$(setup) checks clients
	$(build)
	WITGATE_BIN=$(CURDIR)/target/debug/witgate pytest tests/clients $(ARGS)

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
test-all: lint test ## Everything that can be checked on this machine: lint, test, and a quick round of bench
	$(MAKE) bench ARGS=--quick

.PHONY: guests-extra
guests-extra: $(languages:%=target/guests-extra/%.wasm) ## Build the example policies in Rust, C, JavaScript and Python

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
sources = $(shell find examples/policies/$(1) -type f -not -path '*/target/*' -not -path '*/node_modules/*' -not -name '*.pyc' -not -name '*.md' -not -name '*.wasm')
contract := $(wildcard wit/*.wit)

target/guests-extra/rust.wasm: $(call sources,rust) $(shell find policies/sdk -type f)
target/guests-extra/c.wasm: $(call sources,c)
target/guests-extra/javascript.wasm: $(call sources,javascript)
target/guests-extra/python.wasm: $(call sources,python) tests/requirements.txt

target/guests-extra/%.wasm: $(contract)
	@$(setup) guests
	@mkdir -p $(@D)
	CARGO_TARGET_DIR=$(CURDIR)/target/guests-extra/cargo examples/policies/$*/build.sh $@
	@touch $@
