#!/bin/bash
# Shows a change arriving on a mirror, with config.ron.example as it is. On a terminal the daemon is left running.
set -euo pipefail
cd "$(dirname "$0")/.."

inosync=${CARGO_TARGET_DIR:-target}/release/inosync
# With the slash it is a file here, and not the name of a site.
config=./config.ron.example
# As the example says; checked below, so that the two cannot drift apart.
site=/tmp/inosync-demo
source=$site/source mirror=$site/mirror
deadline=20

for path in "$source" "$mirror"; do
    grep -qF "\"$path\"" "$config" || { echo "error: $config does not name $path, which this demo uses" >&2; exit 1; }
done

# A directory that somebody else made in /tmp may be a trap, so it has to be ours before anything in it is deleted.
if [[ -L $site || (-e $site && ! -O $site) ]]; then
    echo "error: $site belongs to somebody else; remove it first" >&2
    exit 1
fi
rm -rf "$site"
mkdir -p "$source/docs" "$source/images/2026"
echo "Hello from the source" >"$source/index.html"
echo "Each change is sent by itself, never the whole tree." >"$source/docs/about.txt"
head -c 100000 /dev/urandom >"$source/images/2026/picture.raw"
ln -s docs/about.txt "$source/about"

log=$site/log
daemon=""
follower=""
stop() {
    [[ -z $daemon ]] || kill -TERM "$daemon" 2>/dev/null || true
    [[ -z $daemon ]] || wait "$daemon" || true
    [[ -z $follower ]] || kill "$follower" 2>/dev/null || true
}
trap stop EXIT

fail() {
    echo "error: $1; the daemon's log:" >&2
    cat "$log" >&2
    exit 1
}

# Asks until the command succeeds; fails after the deadline or when the daemon has ended.
until_true() {
    local what=$1 end=$((SECONDS + deadline))
    shift
    until "$@"; do
        kill -0 "$daemon" 2>/dev/null || fail "the daemon ended before $what"
        ((SECONDS < end)) || fail "$what did not happen within $deadline s"
        sleep 0.002
    done
}
now_ms() { local us=${EPOCHREALTIME/[.,]/}; echo $((us / 1000)); }
has_content() { [[ -e $1 && $(<"$1") == "$2" ]]; }
is_mirrored() { grep -qs watching "$log" && diff -r --no-dereference "$source" "$mirror" >/dev/null 2>&1; }

echo "\$ inosync -c $config"
# In a process group of its own, so that Ctrl-C reaches this script alone and the daemon gets one signal, not two.
set -m
STATE_DIRECTORY=$site/state "$inosync" -c "$config" </dev/null 2>"$log" &
daemon=$!
set +m
until_true "the first mirroring" is_mirrored
echo "The tree is mirrored:"
(cd "$mirror" && find . -mindepth 1 | sort | sed 's|^\./|    |')

hello="Hello, it is $(date +%T)"
echo
echo "\$ echo \"$hello\" > $source/index.html"
start=$(now_ms)
echo "$hello" >"$source/index.html"
until_true "the change's arrival" has_content "$mirror/index.html" "$hello"
echo "arrived on the mirror after $(($(now_ms) - start)) ms: $mirror/index.html: $(<"$mirror/index.html")"

if [[ ! -t 0 || ! -t 1 ]]; then
    code=0
    kill -TERM "$daemon"
    wait "$daemon" || code=$?
    daemon=
    ((code == 0)) || fail "the daemon stopped with exit code $code"
    echo "The daemon is stopped (with a terminal it would go on)."
    exit 0
fi

cat <<TEXT

The daemon goes on. Try it in another terminal, and watch its log here:
    echo more >> $source/docs/about.txt; cat $mirror/docs/about.txt
    mkdir -p $source/new/dir; date > $source/new/dir/now; ls -R $mirror/new
    rm -r $source/images; ls $mirror
Ctrl-C stops it.

TEXT
tail -n +1 -f "$log" &
follower=$!
trap 'kill -TERM "$daemon"' INT TERM
while kill -0 "$daemon" 2>/dev/null; do
    wait "$daemon" || true
done
daemon=
