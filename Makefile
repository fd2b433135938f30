# The commands of inosync's development, the same for people and for CI.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo build test converge browser bench check package-files deb rpm install package-test

# Where `make install` puts things. DESTDIR is in front of all of them, for who makes a package of it.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc

# Tests mostly wait, so two for each processor run at a time.
RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: ## mirror a small tree with config.ron.example and show a change arriving (Ctrl-C stops it)
	@tests/install-tools.sh demo
	@$(CARGO) build --release --locked
	@tests/demo.sh

# Root, who installs, often has no cargo: what another user built before is taken then.
build: ## the release binary, target/release/inosync
	@if command -v $(CARGO) >/dev/null || [ ! -x target/release/inosync ]; then \
		echo '$(CARGO) build --release --locked'; $(CARGO) build --release --locked; \
	else echo 'no $(CARGO) here: target/release/inosync is installed as it is'; fi

test: ## all tests, against real rsync, sshd and rsync daemon (installs what is missing)
	@tests/install-tools.sh test
	RUST_TEST_THREADS=$(RUST_TEST_THREADS) $(CARGO) test --workspace --locked

converge: ## the test of random operations and faults alone, with its table; INOSYNC_TEST_SEEDS=20 and others: see docs/development.md
	@tests/install-tools.sh test
	$(CARGO) test --locked --test convergence any_sequence -- --nocapture

browser: ## the page in headless Chromium beside a real daemon; pictures in target/browser (installs what is missing)
	@tests/install-tools.sh browser
	$(CARGO) build --locked
	node tests/browser/page.mjs target/debug/inosync target/browser

bench: ## inosync against lsyncd and plain rsync in one table (installs what is missing); ARGS="--list" shows the parts
	@tests/install-tools.sh bench
	$(CARGO) build --release --locked
	$(CARGO) bench --locked --package inosync-benches --bench peers -- $(ARGS)

check: ## formatting, lints and documentation; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --document-private-items

# What is made for packages and not in the repository.
package-files: build
	mkdir -p target/package
	target/release/inosync --completions bash >target/package/inosync.bash
	target/release/inosync --completions zsh >target/package/_inosync
	target/release/inosync --completions fish >target/package/inosync.fish
	for page in packaging/man/*; do gzip -9nc "$$page" >"target/package/$${page##*/}.gz"; done

deb: package-files ## a package for Debian and its relatives, in target/debian
	@command -v cargo-deb >/dev/null || $(CARGO) install cargo-deb --locked
	$(CARGO) deb --no-build --locked

rpm: package-files ## a package for Fedora and its relatives, in target/generate-rpm
	@command -v cargo-generate-rpm >/dev/null || $(CARGO) install cargo-generate-rpm --locked
	$(CARGO) generate-rpm

install: package-files ## installs into PREFIX (/usr/local), below DESTDIR
	install -D -m 755 target/release/inosync "$(DESTDIR)$(PREFIX)/bin/inosync"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)$(SYSCONFDIR)/inosync"
	sed 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|; s|/etc/inosync/|$(SYSCONFDIR)/inosync/|' \
		'packaging/inosync@.service' >'$(DESTDIR)$(PREFIX)/lib/systemd/system/inosync@.service'
	install -m 644 packaging/inosync.target "$(DESTDIR)$(PREFIX)/lib/systemd/system/"
	install -D -m 644 packaging/sysusers.d/inosync.conf -t "$(DESTDIR)$(PREFIX)/lib/sysusers.d"
	install -D -m 644 packaging/tmpfiles.d/inosync.conf -t "$(DESTDIR)$(PREFIX)/lib/tmpfiles.d"
	install -D -m 644 packaging/sysctl.d/60-inosync.conf -t "$(DESTDIR)$(PREFIX)/lib/sysctl.d"
	install -D -m 644 target/package/inosync.1.gz -t "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -D -m 644 target/package/inosync.ron.5.gz -t "$(DESTDIR)$(PREFIX)/share/man/man5"
	install -D -m 644 target/package/inosync.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/inosync"
	install -D -m 644 target/package/_inosync -t "$(DESTDIR)$(PREFIX)/share/zsh/site-functions"
	install -D -m 644 target/package/inosync.fish -t "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"
	install -D -m 644 README.md ARCHITECTURE.md CHANGELOG.md LICENSE config.ron.example packaging/grafana-inosync.json \
		packaging/prometheus/inosync.rules.yml -t "$(DESTDIR)$(PREFIX)/share/doc/inosync"
	install -D -m 644 docs/*.md -t "$(DESTDIR)$(PREFIX)/share/doc/inosync/docs"
	install -m 644 config.ron.example "$(DESTDIR)$(SYSCONFDIR)/inosync/config.ron.example"
	@[ -n "$(DESTDIR)" ] || echo 'Now, as root: systemd-sysusers inosync.conf; systemd-tmpfiles --create inosync.conf; systemctl daemon-reload'

package-test: deb rpm ## checks the packages: lintian, a fresh root, an upgrade, the units (root; installs what is missing)
	@tests/package.sh
