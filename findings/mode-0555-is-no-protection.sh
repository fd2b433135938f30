#!/bin/bash
# Somebody takes the write permission from a mirror so that nothing changes in it. If the account of rsync owns the directory,
# -p gives it back: the mode of the source's root is set first, and a plain user's rsync makes directories writable for as
# long as it needs. A directory of somebody else, with the same mode, is not written.
#
# rsync 3.5.0+ds1-0+deb12u1 (Debian 12), seen 2026-11-28:
#     own directory, 0555: exit 0, the file is there; with the source 0555 as well, too, and the directory is 0555 afterwards
#     root's directory, 0755: exit 23, mkstemp: Permission denied (13)
set -euo pipefail
[[ $EUID == 0 ]] || { echo "needs root, to become another user"; exit 1; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; chmod 755 .
apt-get download -qq rsync=3.5.0+ds1-0+deb12u1 >/dev/null && dpkg-deb -x ./*.deb pkg
rsync=$work/pkg/usr/bin/rsync; "$rsync" --version | sed -n 1p

plain() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
mirrored() { # MODE-OF-SOURCE MODE-OF-MIRROR OWNER
    rm -rf source mirror; mkdir source mirror; echo x >source/f; chmod "$1" source
    chmod "$2" mirror; chown "$3" mirror
    code=0; plain "$rsync" -rltp source/ mirror/ 2>said || code=$?
    there=$([[ -e mirror/f ]] && echo yes || echo no); after=$(stat -c %a mirror)
    echo "source $1, mirror $2 of $3: exit $code, arrived: $there, mode afterwards: $after"
}
mirrored 755 555 65534; [[ $code == 0 && $there == yes ]]
mirrored 555 555 65534; [[ $code == 0 && $there == yes && $after == 555 ]]
mirrored 755 755 0; [[ $code == 23 && $there == no ]]; grep -q 'mkstemp .* failed: Permission denied (13)' said
