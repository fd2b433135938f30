#!/bin/bash
# Makes a repository for apt of the debs in target/dist: KEY=FINGERPRINT apt-repo.sh. The secret key is in gpg's keyring; with
# a key for tests only, GNUPGHOME names another one. How a server uses the repository is in docs/install.md.
set -euo pipefail
cd "$(dirname "$0")/../target/dist" || exit

fail() { echo "error: $*" >&2; exit 1; }
[[ -n ${KEY-} ]] || fail "name the key that signs: KEY=FINGERPRINT make apt-repo (gpg --list-secret-keys prints the fingerprints)"
for tool in apt-ftparchive:apt-utils gpg:gpg; do
    command -v "${tool%:*}" >/dev/null || fail "${tool%:*} is missing: install the package ${tool#*:}"
done
debs=(inosync_*.deb)
[[ -f ${debs[0]} ]] || fail "there is no deb in target/dist: run make dist first"

# Made beside the old one, which keeps working until the new one is whole.
rm -rf apt.new
mkdir -p apt.new/pool
cp "${debs[@]}" apt.new/pool
gpg --batch --export "$KEY" >apt.new/inosync.gpg
cd apt.new
# The processor is at the end of a file's name.
mapfile -t archs < <(printf '%s\n' "${debs[@]}" | sed 's/.*_//; s/\.deb$//' | sort -u)
for arch in "${archs[@]}"; do
    mkdir -p "dists/stable/main/binary-$arch"
    apt-ftparchive --arch "$arch" packages pool >"dists/stable/main/binary-$arch/Packages"
    gzip -9nk "dists/stable/main/binary-$arch/Packages"
done
apt-ftparchive -o APT::FTPArchive::Release::Origin=inosync -o APT::FTPArchive::Release::Label=inosync \
    -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
    -o APT::FTPArchive::Release::Architectures="${archs[*]}" -o APT::FTPArchive::Release::Components=main \
    release dists/stable >Release
mv Release dists/stable/
gpg --batch --local-user "$KEY" --armor --detach-sign --output dists/stable/Release.gpg dists/stable/Release
gpg --batch --local-user "$KEY" --clearsign --output dists/stable/InRelease dists/stable/Release
cd ..
rm -rf apt
mv apt.new apt
echo "made in target/dist/apt, for ${archs[*]}: copy it to a web server"
