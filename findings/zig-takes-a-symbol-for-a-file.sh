#!/usr/bin/env bash
# zig cc 0.17.1 takes the symbol of `-u SYMBOL` for a file to be linked.
#
# Guess: `-u` is followed by its symbol, as one word or as the next one, as GCC, clang and the linkers have it.
# Behaviour: only `-uSYMBOL` and `-Wl,-u,SYMBOL` are understood. With the symbol as the next word linking fails:
#   "unrecognized file extension".
# Versions: ziglang 0.17.1 (PyPI).
# For users: rustc writes it in two words where it counts for a profile (`-Cprofile-generate`, rustc 1.95), so
#   that wheels with such counters cannot be linked by zig (maturin --zig, cargo-zigbuild); `-Clinker=cc` does it.
#
# Output seen:
#   -uwanted: linked
#   -Wl,-u,wanted: linked
#   -u wanted: error: wanted: unrecognized file extension
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1
export ZIG_GLOBAL_CACHE_DIR=$work/global ZIG_LOCAL_CACHE_DIR=$work/local
echo 'int wanted(void) { return 1; }' > "$work/wanted.c"
cd "$work"

link() {
    if "$work/venv/bin/python" -m ziglang cc -shared -o wanted.so wanted.c "$@" > out 2>&1; then
        printf '%s: linked\n' "$*"
    else
        printf '%s: %s\n' "$*" "$(tail -n 1 out)"
    fi
}

seen=$(link -uwanted; link -Wl,-u,wanted; link -u wanted)
printf '%s\n' "$seen"
expected='-uwanted: linked
-Wl,-u,wanted: linked
-u wanted: error: wanted: unrecognized file extension'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
