#!/bin/bash
# Checks the packages that `make deb rpm` has made, in roots of their own: nothing of this machine is changed, but for the
# tools that are installed. As root, on Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%-34s %s\n' "$1" "$2"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

[[ $EUID == 0 ]] || fail "only root can install packages into a root of its own"
missing=()
for tool in lintian:lintian debootstrap:debootstrap rpm:rpm groff:groff man:man-db systemd-analyze:systemd; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
if ((${#missing[@]})); then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
deb=$(echo target/debian/inosync_"$version"-1_*.deb)
rpm=$(echo target/generate-rpm/inosync-"$version"-1.*.rpm)
[[ -f $deb && -f $rpm ]] || fail "make deb rpm comes first: $deb $rpm"
work=$(mktemp -d)
trap 'umount -l "$work"/root/proc 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT

# === what is in them ===

files=(
    /usr/bin/inosync /usr/lib/systemd/system/inosync@.service /usr/lib/systemd/system/inosync.target
    /usr/lib/sysusers.d/inosync.conf /usr/lib/tmpfiles.d/inosync.conf /usr/lib/sysctl.d/60-inosync.conf
    /usr/share/man/man1/inosync.1.gz /usr/share/man/man5/inosync.ron.5.gz /etc/inosync/config.ron.example
    /usr/share/bash-completion/completions/inosync /usr/share/fish/vendor_completions.d/inosync.fish
    /usr/share/doc/inosync/{README.md,ARCHITECTURE.md,config.ron.example,grafana-inosync.json,inosync.rules.yml}
)
for page in docs/*.md; do files+=("/usr/share/doc/inosync/$page"); done
dpkg-deb -c "$deb" | awk '{ sub(/^\./, "", $6); print $6 }' >"$work/deb.list"
rpm -qlp "$rpm" 2>/dev/null >"$work/rpm.list"
for file in "${files[@]}"; do
    grep -qxF "$file" "$work/deb.list" || fail "$deb lacks $file"
    grep -qxF "$file" "$work/rpm.list" || fail "$rpm lacks $file"
done
grep -qxF /usr/share/zsh/vendor-completions/_inosync "$work/deb.list" || fail "$deb lacks the completion of zsh"
grep -qxF /usr/share/zsh/site-functions/_inosync "$work/rpm.list" || fail "$rpm lacks the completion of zsh"
# Every option is completed in each shell.
dpkg-deb -x "$deb" "$work/unpacked"
options=$("$work/unpacked/usr/bin/inosync" --help | sed -n 's/^  *\(-[a-zA-Z], \)\?--\([a-z-]*\).*/\2/p')
(($(wc -w <<<"$options") > 10)) || fail "--help has these options only: $options"
for option in $options; do
    for completion in bash-completion/completions/inosync zsh/vendor-completions/_inosync; do
        grep -q -e "--$option\b" "$work/unpacked/usr/share/$completion" || fail "$completion lacks --$option"
    done
    grep -q -e "-l $option\b" "$work/unpacked/usr/share/fish/vendor_completions.d/inosync.fish" || fail "fish lacks --$option"
done
# The pages link to one another as in the repository, but for the changelog, which has a place of its own in a package.
for page in README.md docs/*.md; do
    for link in $(sed 's/`[^`]*`//g' "$page" | grep -o '](\([^):#]*\.[a-z.]*\)[)#]' | sed 's/^](//; s/.$//'); do
        [[ $link == *CHANGELOG.md || -e $work/unpacked/usr/share/doc/inosync/$(dirname "$page")/$link ]] ||
            fail "$page links to $link, which is not in $deb"
    done
done
for package in "$deb" "$rpm"; do
    say "${package##*/}" "$(stat -c %s "$package") bytes"
done
say "deb: depends" "$(dpkg-deb -f "$deb" Depends)"
say "rpm: requires" "$(rpm -qp --requires "$rpm" 2>/dev/null | grep -v '^rpmlib\|^lib\|^ld-\|^rtld' | tr '\n' ';')"

lintian --allow-root --no-cfg --fail-on error --tag-display-limit 0 "$deb" >"$work/lintian" || { cat "$work/lintian"; fail lintian; }
sed 's/^/    /' "$work/lintian"
say lintian "$(grep -c '^E:' "$work/lintian" || true) errors, $(grep -c '^W:' "$work/lintian" || true) warnings"

# === an installation ===

# A Debian of its own, kept for the next time.
base=target/tools/debian
if [[ ! -d $base ]]; then
    # The release of this machine, from where it has its own packages.
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
    mkdir -p target/tools
    rm -rf "$base.new"
    debootstrap --variant=minbase --include=procps,rsync,systemd "$release" "$base.new" "$mirror" >"$work/debootstrap" ||
        { tail "$work/debootstrap"; fail debootstrap; }
    mv "$base.new" "$base"
fi
root=$work/root
cp -a "$base" "$root"
mkdir -p "$root/proc"
mount -t proc proc "$root/proc"
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

cp "$deb" "$root/first.deb"
in_root dpkg -i /first.deb >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; fail "dpkg -i"; }
in_root dpkg --audit
in_root dpkg --verify inosync
[[ $(in_root inosync --version) == "inosync $version" ]] || fail "the installed binary does not run"
[[ $(in_root getent passwd inosync) == *:/var/lib/inosync:/usr/sbin/nologin ]] || fail "there is no user inosync"
for place in "/var/lib/inosync 700 inosync" "/var/lib/inosync/.ssh 700 inosync" "/run/inosync 700 inosync" "/etc/inosync 755 root"; do
    read -r path mode owner <<<"$place"
    [[ $(in_root stat -c '%a %U' "$path") == "$mode $owner" ]] || fail "$path is $(in_root stat -c '%a %U' "$path")"
done
enabled=$(find "$root/etc/systemd" -name 'inosync*')
[[ -z $enabled ]] || fail "it was enabled: $enabled"
say "installed in a fresh Debian" "user, directories and binary are there; no unit is enabled"

mkdir -p "$root/tmp/inosync-demo/source"
touch "$root/tmp/inosync-demo/source/file"
in_root inosync -c /etc/inosync/config.ron.example --check >"$work/check" 2>&1 || { cat "$work/check"; fail "--check"; }
in_root inosync -c /etc/inosync/config.ron.example --once >"$work/once" 2>&1 || { cat "$work/once"; fail "--once"; }
cmp "$root/tmp/inosync-demo/"{source,mirror}/file || fail "--once does not mirror"
say "the example as it is installed" "--check: $(tail -1 "$work/check"); --once mirrors"

# === the units ===

cp "$root/etc/inosync/config.ron.example" "$root/etc/inosync/www.ron"
# The manual pages are there, man is not.
in_root systemd-analyze verify --man=no inosync@www.service inosync.target >"$work/verify" 2>&1 ||
    { cat "$work/verify"; fail "systemd-analyze verify"; }
[[ ! -s $work/verify ]] || { cat "$work/verify"; fail "systemd-analyze verify has something to say"; }
say "systemd-analyze verify" clean
exposure=$(in_root systemd-analyze security --offline=true /usr/lib/systemd/system/inosync@.service 2>/dev/null |
    sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
[[ -n $exposure ]] && awk "BEGIN { exit !($exposure <= 2.5) }" || fail "exposure ${exposure:-unknown}"
say "systemd-analyze security" "exposure $exposure"

# === upgrade, removal, purge ===

echo '// changed by the admin' >>"$root/etc/inosync/config.ron.example"
dpkg-deb -R "$deb" "$work/next"
sed -i "s/^Version: .*/Version: $version-2/" "$work/next/DEBIAN/control"
echo '// changed by the package' >>"$work/next/etc/inosync/config.ron.example"
dpkg-deb -b "$work/next" "$root/second.deb" >/dev/null
in_root dpkg -i --force-confdef --force-confold /second.deb >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; fail upgrade; }
[[ $(tail -1 "$root/etc/inosync/config.ron.example") == '// changed by the admin' ]] || fail "the upgrade lost a change"
[[ -f $root/etc/inosync/config.ron.example.dpkg-dist ]] || fail "the new example is not beside the old one"
[[ $(in_root dpkg-query -W -f '${Version}' inosync) == "$version-2" ]] || fail "it was not upgraded"
say upgrade "a changed conffile is kept, the new one is beside it"

touch "$root/var/lib/inosync/state.redb" "$root/var/lib/inosync/.ssh/id_ed25519"
in_root dpkg -r inosync >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; fail "dpkg -r"; }
[[ -f $root/var/lib/inosync/state.redb && -f $root/etc/inosync/config.ron.example ]] || fail "removal took too much"
in_root dpkg -P inosync >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; fail "dpkg -P"; }
[[ ! -e $root/var/lib/inosync/state.redb && ! -e $root/etc/inosync/config.ron.example ]] || fail "purge left something"
[[ -f $root/var/lib/inosync/.ssh/id_ed25519 && -f $root/etc/inosync/www.ron ]] || fail "purge took what is not its own"
say "removal and purge" "the state goes with the purge; ssh keys and the admin's files stay"

# === by hand ===

make -s install DESTDIR="$work/hand" PREFIX=/usr/local >/dev/null
for file in bin/inosync lib/systemd/system/inosync@.service share/man/man1/inosync.1.gz \
    share/doc/inosync/{README.md,docs/operating.md,grafana-inosync.json,inosync.rules.yml}; do
    [[ -f $work/hand/usr/local/$file ]] || fail "make install lacks $file"
done
grep -qx 'ExecStart=/usr/local/bin/inosync -c /etc/inosync/%i.ron' \
    "$work/hand/usr/local/lib/systemd/system/inosync@.service" || fail "the unit of make install runs another binary"
say "make install" "$(find "$work/hand" -type f | wc -l) files below PREFIX and /etc/inosync"
echo "all is well"
