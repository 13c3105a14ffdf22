#!/usr/bin/env bash
# pydantic 2.14.4 moves an instant by up to a minute when it writes it in JSON.
#
# Guess: a datetime whose UTC offset has seconds (zones before about 1920 do) is written so that it reads back equal, or is
#   refused.
# Behaviour: the seconds of the offset are cut off, the local time stays: the same model reads back another instant.
# Versions: pydantic 2.14.4, tzdata 2025.2.
# For users: call `astimezone(timezone.utc)` before.
#
# Output seen:
#   1890-01-01T00:00:00+00:53
#   read back: 28 seconds later
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.4 tzdata==2025.2
cat > "$work/run.py" <<'PYTHON'
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel


class Event(BaseModel):
    when: datetime


event = Event(when=datetime(1890, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")))
text = event.model_dump_json()
print(text.split('"')[3])
moved = (Event.model_validate_json(text).when - event.when).total_seconds()
print(f"read back: {moved:.0f} seconds later")
PYTHON
seen=$(PYTHONTZPATH="" "$work/venv/bin/python" "$work/run.py")
printf '%s\n' "$seen"
expected='1890-01-01T00:00:00+00:53
read back: 28 seconds later'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
