#!/bin/bash
# Runs the image that `make image` has made, without a daemon: its root in namespaces of its own, as its user, with its command
# as PID 1. As root.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%-34s %s\n' "$1" "$2"; }
fail() { echo "FAILED: $*" >&2; cat "$work/log" >&2 2>/dev/null || true; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
image=target/dist/inosync-$version-$(uname -m)-image.tar
work=$(mktemp -d)
pid=
trap '[[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
[[ $EUID == 0 ]] || fail "only root can unpack the root of an image"
[[ -f $image ]] || fail "make image comes first: there is no $image"

# === unpack it as its manifest says ===

tar -C "$work" -xf "$image"
root=$work/root
mkdir "$root"
field() { python3 -c "import json, sys; value = json.load(open(sys.argv[1])); print($2)" "$1"; }
blob() { echo "$work/blobs/${1/:/\/}"; }
manifest=$(blob "$(field "$work/index.json" 'value["manifests"][0]["digest"]')")
config=$(blob "$(field "$manifest" 'value["config"]["digest"]')")
for layer in $(field "$manifest" '" ".join(layer["digest"] for layer in value["layers"])'); do
    [[ $(sha256sum <"$(blob "$layer")") == "${layer#sha256:}"* ]] || fail "a layer is not what its digest says"
    tar -C "$root" --numeric-owner -xpzf "$(blob "$layer")"
done
user=$(field "$config" 'value["config"]["User"]')
mapfile -t environment < <(field "$config" '"\n".join(value["config"]["Env"])')
mapfile -t command < <(field "$config" '"\n".join(value["config"]["Entrypoint"] + value["config"]["Cmd"])')
mapfile -t health < <(field "$config" '"\n".join(value["config"]["Healthcheck"]["Test"][1:])')
[[ $user == 10001:10001 ]] || fail "it runs as $user"
say "the image" "$(stat -c %s "$image") bytes; $(du -sm "$root" | cut -f1) MB unpacked; user $user"

# === run it ===

mkdir -p "$root/srv/www" "$root/srv/mirror"
chown 10001:10001 "$root/srv/mirror"
# As Kubernetes makes volumes for a group.
chown root:10001 "$root/var/lib/inosync"
chmod 2777 "$root/var/lib/inosync"
cat >"$root/etc/inosync/inosync.ron" <<'RON'
(wpath: "/srv/www", rpath: "/srv/mirror", rnodes: [""], on_synced: ["/srv/hook"])
RON
# A process that outlives its parent: PID 1 inherits it.
printf '#!/bin/sh\nsleep 0.5 &\n' >"$root/srv/hook"
chmod 755 "$root/srv/hook"
echo first >"$root/srv/www/file"
# As a container: processes, mounts and names of its own, a read-only root but for what the examples mount.
# shellcheck disable=SC2016 # the inner shell expands these
unshare --pid --fork --mount --ipc --uts --mount-proc="$root/proc" sh -c '
    root=$1 user=$2; shift 2
    mount --bind "$root" "$root" && mount -t tmpfs tmpfs "$root/dev" && : >"$root/dev/null" && mount --bind /dev/null "$root/dev/null" &&
        mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/tmp" &&
        mount -t tmpfs -o gid=10001,mode=2777 tmpfs "$root/run/inosync" &&
        mount --bind "$root/var/lib/inosync" "$root/var/lib/inosync" && mount --bind "$root/srv/mirror" "$root/srv/mirror" &&
        mount -o remount,bind,ro "$root" && exec chroot --userspec="$user" "$root" /usr/bin/env -i "$@"
' sh "$root" "$user" "${environment[@]}" "${command[@]}" 2>"$work/log" &
outer=$!
for _ in {1..100}; do
    pid=$(pgrep -P "$outer" | head -1) && [[ $(cat "/proc/$pid/comm") == tini ]] && break
    sleep 0.1
done
[[ -n $pid ]] || fail "it does not start"

# inside COMMAND...: as `docker exec`.
inside() {
    nsenter --target "$pid" --pid --mount --ipc --uts chroot --userspec="$user" "$root" /usr/bin/env -i "${environment[@]}" "$@"
}
healthy() { inside "${health[@]}" >"$work/health" 2>&1; }
# within SECONDS WHAT COMMAND...
within() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "$what: $* ($(cat "$work/health"))"
        sleep 0.2
    done
}
mirrored() { [[ -f $root/srv/mirror/$1 ]] && cmp -s "$root/srv/www/$1" "$root/srv/mirror/$1"; }
unhealthy() { ! healthy; }
processes() { ps -o pid=,stat=,comm= --ppid "$pid"; }
reaped() { ! processes | grep -q ' Z\|sleep'; }

within 20 "it is healthy" healthy
within 20 "it mirrors" mirrored file
! grep 'NOT kept' "$work/health" || fail "it keeps no state"
say "as PID 1" "$(inside cat /proc/1/comm), which runs: $(processes | awk '{ print $3 }' | tr '\n' ' ')"
for number in {1..5}; do
    echo "$number" >"$root/srv/www/file-$number"
    within 20 "it mirrors a change" mirrored "file-$number"
done
within 20 "it waits for the children that it inherits" reaped
say "children" "each hook left one behind; none is a zombie"
mv "$root/srv/www" "$root/srv/other"
mkdir "$root/srv/www"
within 60 "it is unhealthy while the tree is gone" unhealthy
say "health check" "0 while it mirrors; $(healthy && echo 0 || echo $?) when its tree was replaced by an empty one"
rmdir "$root/srv/www"
mv "$root/srv/other" "$root/srv/www"
within 60 "it is healthy again" healthy
kill -TERM "$pid"
code=0
wait "$outer" || code=$?
pid=
[[ $code == 0 ]] || fail "SIGTERM ends it with $code"
grep -q 'inosync ends\|stopped\|stops' "$work/log" || fail "the log does not say that it stops"
say "SIGTERM" "exit code 0"
echo "all is well"
