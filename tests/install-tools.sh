#!/bin/bash
# Installs what the demo, the tests, the benchmark, the browser test or that of the dashboard need and is missing:
# install-tools.sh demo|test|bench|browser|dashboard.
# Debian and its relatives only.
set -euo pipefail
cd "$(dirname "$0")/.."

purpose=${1:?usage: install-tools.sh demo|test|bench|browser|dashboard}
case $purpose in
demo | test | bench | browser | dashboard) ;;
*) echo "error: nothing is to be installed for $purpose: demo, test, bench, browser or dashboard" >&2; exit 64 ;;
esac
missing=()
# What not every distribution has.
optional=()
[[ -x /usr/bin/rsync ]] || missing+=(rsync)
if [[ $purpose != demo && $purpose != dashboard ]]; then
    [[ -x /usr/sbin/sshd ]] || missing+=(openssh-server)
    [[ -x /usr/bin/ssh && -x /usr/bin/ssh-keygen ]] || missing+=(openssh-client)
fi
if [[ $purpose == test ]]; then
    [[ -x /usr/bin/perl ]] || missing+=(perl-base)
    # For rrsync, which is a part of rsync, and for the manual pages. Without these a test says so and passes.
    if command -v apt-get >/dev/null; then
        [[ -x /usr/bin/python3 ]] || missing+=(python3)
        [[ -x /usr/bin/man ]] || missing+=(man-db)
        # For sources and nodes on other file systems.
        for pair in lowntfs-3g:ntfs-3g mount.exfat-fuse:exfat-fuse mkfs.exfat:exfatprogs mkfs.ext4:e2fsprogs \
            mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs bindfs:bindfs; do
            PATH=$PATH:/usr/sbin:/sbin command -v "${pair%:*}" >/dev/null || optional+=("${pair#*:}")
        done
        # For what they say when they refuse.
        [[ -x /usr/bin/dbclient ]] || missing+=(dropbear-bin)
        [[ -x /usr/bin/sudo ]] || missing+=(sudo)
    fi
fi
if [[ $purpose == bench ]]; then
    [[ -x /usr/bin/lsyncd ]] || missing+=(lsyncd)
fi
if [[ $purpose == dashboard ]]; then
    [[ -x /usr/bin/python3 ]] || missing+=(python3)
fi
if [[ $purpose == browser ]]; then
    [[ -x /usr/bin/chromium ]] || missing+=(chromium)
    # Without fonts the pictures are full of boxes.
    [[ -d /usr/share/fonts/truetype/noto ]] || missing+=(fonts-noto-core fonts-noto-mono)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
fi

as_root() {
    if [[ $EUID == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "error: only root can install packages and there is no sudo; as root, run: $*" >&2
        exit 1
    fi
}

if ((${#missing[@]} + ${#optional[@]})); then
    if ! command -v apt-get >/dev/null; then
        echo "error: missing: ${missing[*]} (Debian's names), and there is no apt-get here to install them." >&2
        echo "       Install rsync, for the tests and the benchmark also sshd, ssh and ssh-keygen, for the tests perl, and" >&2
        echo "       for the benchmark lsyncd, by your system's own means." >&2
        exit 1
    fi
    # A machine may have no package lists, or old ones that name packages which are gone.
    as_root apt-get update -qq
    for package in "${optional[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            missing+=("$package")
        else
            echo "note: $package is not to be had here; the tests that need it will say so and pass" >&2
        fi
    done
fi
if ((${#missing[@]})); then
    echo "installing: ${missing[*]}" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

# unpack PACKAGE PROGRAM: the files of a package of Debian that is not installed, into $work/unpacked. Fails where it is not
# to be had, or the program does not run.
unpack() {
    command -v apt-get >/dev/null || return 1
    work=${work:-$(mktemp -d)}
    trap 'rm -rf "$work"' EXIT
    # The lists may have been removed, as images of Debian do.
    if ! apt-cache show "$1" >/dev/null 2>&1 && [[ $EUID == 0 ]]; then
        apt-get update -qq || true
    fi
    rm -rf "$work/unpacked"
    (cd "$work" && apt-get download -qq "$1" && dpkg-deb -x "${1%%=*}"_*.deb unpacked) >/dev/null 2>&1 &&
        "$work/unpacked/usr/bin/$2" --version >/dev/null 2>&1
}

# Two programs for one test each, which says so and passes where they are not to be had.
old=3.2.7-1+deb12u6
tools=target/tools
if [[ $purpose == test ]]; then
    mkdir -p "$tools"
    # The receiver that rejects the deletion of missing arguments (upstream issue 910). Other releases of Debian do not carry
    # this package.
    if [[ ! -x $tools/rsync-3.2.7/usr/bin/rsync ]]; then
        if unpack "rsync=$old" rsync; then
            mkdir -p "$tools/rsync-3.2.7"
            cp -r "$work/unpacked/." "$tools/rsync-3.2.7/"
        else
            echo "note: rsync $old is not to be had here; the test that needs it will say so and pass" >&2
        fi
    fi
    # What checks the metrics. It is a part of Prometheus, which would run as a service if it was installed.
    if [[ ! -x $tools/promtool ]] && ! command -v promtool >/dev/null; then
        if unpack prometheus promtool; then
            cp "$work/unpacked/usr/bin/promtool" "$tools/"
        else
            echo "note: promtool is not to be had here; the test that needs it will say so and pass" >&2
        fi
    fi
fi

# What is asked for all that the dashboard shows. It would run as a service if it was installed.
if [[ $purpose == dashboard && ! -x $tools/prometheus ]] && ! command -v prometheus >/dev/null; then
    unpack prometheus prometheus || { echo "error: the package prometheus is not to be had here" >&2; exit 1; }
    mkdir -p "$tools"
    cp "$work/unpacked/usr/bin/prometheus" "$tools/"
fi

# What drives Chromium (playwright-core) and looks for what keeps people from reading a page (axe-core).
if [[ $purpose == browser ]] && ! cmp -s tests/browser/package-lock.json tests/browser/node_modules/.of; then
    (cd tests/browser && npm ci --no-audit --no-fund --silent && cp package-lock.json node_modules/.of)
fi
