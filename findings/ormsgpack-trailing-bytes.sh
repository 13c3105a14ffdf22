#!/usr/bin/env bash
# ormsgpack 1.13.1 reads the first of several values and says nothing of the rest.
#
# Guess: `unpackb` takes one value, and refuses bytes behind it, as `msgpack.unpackb` and `msgspec.msgpack.decode` do, for
#   which it is a quick replacement.
# Behaviour: what follows the first value is ignored: of two messages in one buffer the second is lost.
# Versions: ormsgpack 1.13.1, msgpack 1.2.4, msgspec 0.22.0.
# For users: do not hand it a buffer that may hold more than one message, and do not take it for a check of what came.
#
# Output seen:
#   msgpack: ExtraData
#   msgspec: DecodeError
#   ormsgpack: {'n': 1}
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ormsgpack==1.13.1 msgpack==1.2.4 msgspec==0.22.0
cat > "$work/run.py" <<'PYTHON'
import msgpack
import msgspec
import ormsgpack

two = msgpack.packb({"n": 1}) + msgpack.packb({"n": 2})
for name, decode in (
    ("msgpack", msgpack.unpackb),
    ("msgspec", msgspec.msgpack.decode),
    ("ormsgpack", ormsgpack.unpackb),
):
    try:
        print(f"{name}: {decode(two)}")
    except ValueError as error:
        print(f"{name}: {type(error).__name__}")
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected="msgpack: ExtraData
msgspec: DecodeError
ormsgpack: {'n': 1}"
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
