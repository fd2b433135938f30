#!/bin/bash
# A program changes a mapped file and calls msync(2), after which POSIX wants the file to have a new time. On a tmpfs
# it never gets one if the page was read before it was written: such a page can be written without a fault. So size
# and time are those of before, and rsync -a passes the file over and ends with 0. On the disk (ext4 here) msync
# counts.
#
# Linux 6.18, rsync 3.5.0+ds1-0+deb12u1 (Debian 12), seen 2026-11-28:
#     tmpfs, read first: same time, passed over; written first: new time, sent; disk, read first: new time, sent
set -euo pipefail
[[ $EUID == 0 ]] || { echo "needs root, to mount a tmpfs"; exit 1; }
command -v python3 >/dev/null || { echo "needs python3"; exit 1; }
work=$(mktemp -d); trap 'umount "$work/tmpfs" 2>/dev/null; rm -rf "$work"' EXIT; cd "$work"
apt-get download -qq rsync=3.5.0+ds1-0+deb12u1 >/dev/null && dpkg-deb -x ./*.deb pkg
rsync=$work/pkg/usr/bin/rsync; "$rsync" --version | sed -n 1p; uname -r
mkdir tmpfs disk; mount -t tmpfs tmpfs tmpfs

cat >store.py <<'PY'
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(file, 0)
if sys.argv[2] == "read":
    first = pages[0]
pages[0:3] = b"new"
pages.flush()  # msync(MS_SYNC)
PY
stored() { # DIRECTORY read|write
    rm -rf "$1/source" mirror; mkdir "$1/source"; head -c 100000 /dev/zero >"$1/source/file"
    "$rsync" -a "$1/source/" mirror/; sleep 1.1
    before=$(stat -c %.Y "$1/source/file"); python3 store.py "$1/source/file" "$2"
    [[ $(stat -c %.Y "$1/source/file") == "$before" ]] && time=same || time=new
    "$rsync" -a "$1/source/" mirror/
    cmp -s "$1/source/file" mirror/file && sent=yes || sent=no
    echo "$1, $2 first: $time time, sent: $sent"
}
stored tmpfs read; [[ $time == same && $sent == no ]]
stored tmpfs write; [[ $time == new && $sent == yes ]]
[[ $(stat -f -c %T disk) == ext2/ext3 ]] || { echo "the disk is no ext4: not tried"; exit 0; }
stored disk read; [[ $time == new && $sent == yes ]]
