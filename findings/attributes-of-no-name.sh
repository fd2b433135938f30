#!/bin/bash
# inotify tells of a file that never had a name: fchmod(2) of one that was made with O_TMPFILE is an IN_ATTRIB for "#"
# and the number of its inode. And once linkat(2) has given it a name, what is written to it by the same descriptor is
# told of no name: as "#..." without IN_EXCL_UNLINK, not at all with it. The name itself gets an IN_CREATE, and never
# an IN_CLOSE_WRITE.
#
# Linux 6.18, python3 3.11.2 (Debian 12), seen 2026-11-28:
#     with IN_EXCL_UNLINK: ATTRIB #N, CREATE named
#     without: ATTRIB #N, CREATE named, MODIFY #N, CLOSE_WRITE #N
set -euo pipefail
command -v python3 >/dev/null || { echo "needs python3"; exit 1; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; uname -r
cat >watch.py <<'PY'
import ctypes, os, re, struct, sys
MODIFY, ATTRIB, CLOSE_WRITE, CREATE, EXCL_UNLINK = 2, 4, 8, 0x100, 0x4000000
NAMES = {MODIFY: "MODIFY", ATTRIB: "ATTRIB", CLOSE_WRITE: "CLOSE_WRITE", CREATE: "CREATE"}
libc = ctypes.CDLL(None)

def told(more):
    queue = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(queue, b".", MODIFY | ATTRIB | CLOSE_WRITE | CREATE | more)
    file = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.fchmod(file, 0o644)
    AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
    assert libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % file, AT_FDCWD, b"named%d" % more, AT_SYMLINK_FOLLOW) == 0
    os.write(file, b"x")
    os.close(file)
    events, said = os.read(queue, 65536), []
    while events:
        _, mask, _, length = struct.unpack_from("iIII", events)
        name = events[16:16 + length].rstrip(b"\0").decode()
        said.append(NAMES[mask] + " " + re.sub("#.*", "#N", re.sub("[0-9]*$", "", name) if name[0] != "#" else name))
        events = events[16 + length:]
    return ", ".join(said)

print("with IN_EXCL_UNLINK:", told(EXCL_UNLINK))
print("without:", told(0))
PY
python3 watch.py | tee said
grep -qx 'with IN_EXCL_UNLINK: ATTRIB #N, CREATE named' said
grep -qx 'without: ATTRIB #N, CREATE named, MODIFY #N, CLOSE_WRITE #N' said
