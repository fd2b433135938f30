#!/bin/bash
# A node whose login prints something ("This account ...") breaks rsync's handshake. What rsync then calls the protocol version
# of the other end is the first four bytes of that text, the lowest first: a monitor that shows this number shows a word.
#
# rsync 3.5.0+ds1-0+deb12u1 (Debian 12), seen 2026-11-28:
#     remote=1936287828, which is "This"; exit 2, protocol version mismatch
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
apt-get download -qq rsync=3.5.0+ds1-0+deb12u1 >/dev/null && dpkg-deb -x ./*.deb pkg
rsync=$work/pkg/usr/bin/rsync; "$rsync" --version | sed -n 1p

mkdir source; printf '#!/bin/sh\necho This account is currently not available.\n' >shell; chmod +x shell
code=0; "$rsync" --debug=PROTO -r -e "$work/shell" source/ host:mirror/ >said 2>&1 || code=$?
number=$(grep -oP '\(Client\) Protocol versions: remote=\K[0-9]+' said)
word=$(python3 -c 'import sys; print(int(sys.argv[1]).to_bytes(4, "little").decode())' "$number")
echo "exit $code, protocol $number, which is the text '$word'"
[[ $code == 2 && $number == 1936287828 && $word == This ]]
