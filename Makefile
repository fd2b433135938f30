# The commands of inosync's development, the same for people and for CI.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo build test converge browser dashboard bench check package-files install dist deb rpm image apt-repo package-test

# Where `make install` puts things. DESTDIR is in front of all of them, for who makes a package of it.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
# The binary that is installed, and one that runs here and prints the completions.
BINARY ?= target/release/inosync
PRINTER ?= $(BINARY)

# Tests mostly wait, so three for each processor run at a time.
RUST_TEST_THREADS ?= $(shell echo $$((3 * $$(nproc))))

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

dashboard: ## what the dashboard for Grafana asks, asked of a real Prometheus that scrapes two sites (installs what is missing)
	@tests/install-tools.sh dashboard
	$(CARGO) build --locked
	tests/dashboard.py target/debug/inosync $$(command -v prometheus || echo target/tools/prometheus)

bench: ## inosync against lsyncd and plain rsync in one table (installs what is missing); ARGS="--list" shows the parts
	@tests/install-tools.sh bench
	$(CARGO) build --release --locked
	$(CARGO) bench --locked --package inosync-benches --bench peers -- $(ARGS)

check: ## formatting, lints, documentation; warnings are errors; scripts and crates where their checkers are installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --document-private-items
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run packaging/*.sh packaging/*/*.sh tests/*.sh; \
	else echo 'note: the scripts are not checked: shellcheck is not installed'; fi
	@if ! command -v cargo-deny >/dev/null; then echo 'note: the crates are not checked: cargo-deny is not installed'; \
	elif $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo 'note: the crates are checked without the database of advisories, which cannot be reached'; \
		$(CARGO) deny --locked check licenses bans sources; fi

# What is made for packages and not in the repository. A binary that is named was built before.
package-files: $(if $(filter target/release/inosync,$(BINARY)),build)
	mkdir -p target/package
	$(PRINTER) --completions bash >target/package/inosync.bash
	$(PRINTER) --completions zsh >target/package/_inosync
	$(PRINTER) --completions fish >target/package/inosync.fish
	for page in packaging/man/*; do gzip -9nc "$$page" >"target/package/$${page##*/}.gz"; done

dist: ## what is released, in target/dist: static binaries, tarballs, deb, rpm, a list of the crates, SHA256SUMS
	@CARGO=$(CARGO) packaging/dist.sh

deb: ## a package for Debian and its relatives, in target/dist
	@CARGO=$(CARGO) DIST_ARCHS=$$(uname -m) packaging/dist.sh deb

rpm: ## a package for Fedora and its relatives, in target/dist
	@CARGO=$(CARGO) DIST_ARCHS=$$(uname -m) packaging/dist.sh rpm

apt-repo: ## a signed repository of the debs for apt, in target/dist/apt: KEY=FINGERPRINT make apt-repo
	@packaging/apt-repo.sh

image: ## an OCI image, in target/dist, without a daemon (root; installs what is missing)
	@packaging/container/image.sh

install: package-files ## installs into PREFIX (/usr/local), below DESTDIR
	install -D -m 755 $(BINARY) "$(DESTDIR)$(PREFIX)/bin/inosync"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)$(PREFIX)/lib/systemd/user" "$(DESTDIR)$(SYSCONFDIR)/inosync"
	for unit in packaging/inosync@.service packaging/inosync-overview.service packaging/user/inosync@.service; do \
		to=system; case $$unit in */user/*) to=user;; esac; \
		sed 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|; s|/etc/inosync/|$(SYSCONFDIR)/inosync/|' \
			"$$unit" >"$(DESTDIR)$(PREFIX)/lib/systemd/$$to/$${unit##*/}"; done
	install -m 644 packaging/inosync.target packaging/inosync-overview.socket "$(DESTDIR)$(PREFIX)/lib/systemd/system/"
	install -D -m 644 packaging/sysusers.d/inosync.conf -t "$(DESTDIR)$(PREFIX)/lib/sysusers.d"
	install -D -m 644 packaging/tmpfiles.d/inosync.conf -t "$(DESTDIR)$(PREFIX)/lib/tmpfiles.d"
	install -D -m 644 packaging/sysctl.d/60-inosync.conf -t "$(DESTDIR)$(PREFIX)/lib/sysctl.d"
	install -D -m 644 target/package/inosync.1.gz -t "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -D -m 644 target/package/inosync.ron.5.gz -t "$(DESTDIR)$(PREFIX)/share/man/man5"
	install -D -m 644 target/package/inosync.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/inosync"
	install -D -m 644 target/package/_inosync -t "$(DESTDIR)$(PREFIX)/share/zsh/site-functions"
	install -D -m 644 target/package/inosync.fish -t "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"
	install -D -m 644 README.md ARCHITECTURE.md CHANGELOG.md SECURITY.md CONTRIBUTING.md config.ron.example packaging/grafana-inosync.json \
		packaging/prometheus/inosync.rules.yml -t "$(DESTDIR)$(PREFIX)/share/doc/inosync"
	install -D -m 644 LICENSE -t "$(DESTDIR)$(PREFIX)/share/licenses/inosync"
	install -D -m 644 docs/*.md -t "$(DESTDIR)$(PREFIX)/share/doc/inosync/docs"
	install -D -m 644 docs/schema/*.json -t "$(DESTDIR)$(PREFIX)/share/doc/inosync/docs/schema"
	install -m 644 config.ron.example "$(DESTDIR)$(SYSCONFDIR)/inosync/config.ron.example"
	@[ -n "$(DESTDIR)" ] || echo 'Now, as root: systemd-sysusers inosync.conf; systemd-tmpfiles --create inosync.conf; systemctl daemon-reload'

package-test: ## checks the packages: lintian, fresh roots, upgrade, removal, the units (root; RELEASES="bullseye trixie")
	@CARGO=$(CARGO) DIST_ARCHS=$$(uname -m) packaging/dist.sh tarball deb rpm
	@tests/package.sh
	@tests/units.sh
