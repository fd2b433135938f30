#!/bin/bash
# A dry run by checksum is the usual way to ask what differs. With --link-dest it says nothing of a file that differs from the
# source, if the directory of --link-dest has a file that does not; and the run itself replaces the file in silence, too.
#
# rsync 3.5.0+ds1-0+deb12u1 (Debian 12), seen 2026-11-28:
#     dry run: without --link-dest `>fc........ f`, with it nothing, exit 0
#     run: nothing is printed, exit 0, and the file is now the one of the other directory (the same inode)
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
apt-get download -qq rsync=3.5.0+ds1-0+deb12u1 >/dev/null && dpkg-deb -x ./*.deb pkg
rsync=$work/pkg/usr/bin/rsync; "$rsync" --version | sed -n 1p

mkdir source mirror other
echo new >source/f; cp -p source/f other/f; echo old >mirror/f; touch -r source/f mirror/f
compare() { "$rsync" -rltp --checksum --itemize-changes "$@" source/ mirror/; }
plain=$(compare -n); linked=$(compare -n --link-dest="$work/other"); ran=$(compare --link-dest="$work/other")
echo "dry run: '$plain', with --link-dest: '$linked'; the run with it: '$ran'"
echo "the mirror has: $(cat mirror/f); the same inode as the other directory: $([ mirror/f -ef other/f ] && echo yes)"
[[ $plain == '>fc'*' f' && -z $linked && -z $ran && $(cat mirror/f) == new && mirror/f -ef other/f ]]
