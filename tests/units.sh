#!/bin/bash
# Boots a Debian of its own with systemd, installs the deb of `make deb` there, and tries the units: that of the system with a
# mirror on the same machine, thirty by the target, and that of a user. As root, on Debian; after tests/package.sh, whose root
# it takes.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "FAILED: $*" >&2; exit 1; }
[[ $EUID == 0 ]] || fail "only root can boot a root of its own"
if ! command -v systemd-nspawn >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd-container >&2
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
deb=target/dist/inosync_$version-1_$(dpkg --print-architecture).deb
read -ra releases <<<"${RELEASES:-$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)}"
base=target/tools/root-${releases[0]}
[[ -f $deb && -d $base ]] || fail "make package-test comes first: $deb $base"
work=$(mktemp -d)
root=$work/root
trap 'umount -l "$root/proc" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT

cp -a "$base" "$root"
cp "$deb" "$root/inosync.deb"
cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
mount -t proc proc "$root/proc"
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
in_root sh -c 'apt-get update -q && apt-get install -y -q --no-install-recommends systemd-sysv dbus-user-session libpam-systemd openssh-server /inosync.deb' \
    >"$work/apt" 2>&1 || { tail "$work/apt"; fail apt; }
umount "$root/proc"

# === what is tried inside ===

cat >"$root/try" <<'INSIDE'
#!/bin/bash
set -Eeuo pipefail
exec >/result 2>&1
trap 'echo "FAILED in line $LINENO: $BASH_COMMAND"; journalctl --no-pager -n 30' ERR
within() { for _ in {1..100}; do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; "$@"; }
has_ended() { [[ $(systemctl show --value -p ActiveState,Result "$1" | sort | xargs) == 'inactive success' ]]; }
say() { printf '%-34s %s\n' "$1" "$2"; }

mkdir -p /srv/www
echo here >/srv/www/file
install -d -o inosync -g inosync /srv/mirror
echo '(wpath: "/srv/www", rpath: "/srv/mirror", rnodes: [""])' >/etc/inosync/www.ron
check() { runuser -u inosync -- inosync -c /etc/inosync/www.ron check; }
# The drop-in is that which the check prints.
! check >/check
mkdir -p /etc/systemd/system/inosync@www.service.d
sed -n '/write a drop-in/,$ { /^  \[Service\]$/p; /^  ReadWritePaths=/p }' /check | sed 's/^  //' >/etc/systemd/system/inosync@www.service.d/mirror.conf
systemctl daemon-reload
check >/check
systemctl enable --quiet --now inosync@www
within cmp /srv/www/file /srv/mirror/file
within inosync -c /etc/inosync/www.ron status
say 'inosync@.service' "mirrors to the same machine with the drop-in of inosync check; $(systemd-analyze security --no-pager inosync@www | tail -1)"
systemctl reload inosync@www

# The page of all mirrors: the socket starts the service, which has no network of its own.
systemctl enable --quiet --now inosync-overview.socket
page() { exec 9<>/dev/tcp/127.0.0.1/9876; printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&9; cat <&9; exec 9>&-; }
page /healthz >/page
[[ $(tail -1 /page) == ok ]]
page /metrics >/page
grep -qx 'inosync_site_up{site="www"} 1' /page
systemctl stop inosync-overview.socket inosync-overview.service
[[ $(systemctl show --value -p Result inosync-overview.service) == success ]]
say 'inosync-overview.socket' "tells of the mirror; $(systemd-analyze security --no-pager inosync-overview | tail -1)"
systemctl stop inosync@www
[[ $(systemctl show --value -p Result inosync@www) == success ]]

# Thirty mirrors together, by the target, each to this machine, by ssh and to an rsync daemon; the page and the status tell of
# each.
sites=$(seq -f 's%g' 30)
install -d -o inosync -g inosync -m 700 /var/lib/inosync/.ssh
install -d -o bob -g bob -m 700 /home/bob/.ssh
install -d -o bob -g bob /srv/ssh /srv/daemon
runuser -u inosync -- ssh-keygen -q -t ed25519 -N '' -f /var/lib/inosync/.ssh/id_ed25519
install -o bob -m 600 /var/lib/inosync/.ssh/id_ed25519.pub /home/bob/.ssh/authorized_keys
mkdir -p /run/sshd
/usr/sbin/sshd -o Port=22022 -o ListenAddress=127.0.0.1 -o MaxStartups=100 -o UsePAM=no
ssh-keyscan -p 22022 127.0.0.1 2>/dev/null | install -o inosync -m 600 /dev/stdin /var/lib/inosync/.ssh/known_hosts
printf 'Host 127.0.0.1\nPort 22022\n' | install -o inosync -m 600 /dev/stdin /var/lib/inosync/.ssh/config
printf '%s\n' port=18730 address=127.0.0.1 uid=bob gid=bob 'use chroot=no' '[sites]' path=/srv/daemon 'read only=no' >/etc/rsyncd.conf
rsync --daemon
for site in $sites; do
    mkdir -p "/srv/$site" "/etc/systemd/system/inosync@$site.service.d"
    echo "$site" >"/srv/$site/file"
    install -d -o inosync -g inosync "/srv/mirror-$site"
    cat >"/etc/inosync/$site.ron" <<RON
