#!/bin/bash
# Makes what is released in target/dist: dist.sh [tarball] [deb] [rpm] [sbom]; all of them without an argument.
# KEY=FINGERPRINT signs SHA256SUMS; SYMBOLS=1 leaves its symbols to the binary; DIST_ARCHS="x86_64 aarch64" names the processors, by default both.
# Two runs on one commit with one Rust make the same bytes, wherever the clone is: packaging/reproducible.sh shows it.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

fail() { echo "error: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null; }

parts=("$@")
((${#parts[@]})) || parts=(tarball deb rpm sbom)
cargo=${CARGO:-cargo}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
native=$(uname -m)
dist=$PWD/target/dist
# The time of each file in an archive: that of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null)} ||
    fail "this is no clone of git: set SOURCE_DATE_EPOCH to the time of the release, in seconds since 1970"
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$dist"

# Rust's own linker makes binaries for each processor, so that no C compiler for musl is needed.
build() {
    local target=$1-unknown-linux-musl name
    [[ -d $(rustc --print sysroot)/lib/rustlib/$target ]] || {
        has rustup || fail "this Rust cannot build for $target: install its standard library, or Rust by rustup"
        rustup target add "$target"
    }
    name=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")
    local flags=(
        # The binary names no directory of this machine.
        "--remap-path-prefix=$PWD=." "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        # What a daemon runs lies together: the list has the functions by these names.
        -Csymbol-mangling-version=v0 "-Clink-arg=--script=$PWD/packaging/order.ld"
        # The addresses that are adjusted at the start take 10 KiB and not 220.
        -Clink-arg=--pack-dyn-relocs=relr
    )
    # Cargo takes flags that may have spaces with this separator.
    env "${name}_LINKER=rust-lld" CARGO_ENCODED_RUSTFLAGS="$(IFS=$'\x1f'; echo "${flags[*]}")" \
        "$cargo" build --release --locked --target "$target" ${SYMBOLS:+--config profile.release.package.inosync.strip=false}
}

# stage ARCH: the tree that is installed, in $work/ARCH.
stage() {
    make -s install "BINARY=target/$1-unknown-linux-musl/release/inosync" DESTDIR="$work/$1" PREFIX=/usr \
        "PRINTER=target/$native-unknown-linux-musl/release/inosync"
}

tarball() {
    local name=inosync-$version-$1-linux top=$work/inosync-$version-$1-linux
    mkdir "$top"
    cp -a "$work/$1/usr/." "$work/$1/etc" packaging/install.sh README.md LICENSE "$top"
    chmod 644 "$top/README.md" "$top/LICENSE"
    chmod 755 "$top/install.sh"
    tar -C "$work" --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c "$name" |
        gzip -9n >"$dist/$name.tar.gz"
    cp "$top/bin/inosync" "$dist/$name"
}

deb() {
    local arch=amd64 top=$work/deb-$1 docs
    [[ $1 == x86_64 ]] || arch=arm64
    has dpkg-deb || fail "dpkg-deb is missing: install the package dpkg"
    cp -a "$work/$1" "$top"
    docs=$top/usr/share/doc/inosync
    mv "$top/usr/share/zsh/site-functions" "$top/usr/share/zsh/vendor-completions"
    rm -r "$top/usr/share/licenses"
    gzip -9n <CHANGELOG.md >"$docs/changelog.gz"
    gzip -9n <packaging/debian/changelog >"$docs/changelog.Debian.gz"
    rm "$docs/CHANGELOG.md"
    {
        printf '%s\n' 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/' '' 'Files: *' \
            'Copyright: 2026, inosync contributors' 'License: MIT'
        sed -n '4,$ { s/^$/./; s/^/ /; p }' LICENSE
    } >"$docs/copyright"
    install -D -m 644 packaging/debian/lintian-overrides "$top/usr/share/lintian/overrides/inosync"
    install -d "$top/DEBIAN"
    install -m 755 packaging/debian/{postinst,prerm,postrm} "$top/DEBIAN"
    sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$(du -sk --apparent-size "$top" | cut -f1)/" \
        packaging/debian/control >"$top/DEBIAN/control"
    echo /etc/inosync/config.ron.example >"$top/DEBIAN/conffiles"
    (cd "$top" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    # xz: the dpkg of Debian 11 reads nothing newer.
    dpkg-deb --root-owner-group -Zxz -b "$top" "$dist/inosync_$version-1_$arch.deb" >/dev/null
}

rpm() {
    has rpmbuild || fail "rpmbuild is missing: install the package rpm-build, on Debian rpm"
    rpmbuild -bb --quiet --target "$1-linux" --define "version_ $version" --define "stage $work/$1" \
        --define "_topdir $work/rpm-$1" --define "_rpmdir $dist" --define '_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' \
        packaging/rpm/inosync.spec >"$work/rpmbuild" || { cat "$work/rpmbuild" >&2; fail rpmbuild; }
}

# Each crate that is in the binary, in CycloneDX.
sbom() {
    has cargo-cyclonedx || "$cargo" install cargo-cyclonedx --locked
    local file=inosync-$version.cdx
    "$cargo" cyclonedx --format json --spec-version 1.5 --no-build-deps --target "$native-unknown-linux-musl" \
        --override-filename "$file" --quiet
    # The crates of the workspace are named by their paths on this machine.
    sed 's|path+file://[^"#]*/actors#|path+file:///inosync/actors#|g; s|path+file://[^"#]*#inosync@|path+file:///inosync#inosync@|g' \
        "$file.json" >"$dist/$file.json"
    rm -f "$file.json" {actors,benches}/"$file.json"
}

read -ra archs <<<"${DIST_ARCHS:-x86_64 aarch64}"
# Its own binary prints the completions for all.
[[ " ${archs[*]} " == *" $native "* ]] || build "$native"
for arch in "${archs[@]}"; do build "$arch"; done
for arch in "${archs[@]}"; do
    stage "$arch"
    for part in "${parts[@]}"; do
        case $part in
            tarball | deb | rpm) "$part" "$arch" ;;
            sbom) ;;
            *) fail "there is no part $part: name tarball, deb, rpm or sbom" ;;
        esac
    done
done
[[ " ${parts[*]} " != *" sbom "* ]] || sbom
(cd "$dist" && find . -maxdepth 1 -type f ! -name 'SHA256SUMS*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum >SHA256SUMS)
[[ -z ${KEY-} ]] || gpg --batch --yes --armor --local-user "$KEY" --detach-sign "$dist/SHA256SUMS"
echo "made in target/dist:"
cat "$dist/SHA256SUMS"
