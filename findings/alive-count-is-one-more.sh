#!/bin/bash
# ssh_config(5) says that with ServerAliveInterval 15 and ServerAliveCountMax 3 ssh disconnects an unresponsive server "after
# approximately 45 seconds". It asks only when an interval has passed without a word, and gives up when one more has passed
# after the last question: interval x (count + 1), so a minute. Whoever plans for a dead line has to count one more.
#
# OpenSSH 1:9.2p1-2+deb12u10 (Debian 12), seen 2026-11-28: interval 2, count 2: 6 s, not 4; exit 255.
set -euo pipefail
[[ $EUID == 0 ]] || { echo "needs root, to start an sshd"; exit 1; }
work=$(mktemp -d); pids=(); trap 'kill -CONT "${pids[@]}" 2>/dev/null; kill "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"; chmod 755 .
apt-get download -qq openssh-client=1:9.2p1-2+deb12u10 openssh-server=1:9.2p1-2+deb12u10 >/dev/null
for deb in ./*.deb; do dpkg-deb -x "$deb" pkg; done
ssh=$work/pkg/usr/bin/ssh; "$ssh" -V

"$work/pkg/usr/bin/ssh-keygen" -q -t ed25519 -N '' -f host; "$work/pkg/usr/bin/ssh-keygen" -q -t ed25519 -N '' -f user
mkdir -p /run/sshd; port=$((RANDOM % 15000 + 13000)); cp user.pub keys
printf '%s\n' "ListenAddress 127.0.0.1" "Port $port" "HostKey $work/host" "AuthorizedKeysFile $work/keys" 'StrictModes no' \
    'PidFile none' 'UsePAM yes' 'PermitRootLogin yes' 'PasswordAuthentication no' >conf
"$work/pkg/usr/sbin/sshd" -D -e -f conf 2>log & pids+=($!)
login() {
    "$ssh" -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile="$work/known" -o IdentitiesOnly=yes \
        -o ServerAliveInterval=2 -o ServerAliveCountMax=2 -o LogLevel=ERROR -i user -p "$port" root@127.0.0.1 "$@"
}
for _ in {1..50}; do login true 2>/dev/null && break; sleep 0.1; done
login 'echo $PPID; exec sleep 60' >server 2>said & client=$!; pids+=("$client")
until [[ -s server ]]; do sleep 0.05; done
kill -STOP "$(cat server)"; pids+=("$(cat server)"); begun=$(date +%s%N); code=0; wait "$client" || code=$?
took=$(( ($(date +%s%N) - begun) / 1000000 ))
echo "interval 2 s, count 2: given up after $took ms, exit $code: $(tail -1 said)"
[[ $code == 255 ]] && ((took > 4500 && took < 9000))
