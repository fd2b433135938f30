#!/bin/bash
# `strip = true` in a profile of Cargo holds for the program until the program's own package has a table there, if only an empty one:
# then it is linked with its symbols, without a word. `strip = true` in that table, too, helps.
#
# cargo and rustc 1.96.0 (Debian 12, cargo-web and rustc-web 1.96.0+dfsg1-1~deb12u2), seen 2026-11-30; 1.65.0 and 1.95.0 do the same:
#     symbols: 0; with a table for the package: 767; with strip in it: 0
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
version=1.96.0+dfsg1-1~deb12u2
apt-get download -qq {cargo-web,rustc-web,libstd-rust-web-dev,libstd-rust-web-1.96}=$version libllvm22=1:22.1.8-1~deb12u1 \
    libgit2-1.5=1.5.1+ds-1+deb12u2 libssh2-1=1.10.0-3+deb12u1 libhttp-parser2.9=2.9.4-5 \
    {libmbedcrypto7,libmbedx509-1,libmbedtls14}=2.28.3-1 >/dev/null 2>&1
for package in ./*.deb; do dpkg-deb -x "$package" pkg; done
export LD_LIBRARY_PATH=$work/pkg/usr/lib/x86_64-linux-gnu PATH=$work/pkg/usr/bin:$PATH CARGO_HOME=$work/home RUSTC=$work/pkg/usr/bin/rustc
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
cargo --version

mkdir src; echo 'fn main() {}' >src/main.rs
symbols() {
    printf '%s\n' '[package]' 'name = "hello"' 'version = "0.1.0"' 'edition = "2021"' '[profile.release]' 'strip = true' "$@" >Cargo.toml
    cargo build --quiet --release --offline
    { nm target/release/hello 2>/dev/null || true; } | wc -l
}
plain=$(symbols)
table=$(symbols '[profile.release.package.hello]')
both=$(symbols '[profile.release.package.hello]' 'strip = true')
echo "symbols: $plain; with a table for the package: $table; with strip in it: $both"
[[ $plain == 0 && $table -gt 100 && $both == 0 ]]
