#!/bin/bash
# Two copies of one program on one file system have different amounts of it resident, for as long as the page cache keeps
# them: ext4 holds a file in pieces as large as the write(2) that made them (large folios), and a page fault maps the piece
# around it. So a program that was just installed by one tool is larger in top(1) than the same program by another one, until
# the cache is dropped and it is read from the disk. Who compares the memory of two builds has to write both in one way.
#
# Linux 6.18, ext4, git 2.39.5 (Debian 12), waiting for a request, seen 2026-11-29:
#     of nine copies written by 4 KiB at most 1316 KiB of the code resident; by 64 KiB 1704 KiB
set -euo pipefail
command -v python3 >/dev/null || { echo "needs python3"; exit 1; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
[[ $(stat -f -c %T .) == ext2/ext3 ]] || { echo "$work is not on ext4: not tried"; exit 0; }
apt-get download -qq git=1:2.39.5-0+deb12u3 >/dev/null 2>&1 && dpkg-deb -x ./*.deb pkg
pkg/usr/bin/git --version; uname -r
pkg/usr/bin/git init -q repository

cat >resident.py <<'PY'
import os, re, subprocess, sys, time
program = os.path.realpath(sys.argv[1])
waits = subprocess.Popen([program, "-C", "repository", "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
time.sleep(0.5)  # It has no more to do than to wait for a request.
code, resident = False, 0
for line in open(f"/proc/{waits.pid}/smaps"):
    if re.match("[0-9a-f]+-", line):
        code = line.split()[1].startswith("r-x") and program in line
    elif code and line.startswith("Rss:"):
        resident += int(line.split()[1])
waits.stdin.close()
waits.wait()
print(resident)
PY
declare -A resident=([4K]=0 [64K]=0)
# The kernel makes no large pieces when its memory is in small ones, so each is tried some times.
for copy in {1..9}; do
    for size in 4K 64K; do
        dd if=pkg/usr/bin/git of="by-$size-$copy" bs="$size" status=none; chmod +x "by-$size-$copy"
        seen=$(python3 resident.py "by-$size-$copy")
        ((seen <= resident[$size])) || resident[$size]=$seen
    done
    cmp "by-4K-$copy" "by-64K-$copy"
done
for size in 4K 64K; do
    echo "written by ${size}iB: at most ${resident[$size]} KiB of the code resident"
done
((resident[64K] * 100 > resident[4K] * 115))
