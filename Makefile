# The commands of inosync's development, the same for people and for CI.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo build test converge bench check

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: ## mirror a small tree with config.ron.example and show a change arriving (Ctrl-C stops it)
	@tests/install-tools.sh demo
	@$(CARGO) build --release --locked
	@tests/demo.sh

build: ## the release binary, target/release/inosync
	$(CARGO) build --release --locked

test: ## all tests, against real rsync, sshd and rsync daemon (installs what is missing)
	@tests/install-tools.sh test
	$(CARGO) test --workspace --locked

converge: ## the test of random operations and faults alone, with its table; INOSYNC_TEST_SEEDS=20 and others: see docs/development.md
	@tests/install-tools.sh test
	$(CARGO) test --locked --test convergence any_sequence -- --nocapture

bench: ## inosync against lsyncd and plain rsync in one table (installs what is missing); ARGS="--list" shows the parts
	@tests/install-tools.sh bench
	$(CARGO) bench --locked --bench peers -- $(ARGS)

check: ## formatting, lints and documentation; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --document-private-items
