#!/bin/sh
# Installs inosync from this unpacked tarball, or removes it: ./install.sh [--uninstall]. As root.
# PREFIX=/opt/inosync names another place than /usr/local. Starts nothing.
set -eu
umask 022
cd "$(dirname "$0")"

prefix=${PREFIX:-/usr/local}
if [ "$(id -u)" != 0 ]; then
    echo "error: only root may write in $prefix: run this by sudo" >&2
    exit 1
fi
has() { command -v "$1" >/dev/null 2>&1; }
reload() { if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi; }
# systemd reads units only in directories of its own.
case $prefix in
    /usr | /usr/local) units=$prefix/lib ;;
    *) units=/usr/local/lib ;;
esac
# place FILE: where a file of the tarball is installed.
place() {
    case $1 in
        ./lib/*) echo "$units/${1#./lib/}" ;;
        *) echo "$prefix/${1#./}" ;;
    esac
}

if [ "${1-}" = --uninstall ]; then
    if [ -d /run/systemd/system ]; then systemctl stop 'inosync@*.service'; fi
    find ./bin ./lib ./share -type f | while read -r file; do rm -f "$(place "$file")"; done
    rm -f /etc/inosync/config.ron.example
    rm -rf "$prefix/share/doc/inosync" "$prefix/share/licenses/inosync" /run/inosync
    rmdir /etc/inosync 2>/dev/null || true
    reload
    echo "removed; the user inosync, /var/lib/inosync with state and keys, and what you wrote in /etc/inosync stay"
    exit 0
elif [ $# -gt 0 ]; then
    echo "usage: $0 [--uninstall]" >&2
    exit 64
fi

has rsync || echo "warning: rsync 3.1.3 or newer is missing: install it before you start a mirror" >&2
find ./bin ./lib ./share -type f | while read -r file; do
    to=$(place "$file")
    mkdir -p "$(dirname "$to")"
    # A running program is replaced by a new file, not written over.
    rm -f "$to"
    case $file in
        *.service) sed "s|^ExecStart=/usr/bin/|ExecStart=$prefix/bin/|" "$file" >"$to" ;;
        *) cp "$file" "$to" ;;
    esac
done
mkdir -p /etc/inosync
cp etc/inosync/config.ron.example /etc/inosync/
if has systemd-sysusers; then
    systemd-sysusers "$units/sysusers.d/inosync.conf"
    systemd-tmpfiles --create "$units/tmpfiles.d/inosync.conf"
elif ! id inosync >/dev/null 2>&1; then
    echo "note: there is no systemd here: make a user for the daemon yourself, and start it by your own means" >&2
fi
reload
echo "installed: $prefix/bin/inosync; next: write /etc/inosync/www.ron, try it by inosync -c www check, then systemctl enable --now inosync@www"
