#!/bin/bash
# rsync has greeted when it prints the protocol versions of both ends (--debug=PROTO). It cannot send yet: both ends then agree on a
# checksum, for which the client waits for one more round trip. One that is named, even the one that they would agree on, saves that.
#
# rsync 3.5.0+ds1-0+deb12u1 (Debian 12), both ends, over pipes that delay for 0.3 s each way, seen 2026-11-30:
#     xxh128 as agreed on: 3489 ms; --checksum-choice=xxh128: 2824 ms
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
apt-get download -qq rsync=3.5.0+ds1-0+deb12u1 >/dev/null && dpkg-deb -x ./*.deb pkg
rsync=$work/pkg/usr/bin/rsync; "$rsync" --version | sed -n 1p

# A remote shell for this machine: what either end writes reaches the other one after 0.3 s.
cat >shell <<'END'
#!/usr/bin/env python3
import os, subprocess, sys, threading, time
from queue import Queue
def pipe(source, sink):
    queue = Queue()
    def write():
        while True:
            due, some = queue.get()
            time.sleep(max(0, due - time.monotonic()))
            if not some:
                return os.close(sink)
            os.write(sink, some)
    threading.Thread(target=write).start()
    while True:
        some = os.read(source, 65536)
        queue.put((time.monotonic() + 0.3, some))
        if not some:
            return
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
threading.Thread(target=pipe, args=(0, os.dup(server.stdin.fileno())), daemon=True).start()
server.stdin.close()
pipe(server.stdout.fileno(), 1)
sys.exit(server.wait())
END
chmod +x shell; mkdir source mirror; echo content >source/file
took() {
    rm -f mirror/file; local start=${EPOCHREALTIME/./}
    "$rsync" -t --rsync-path="$rsync" -e ./shell --debug=NSTR "$@" source/file "host:$work/mirror/" >said
    took=$((${EPOCHREALTIME/./} - start)); cmp source/file mirror/file
}
took; agreed=$took; checksum=$(sed -n "s/^Client negotiated checksum: //p" said)
took "--checksum-choice=$checksum"; named=$took
echo "$checksum as agreed on: $((agreed / 1000)) ms; --checksum-choice=$checksum: $((named / 1000)) ms"
[[ $((agreed - named)) -gt 450000 && $((agreed - named)) -lt 750000 ]]
