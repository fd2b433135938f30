#!/bin/bash
# Checks what packaging/dist.sh has made, in roots of their own: nothing of this machine is changed, but for the tools that are
# installed. As root, on Debian. RELEASES="bullseye bookworm trixie jammy noble" names the releases of Debian and
# Ubuntu, by default that of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%-34s %s\n' "$1" "$2"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

[[ $EUID == 0 ]] || fail "only root can install packages into a root of its own"
missing=()
for tool in lintian:lintian debootstrap:debootstrap rpm:rpm groff:groff man:man-db systemd-analyze:systemd \
    apt-ftparchive:apt-utils gpg:gpg curl:curl; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
[[ -f /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
if ((${#missing[@]})); then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
native=$(uname -m)
dist=$PWD/target/dist
deb=$dist/inosync_$version-1_$(dpkg --print-architecture).deb
rpm=$dist/inosync-$version-1.$native.rpm
tarball=$dist/inosync-$version-$native-linux.tar.gz
for file in "$deb" "$rpm" "$tarball"; do [[ -f $file ]] || fail "make dist comes first: there is no $file"; done
# The manual names them as they are; not all parts need have been made.
sed -n "/^| \`inosync[-_]/ { s/^| \`\([^\`]*\)\` |.*/\1/; s/VERSION/$version/; p }" docs/install.md | while read -r name; do
    [[ $native != x86_64 || $name == *image* || $name == *.cdx.json || -f $dist/$name ]] || fail "docs/install.md names $name"
done
work=$(mktemp -d)
unmount() { for place in "$work"/*/proc "$work"/*/repository; do umount -l "$place" 2>/dev/null || true; done; }
trap 'unmount; rm -rf --one-file-system "$work"' EXIT

# === what is in them ===

files=(
    /usr/bin/inosync /usr/lib/systemd/{system,user}/inosync@.service /usr/lib/systemd/system/inosync.target
    /usr/lib/sysusers.d/inosync.conf /usr/lib/tmpfiles.d/inosync.conf /usr/lib/sysctl.d/60-inosync.conf
    /usr/share/man/man1/inosync.1.gz /usr/share/man/man5/inosync.ron.5.gz /etc/inosync/config.ron.example
    /usr/share/bash-completion/completions/inosync /usr/share/fish/vendor_completions.d/inosync.fish
    /usr/share/doc/inosync/{README.md,ARCHITECTURE.md,config.ron.example,grafana-inosync.json,inosync.rules.yml}
)
for page in docs/*.md docs/schema/*.json; do files+=("/usr/share/doc/inosync/$page"); done
dpkg-deb -c "$deb" | awk '{ sub(/^\./, "", $6); print $6 }' >"$work/deb.list"
rpm -qlp "$rpm" >"$work/rpm.list" 2>/dev/null
for file in "${files[@]}"; do
    grep -qxF "$file" "$work/deb.list" || fail "$deb lacks $file"
    grep -qxF "$file" "$work/rpm.list" || fail "$rpm lacks $file"
done
grep -qxF /usr/share/zsh/vendor-completions/_inosync "$work/deb.list" || fail "$deb lacks the completion of zsh"
grep -qxF /usr/share/zsh/site-functions/_inosync "$work/rpm.list" || fail "$rpm lacks the completion of zsh"
# Every command and every option is completed in each shell.
dpkg-deb -x "$deb" "$work/unpacked"
inosync=$work/unpacked/usr/bin/inosync
commands=$("$inosync" --help | sed -n '/^COMMANDS/,/^$/ s/^    \([a-z-]\+\).*/\1/p')
(($(wc -w <<<"$commands") >= 12)) || fail "--help has these commands only: $commands"
options=$({ "$inosync" --help; for command in $commands; do "$inosync" "$command" --help; done; } |
    sed -n 's/^ *\(-[a-zA-Z], \)\?--\([a-z-]*\).*/\2/p' | sort -u)
(($(wc -w <<<"$options") >= 7)) || fail "--help has these options only: $options"
for shell in bash-completion/completions/inosync zsh/vendor-completions/_inosync fish/vendor_completions.d/inosync.fish; do
    completion=$work/unpacked/usr/share/$shell
    for command in $commands; do grep -qwe "$command" "$completion" || fail "$shell lacks $command"; done
    for option in $options; do
        grep -q -e "--$option\b" -e "-l $option\b" "$completion" || fail "$shell lacks --$option"
    done
done
# The pages link to one another as in the repository, but for the changelog, which has a place of its own in a package.
for page in README.md docs/*.md; do
    # shellcheck disable=SC2016 # the backticks are those of the page
    sed 's/`[^`]*`//g' "$page" | grep -o '](\([^):#]*\.[a-z.]*\)[)#]' | sed 's/^](//; s/.$//' | while read -r link; do
        [[ $link == *CHANGELOG.md || -e $work/unpacked/usr/share/doc/inosync/$(dirname "$page")/$link ]] ||
            fail "$page links to $link, which is not in $deb"
    done
done
[[ -z $(grep -aoF "$PWD" "$work/unpacked/usr/bin/inosync" | head -1) ]] || fail "the binary names $PWD"
(cd "$dist" && sha256sum --quiet -c SHA256SUMS)
for package in "$deb" "$rpm" "$tarball"; do say "${package##*/}" "$(stat -c %s "$package") bytes"; done
say "deb: depends" "$(dpkg-deb -f "$deb" Depends)"
requires=$(rpm -qp --requires "$rpm" 2>/dev/null | grep -v '^rpmlib\|^config(\|^/bin/sh' | tr '\n' ';')
[[ $requires == 'rsync >= 3.1.3;systemd;' ]] || fail "the rpm requires $requires"
say "rpm: requires" "$requires"

lintian --allow-root --no-cfg --fail-on error --tag-display-limit 0 "$deb" >"$work/lintian" || { cat "$work/lintian"; fail lintian; }
sed 's/^/    /' "$work/lintian"
say lintian "$(grep -c '^E:' "$work/lintian" || true) errors, $(grep -c '^W:' "$work/lintian" || true) warnings"

# === a repository with two versions, signed by a key for this test ===

export GNUPGHOME=$work/gnupg
install -d -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'inosync test <test@inosync.invalid>' default default never 2>/dev/null
gpg --batch --quiet --check-trustdb 2>/dev/null
key=$(gpg --batch --list-secret-keys --with-colons | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p' | head -1)
KEY=$key packaging/apt-repo.sh >/dev/null
mv "$dist/apt" "$work/first"
dpkg-deb -R "$deb" "$work/next"
sed -i "s/^Version: .*/Version: $version-2/" "$work/next/DEBIAN/control"
echo '// changed by the package' >>"$work/next/etc/inosync/config.ron.example"
dpkg-deb -b "$work/next" "$dist/inosync_$version-2_$(dpkg --print-architecture).deb" >/dev/null
KEY=$key packaging/apt-repo.sh >/dev/null
mv "$dist/apt" "$work/second"
rm "$dist/inosync_$version-2"_*.deb
gpgconf --kill gpg-agent

# === an installation in each release ===

# fresh RELEASE: a new root in $root, from one that is kept for the next time.
# bootstrap RELEASE FOLDER: the least root of a release of Debian or Ubuntu.
bootstrap() {
    local options=(--variant=minbase) ubuntu=http://archive.ubuntu.com/ubuntu keyring=$work/ubuntu-keyring
    case $1 in
        bullseye | bookworm | trixie | forky | sid)
            debootstrap "${options[@]}" "$1" "$2" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" ;;
        *)
            # Debian has no package of these keys, and an older debootstrap does not know the newest names.
            if [[ ! -d $keyring ]]; then
                curl -fsS -o "$keyring.deb" "$ubuntu/pool/main/u/ubuntu-keyring/ubuntu-keyring_2021.03.26_all.deb"
                sha256sum --quiet -c <<<"0d0e7ed6b112f5d03eabf3c7eb01ebdacf9c57714b279e90495cfc58c8c4520f  $keyring.deb"
                dpkg-deb -x "$keyring.deb" "$keyring"
            fi
            options+=("--keyring=$keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg")
            debootstrap "${options[@]}" "$1" "$2" "$ubuntu" /usr/share/debootstrap/scripts/gutsy ;;
    esac
}

fresh() {
    local base=target/tools/root-$1
    if [[ ! -d $base ]]; then
        mkdir -p target/tools
        rm -rf "$base.new"
        bootstrap "$1" "$base.new" >"$work/debootstrap" 2>&1 || { tail "$work/debootstrap"; fail debootstrap; }
        mv "$base.new" "$base"
    fi
    unmount
    root=$work/root-$1-$2
    cp -a "$base" "$root"
    mkdir -p "$root/proc" "$root/repository"
    mount -t proc proc "$root/proc"
    cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
}
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
quietly() { in_root "$@" >"$work/output" 2>&1 || { cat "$work/output"; fail "$*"; }; }
apt() { quietly apt-get -y -q --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"; }
repository() { umount -l "$root/repository" 2>/dev/null || true; mount --bind "$work/$1" "$root/repository"; }

# What names inosync in the root: files, users and groups.
traces() {
    (cd "$root" && find . -xdev \( -path ./proc -o -path ./repository -o -path ./var/cache -o -path ./var/log -o -path ./var/lib/apt \
        -o -path ./var/lib/dpkg \) -prune -o \( -name '*inosync*' -print \))
    grep -h inosync "$root"/etc/{passwd,group} || true
}

mirrors() {
    mkdir -p "$root/tmp/inosync-demo/source"
    echo "$1" >"$root/tmp/inosync-demo/source/file"
    quietly inosync -c /etc/inosync/config.ron.example check
    check=$(tail -1 "$work/output")
    quietly inosync -c /etc/inosync/config.ron.example once
    cmp "$root/tmp/inosync-demo/"{source,mirror}/file || fail "once does not mirror"
}

has_user_and_directories() {
    local path mode owner place
    [[ $(in_root inosync --version) == "inosync $version" ]] || fail "the installed binary does not run"
    [[ $(in_root getent passwd inosync) == *:/var/lib/inosync:/usr/sbin/nologin ]] || fail "there is no user inosync"
    for place in "/var/lib/inosync 700 inosync" "/var/lib/inosync/.ssh 700 inosync" "/run/inosync 700 inosync" "/etc/inosync 755 root"; do
        read -r path mode owner <<<"$place"
        [[ $(in_root stat -c '%a %U' "$path") == "$mode $owner" ]] || fail "$path is $(in_root stat -c '%a %U' "$path")"
    done
    [[ -z $(find "$root/etc/systemd" -name 'inosync*') ]] || fail "a unit was enabled"
}

test_apt() {
    local release=$1 start
    fresh "$release" apt
    repository first
    cp "$work/first/inosync.gpg" "$root/usr/share/keyrings/inosync.gpg"
    echo 'deb [signed-by=/usr/share/keyrings/inosync.gpg] file:/repository stable main' >"$root/etc/apt/sources.list.d/inosync.list"
    start=$SECONDS
    apt update
    apt install inosync
    has_user_and_directories
    ! in_root sh -c 'command -v cc || command -v gcc || command -v cargo' || fail "there is a compiler in the root"
    mirrors first
    say "$release: apt install" "check: $check; the first mirror after $((SECONDS - start)) s, without a compiler"
    cp "$root/etc/inosync/config.ron.example" "$root/etc/inosync/www.ron"
    # The systemd of Debian 11 verifies only where it runs; that of Ubuntu 22.04 complains of units of its own as well.
    if [[ $release != bullseye ]]; then
        quietly systemd-analyze verify --man=no inosync@www.service inosync.target
        ! grep -q inosync "$work/output" || { cat "$work/output"; fail "systemd-analyze verify has something to say"; }
    fi

    echo '// changed by the admin' >>"$root/etc/inosync/config.ron.example"
    repository second
    apt update
    apt install inosync
    [[ $(in_root dpkg-query -W -f '$''{Version}' inosync) == "$version-2" ]] || fail "it was not upgraded"
    [[ $(tail -1 "$root/etc/inosync/config.ron.example") == '// changed by the admin' ]] || fail "the upgrade lost a change"
    [[ -f $root/etc/inosync/config.ron.example.dpkg-dist ]] || fail "the new example is not beside the old one"
    mirrors second
    say "$release: upgrade" "a changed conffile is kept, the new one is beside it"

    touch "$root/var/lib/inosync/state.redb" "$root/var/lib/inosync/.ssh/id_ed25519"
    apt remove inosync
    [[ -f $root/var/lib/inosync/state.redb && -f $root/etc/inosync/config.ron.example ]] || fail "removal took too much"
    apt purge inosync
    [[ ! -e $root/var/lib/inosync/state.redb && ! -e $root/etc/inosync/config.ron.example ]] || fail "purge left something"
    [[ -f $root/var/lib/inosync/.ssh/id_ed25519 && -f $root/etc/inosync/www.ron ]] || fail "purge took what is not its own"
    # Without keys and files of the admin nothing but the user is left, as Debian's policy has it.
    rm -r "$root/tmp/inosync-demo" "$root/etc/apt/sources.list.d/inosync.list" "$root/usr/share/keyrings/inosync.gpg" "$root/etc/inosync" \
        "$root/var/lib/inosync"
    apt install "/repository/pool/inosync_$version-2_$(dpkg --print-architecture).deb"
    apt purge inosync
    ! traces | grep -v "^inosync:" || fail "purge leaves these"
    say "$release: removal and purge" "the state goes with the purge; ssh keys and the admin's files stay; else only the user"
}

test_rpm() {
    local list start=$SECONDS
    fresh "$1" rpm
    apt update
    apt install rsync systemd
    in_place() { rpm --root "$root" --dbpath /var/lib/rpm --nodeps "$@" >"$work/output" 2>&1 || { cat "$work/output"; fail "rpm $*"; }; }
    in_place -i "$rpm"
    has_user_and_directories
    mirrors first
    say "rpm -i, a root without dpkg's" "check: $check; the first mirror after $((SECONDS - start)) s"
    echo '// changed by the admin' >>"$root/etc/inosync/config.ron.example"
    rpmbuild -bb --quiet --define "version_ $version" --define 'release_ 2' --define "stage $work/next.rpm" \
        --define "_topdir $work/rpmbuild" --define "_rpmdir $work" --define '_rpmfilename second.rpm' packaging/rpm/inosync.spec \
        >"$work/output" 2>&1 || { cat "$work/output"; fail rpmbuild; }
    in_place -U "$work/second.rpm"
    [[ $(tail -1 "$root/etc/inosync/config.ron.example") == '// changed by the admin' ]] || fail "the upgrade lost a change"
    mirrors second
    in_place -e inosync
    rm -r "$root/tmp/inosync-demo"
    list=$(traces | grep -v '^inosync:\|^./var/lib/inosync/' | sort | tr '\n' ' ')
    [[ $list == './etc/inosync ./var/lib/inosync ' ]] || fail "rpm -e leaves $list"
    say "rpm -U and -e" "a changed example is kept; state and keys stay in /var/lib/inosync"
}

test_tarball() {
    local before
    fresh "$1" tarball
    apt update
    apt install rsync systemd
    before=$(traces)
    tar -C "$root/opt" -xzf "$tarball"
    quietly "/opt/inosync-$version-$native-linux/install.sh"
    has_user_and_directories
    [[ $(in_root sh -c 'command -v inosync') == /usr/local/bin/inosync ]] || fail "install.sh does not install"
    mirrors first
    quietly "/opt/inosync-$version-$native-linux/install.sh"
    quietly "/opt/inosync-$version-$native-linux/install.sh" --uninstall
    rm -r "$root/tmp/inosync-demo" "$root/opt/inosync-$version-$native-linux" "$root/var/lib/inosync"
    [[ $(traces | grep -v '^inosync:') == "$before" ]] || { traces; fail "install.sh --uninstall leaves traces"; }
    say "tarball: install.sh" "installs, again, and removes"
}

# The release of this machine, from where it has its own packages.
read -ra releases <<<"${RELEASES:-$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)}"
own=${releases[0]}
for release in "${releases[@]}"; do test_apt "$release"; done
# The tree of the second rpm is that of the first, with another example.
cp -a "$work/unpacked" "$work/next.rpm"
install -d "$work/next.rpm/usr/share/licenses/inosync"
install -m 644 LICENSE "$work/next.rpm/usr/share/licenses/inosync"
mv "$work/next.rpm/usr/share/zsh/vendor-completions" "$work/next.rpm/usr/share/zsh/site-functions"
rm -r "$work/next.rpm/usr/share/lintian"
echo '// changed by the package' >>"$work/next.rpm/etc/inosync/config.ron.example"
test_rpm "$own"
test_tarball "$own"

# === the units ===

exposure=$(systemd-analyze security --offline=true packaging/inosync@.service 2>/dev/null |
    sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
awk "BEGIN { exit !(0 < ${exposure:-0} && ${exposure:-0} <= 1.8) }" || fail "exposure ${exposure:-unknown}"
say "systemd-analyze security" "exposure $exposure"

# === by hand ===

make -s install DESTDIR="$work/hand" PREFIX=/usr/local BINARY="$work/unpacked/usr/bin/inosync" >/dev/null
for file in bin/inosync lib/systemd/{system,user}/inosync@.service share/man/man1/inosync.1.gz \
    share/doc/inosync/{README.md,docs/operating.md,grafana-inosync.json,inosync.rules.yml}; do
    [[ -f $work/hand/usr/local/$file ]] || fail "make install lacks $file"
done
grep -qx 'ExecStart=/usr/local/bin/inosync -c /etc/inosync/%i.ron' \
    "$work/hand/usr/local/lib/systemd/system/inosync@.service" || fail "the unit of make install runs another binary"
say "make install" "$(find "$work/hand" -type f | wc -l) files below PREFIX and /etc/inosync"
echo "all is well"
