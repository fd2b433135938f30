#!/bin/bash
# Boots a Debian of its own with systemd, installs the deb of `make deb` there, and tries the units: that of the system with a
# mirror on the same machine, several by the target, and that of a user. As root, on Debian; after tests/package.sh, whose root
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
in_root sh -c 'apt-get update -q && apt-get install -y -q --no-install-recommends systemd-sysv dbus-user-session libpam-systemd /inosync.deb' \
    >"$work/apt" 2>&1 || { tail "$work/apt"; fail apt; }
umount "$root/proc"

# === what is tried inside ===

cat >"$root/try" <<'INSIDE'
#!/bin/bash
set -euo pipefail
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

# Several mirrors together, by the target; the page and the status tell of each.
for site in docs media; do
    mkdir -p "/srv/$site" "/etc/systemd/system/inosync@$site.service.d"
    echo "$site" >"/srv/$site/file"
    install -d -o inosync -g inosync "/srv/mirror-$site"
    echo "(wpath: \"/srv/$site\", rpath: \"/srv/mirror-$site\", rnodes: [\"\"])" >"/etc/inosync/$site.ron"
    sed "s|/srv/mirror|/srv/mirror-$site|" /etc/systemd/system/inosync@www.service.d/mirror.conf \
        >"/etc/systemd/system/inosync@$site.service.d/mirror.conf"
done
systemctl daemon-reload
systemctl enable --quiet inosync@docs inosync@media
systemctl start inosync.target
within cmp /srv/docs/file /srv/mirror-docs/file
within cmp /srv/media/file /srv/mirror-media/file
within inosync status
systemctl start inosync-overview.socket
page /metrics >/page
for site in docs media www; do grep -qx "inosync_site_up{site=\"$site\"} 1" /page; done
systemctl stop inosync-overview.socket inosync-overview.service inosync.target
for site in docs media www; do within has_ended "inosync@$site"; done
say inosync.target 'starts three mirrors and stops them'

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
TimeoutStartSec=120
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
UNIT
in_root useradd -m ann
in_root systemctl enable --quiet try.service 2>/dev/null
timeout 180 systemd-nspawn -q -D "$root" -b --register=no --keep-unit --console=pipe </dev/null >"$work/boot" 2>&1 || true
[[ -f $root/result ]] || { tail "$work/boot"; fail "it does not boot"; }
cat "$root/result"
[[ $(tail -1 "$root/result") == 'all is well' ]] || exit 1