(
    wpath: "/srv/$site",
    rpath: "/srv/mirror-$site",
    rnodes: [
        (node: "", name: "here"),
        (node: "bob@127.0.0.1:", name: "ssh", rpath: "/srv/ssh/$site"),
        (node: "bob@127.0.0.1::sites", name: "daemon", rpath: "/$site", extra: "--port=18730"),
    ],
)
RON
    sed "s|/srv/mirror|/srv/mirror-$site|" /etc/systemd/system/inosync@www.service.d/mirror.conf \
        >"/etc/systemd/system/inosync@$site.service.d/mirror.conf"
done
systemctl daemon-reload
for site in $sites; do systemctl enable --quiet "inosync@$site"; done
begun=$(date +%s%N)
systemctl start inosync.target
for site in $sites; do
    for mirror in mirror-$site ssh/$site daemon/$site; do within cmp "/srv/$site/file" "/srv/$mirror/file"; done
done
say inosync.target "starts thirty-one mirrors to 91 nodes, which are equal after $((($(date +%s%N) - begun) / 1000000)) ms"
within inosync status
begun=$(date +%s%N)
inosync status >/status
say 'inosync status' "tells of all of them in $((($(date +%s%N) - begun) / 1000000)) ms"
for site in $sites; do grep -q "^$site " /status; done
systemctl start inosync-overview.socket
begun=$(date +%s%N)
page /metrics >/page
say '/metrics' "tells of all of them in $((($(date +%s%N) - begun) / 1000000)) ms, at the first scrape"
for site in $sites www; do grep -qx "inosync_site_up{site=\"$site\"} 1" /page; done
systemctl stop inosync-overview.socket inosync-overview.service
pids=$(for site in $sites; do systemctl show --value -p MainPID "inosync@$site"; done)
cpu() { for pid in $pids; do cat "/proc/$pid/stat"; done | awk '{ ticks += $14 + $15 } END { print ticks }'; }
memory() { for pid in $pids; do cat "/proc/$pid/smaps_rollup"; done | awk -v "of=$1:" '$1 == of { sum += $2 } END { printf "%.1f MiB", sum / 1024 / 30 }'; }
# Their first saves are over.
sleep 10
before=$(cpu)
sleep 20
say 'at rest' "the thirty take $((($(cpu) - before) * 1000 / $(getconf CLK_TCK))) ms of a processor in 20 s"
say 'memory of each' "$(memory Rss) resident, $(memory Pss) with what they share counted once, $(memory Anonymous) of its own"
systemctl stop inosync.target
for site in $sites www; do within has_ended "inosync@$site"; done
say inosync.target 'stops them'

loginctl enable-linger ann
as_ann() { runuser -u ann -- env XDG_RUNTIME_DIR="/run/user/$(id -u ann)" "$@"; }
as_ann mkdir -p /home/ann/site /home/ann/mirror /home/ann/.config/inosync
as_ann sh -c 'echo there >/home/ann/site/file; echo "(wpath: \"/home/ann/site\", rpath: \"/home/ann/mirror\", rnodes: [\"\"])" >/home/ann/.config/inosync/site.ron'
within as_ann systemctl --user is-system-running --wait
as_ann systemctl --user enable --quiet --now inosync@site
within cmp /home/ann/site/file /home/ann/mirror/file
within as_ann inosync -c /home/ann/.config/inosync/site.ron status
as_ann systemctl --user reload inosync@site
as_ann systemctl --user stop inosync@site
[[ $(as_ann systemctl --user show --value -p Result inosync@site) == success ]]
[[ -d /home/ann/.local/state/inosync ]]
say 'systemctl --user' "mirrors; $(as_ann systemd-analyze --user security --no-pager inosync@site | tail -1)"

systemctl start inosync@www
DEBIAN_FRONTEND=noninteractive apt-get purge -y -q inosync >/apt
! systemctl is-active --quiet inosync@www
say purge 'stops what runs'
echo 'all is well'
INSIDE
chmod 755 "$root/try"
cat >"$root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=multi-user.target systemd-logind.service
[Service]
Type=oneshot
ExecStart=/try
TimeoutStartSec=300
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
UNIT
in_root useradd -m ann
# With no password, and not locked, as sshd without PAM wants it.
in_root useradd -m -s /bin/sh -p '*' bob
in_root systemctl enable --quiet try.service 2>/dev/null
timeout 360 systemd-nspawn -q -D "$root" -b --register=no --keep-unit --console=pipe </dev/null >"$work/boot" 2>&1 || true
[[ -f $root/result ]] || { tail "$work/boot"; fail "it does not boot"; }
cat "$root/result"
[[ $(tail -1 "$root/result") == 'all is well' ]] || exit 1
