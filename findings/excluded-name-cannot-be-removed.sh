#!/bin/bash
# An rsync daemon's `exclude` keeps clients from the names that it matches. It also makes a run fail that only asks to remove
# such a name, which neither end has: the daemon refuses to receive a file that is not to be sent.
#
# rsync 3.5.0+ds1-0+deb12u1 (Debian 12), client and daemon, seen 2026-11-28:
#     ERROR: daemon refused to receive file ".gone", exit 23; another missing name: exit 0
set -euo pipefail
work=$(mktemp -d); daemon=; trap '[[ -z $daemon ]] || kill "$daemon"; rm -rf "$work"' EXIT; cd "$work"
apt-get download -qq rsync=3.5.0+ds1-0+deb12u1 >/dev/null && dpkg-deb -x ./*.deb pkg
rsync=$work/pkg/usr/bin/rsync; "$rsync" --version | sed -n 1p

mkdir source mirror; port=$((RANDOM % 15000 + 13000))
printf 'use chroot = no\nlog file = %s/log\n[m]\npath = %s/mirror\nread only = no\nexclude = .*\n' "$work" "$work" >conf
"$rsync" --daemon --no-detach --config=conf --address=127.0.0.1 --port="$port" & daemon=$!
for _ in {1..100}; do "$rsync" "rsync://127.0.0.1:$port/" >/dev/null 2>&1 && break; sleep 0.1; done
remove() {
    code=0; printf '/%s\0' "$1" | "$rsync" -d --from0 --files-from=- --delete-missing-args --delete source/ \
        "rsync://127.0.0.1:$port/m/" >said 2>&1 || code=$?
    echo "remove $1: exit $code: $(head -1 said)"
}
remove gone; [[ $code == 0 && ! -s said ]]
remove .gone; [[ $code == 23 ]]; grep -q '^ERROR: daemon refused to receive file ".gone"' said
