#!/bin/bash
# An inotify watch that was given up tells of more after its IN_IGNORED, which inotify(7) calls its last event: one that
# another processor was about to queue comes behind it. So an event with a number that is not known any more is no sign that
# track was lost.
#
# Linux 6.18, python3 3.11.2 (Debian 12), seen 2026-11-28:
#     watches: 20000, with events behind the last one: 418
set -euo pipefail
command -v python3 >/dev/null || { echo "needs python3"; exit 1; }
[ "$(nproc)" -gt 1 ] || { echo "needs two processors"; exit 1; }
work=$(mktemp -d); cd "$work"; uname -r
cat >watch.py <<'PY'
import ctypes, os, signal, struct
ALL, IGNORED, ROUNDS = 0xFFF, 0x8000, 20000
libc = ctypes.CDLL(None)

def write(name):
    while True:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        os.unlink(name)

os.mkdir("d")
writers = []
for name in ("d/a", "d/b"):
    pid = os.fork()
    if pid == 0:
        write(name)
    writers.append(pid)
queue = libc.inotify_init1(os.O_NONBLOCK)
ended, late = set(), set()
for _ in range(ROUNDS):
    libc.inotify_rm_watch(queue, libc.inotify_add_watch(queue, b"d", ALL))
    try:
        events = os.read(queue, 1 << 20)
    except BlockingIOError:
        continue
    while events:
        watch, mask, _, length = struct.unpack_from("iIII", events)
        if mask & IGNORED:
            ended.add(watch)
        elif watch in ended:
            late.add(watch)
        events = events[16 + length:]
for pid in writers:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(f"watches: {ROUNDS}, with events behind the last one: {len(late)}")
PY
trap 'rm -rf "$work"' EXIT
python3 watch.py | tee said
! grep -q 'last one: 0$' said
