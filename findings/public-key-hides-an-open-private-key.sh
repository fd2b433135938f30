#!/bin/bash
# ssh refuses a private key that others may read, and says so. But it offers the public half first, which stands in the clear in
# its file, and takes the private one only when the server would accept that. So at a server that does not know the key yet
# the one mistake hides the other: "Permission denied (publickey)", and nothing of the mode until the key is installed there.
#
# OpenSSH 1:9.2p1-2+deb12u10 (Debian 12), seen 2026-11-28:
#     key not installed, with `.pub` beside it or without: no word of the mode; once it is installed: "are too open"
set -euo pipefail
[[ $EUID == 0 ]] || { echo "needs root, to start an sshd"; exit 1; }
work=$(mktemp -d); daemon=; trap '[[ -z $daemon ]] || kill "$daemon"; rm -rf "$work"' EXIT; cd "$work"; chmod 755 .
apt-get download -qq openssh-client=1:9.2p1-2+deb12u10 openssh-server=1:9.2p1-2+deb12u10 >/dev/null
for deb in ./*.deb; do dpkg-deb -x "$deb" pkg; done
ssh=$work/pkg/usr/bin/ssh; "$ssh" -V

"$work/pkg/usr/bin/ssh-keygen" -q -t ed25519 -N '' -f host; "$work/pkg/usr/bin/ssh-keygen" -q -t ed25519 -N '' -f user
mkdir -p /run/sshd; port=$((RANDOM % 15000 + 13000)); : >keys; chmod 644 user
printf '%s\n' "ListenAddress 127.0.0.1" "Port $port" "HostKey $work/host" "AuthorizedKeysFile $work/keys" 'StrictModes no' \
    'PidFile none' 'UsePAM yes' 'PermitRootLogin yes' 'PasswordAuthentication no' >conf
"$work/pkg/usr/sbin/sshd" -D -e -f conf 2>log & daemon=$!
for _ in {1..50}; do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
login() { # NAME: whether the mode is told
    "$ssh" -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile="$work/known" -o IdentitiesOnly=yes \
        -i user -p "$port" root@127.0.0.1 true >said 2>&1 && code=0 || code=$?
    told=$(grep -q 'are too open' said && echo yes || echo no)
    echo "$1: exit $code, the mode is told: $told; last: $(tail -1 said)"
}
login "with user.pub, not installed"; [[ $code == 255 && $told == no ]]
mv user.pub elsewhere; login "without user.pub"; [[ $code == 255 && $told == no ]]
mv elsewhere user.pub; cp user.pub keys; login "with user.pub, installed"; [[ $code == 255 && $told == yes ]]
