#!/bin/bash
# Shows that the commit at hand makes the bytes in target/dist: clones it to another folder, makes them there, and compares.
# After make dist; takes as long as that did. What DIST_ARCHS names is compared.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ -f target/dist/SHA256SUMS ]] || { echo "error: make dist comes first" >&2; exit 1; }
[[ -z $(git status --porcelain) ]] || { echo "error: commit your changes first: a clone does not have them" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet . "$work/a clone elsewhere"
"$work/a clone elsewhere/packaging/dist.sh" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
cd target/dist
sha256sum -c "$work/a clone elsewhere/target/dist/SHA256SUMS"
