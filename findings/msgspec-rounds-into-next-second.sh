#!/usr/bin/env bash
# msgspec 0.22.0 rounds an instant with nanoseconds up, into the next second, day or year.
#
# Guess: digits after the microseconds are cut off, as `datetime.fromisoformat` and pydantic do.
# Behaviour: they are rounded half up, in JSON and in msgpack's timestamps: the last moment of a year becomes the first of the
#   next one. The same text read by two libraries is two instants, and two dates.
# Versions: msgspec 0.22.0, pydantic 2.14.4, CPython 3.11 to 3.13.
# For users: a timestamp from a service that counts nanoseconds (Rust, Go) may be later than it was: do not compare it with
#   one that another library read, nor take its date as that of the sender.
#
# Output seen:
#   fromisoformat: 2025-12-31T23:59:59.999999+00:00
#   pydantic JSON: 2025-12-31T23:59:59.999999+00:00
#   msgspec JSON: 2026-01-01T00:00:00+00:00
#   msgspec msgpack: 2026-01-01T00:00:00+00:00
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0 pydantic==2.14.4
cat > "$work/run.py" <<'PYTHON'
from datetime import datetime, timezone

import msgspec
import pydantic

TEXT = "2025-12-31T23:59:59.9999995+00:00"
seconds = int(datetime(2025, 12, 31, 23, 59, 59, tzinfo=timezone.utc).timestamp())
timestamp = b"\xd7\xff" + (999_999_500 << 34 | seconds).to_bytes(8, "big")

print("fromisoformat:", datetime.fromisoformat(TEXT).isoformat())
print("pydantic JSON:", pydantic.TypeAdapter(datetime).validate_json(f'"{TEXT}"').isoformat())
print("msgspec JSON:", msgspec.json.decode(f'"{TEXT}"', type=datetime).isoformat())
print("msgspec msgpack:", msgspec.msgpack.decode(timestamp).isoformat())
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='fromisoformat: 2025-12-31T23:59:59.999999+00:00
pydantic JSON: 2025-12-31T23:59:59.999999+00:00
msgspec JSON: 2026-01-01T00:00:00+00:00
msgspec msgpack: 2026-01-01T00:00:00+00:00'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
