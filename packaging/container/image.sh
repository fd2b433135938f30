#!/bin/bash
# Makes an OCI image in target/dist, without a daemon: Debian's rsync and ssh client, and the static binary, run by the user
# inosync (10001). As root, on Debian and its relatives. SUITE=trixie and DEBIAN_MIRROR= name the release and where it is from:
# with a mirror that keeps the packages of a day, two runs make the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022

fail() { echo "error: $*" >&2; exit 1; }
[[ $EUID == 0 ]] || fail "only root can make the root of an image"
if ! command -v mmdebstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap debian-archive-keyring >&2
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
native=$(uname -m)
binary=target/dist/inosync-$version-$native-linux
[[ -f $binary ]] || fail "make dist comes first: there is no $binary"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# tini is the first process: it passes signals on, and waits for processes whose parents have ended.
# shellcheck disable=SC2016 # $1 is the root in the hooks
mmdebstrap --quiet --variant=essential --include=ca-certificates,openssh-client,rsync,tini --skip=output/dev \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='echo "inosync:x:10001:10001:inosync file mirror:/var/lib/inosync:/usr/sbin/nologin" >>"$1/etc/passwd"' \
    --customize-hook='echo "inosync:x:10001:" >>"$1/etc/group"' \
    --customize-hook='install -d -m 700 -o 10001 -g 10001 "$1/var/lib/inosync" "$1/var/lib/inosync/.ssh"' \
    "${SUITE:-trixie}" "$work/debian.tar" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"

install -D -m 755 "$binary" "$work/root/usr/bin/inosync"
install -D -m 644 LICENSE "$work/root/usr/share/doc/inosync/copyright"
install -d "$work/root/etc/inosync" "$work/root/dev"
install -d -m 700 -o 10001 -g 10001 "$work/root/run/inosync"
tar -C "$work/root" --format=gnu --sort=name --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    -cf "$work/inosync.tar" dev etc run usr

name=inosync-$version-$native-image.tar
python3 packaging/container/oci.py "$version" "target/dist/$name" "$work/debian.tar" "$work/inosync.tar"
(cd target/dist && sed -i "/  $name\$/d" SHA256SUMS && sha256sum "$name" >>SHA256SUMS)
echo "made target/dist/$name: docker load -i it, podman load -i it, or skopeo copy oci-archive:it docker://REGISTRY/inosync"
