#!/usr/bin/env bash
# mcap 1.6.0 reads messages of equal times backwards in another order from a pipe than from a file.
#
# Guess: `iter_messages(reverse=True)` gives the reverse of `iter_messages()`, whichever reader `make_reader` chose.
# Behaviour: the reader of files that can be sought gives exactly the reverse; the other one, for pipes and sockets, keeps
#   messages of one `log_time` in the order in which they were written. A batch that was logged with one time comes
#   backwards from the one, forwards from the other.
# Versions: mcap 1.6.0.
# For users: where the order within one time matters, sort by `sequence` yourself, or give each message its own time.
#
# Output seen:
#   file: forwards 0 1 2 3, backwards 3 2 1 0
#   pipe: forwards 0 1 2 3, backwards 2 3 0 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mcap==1.6.0
cat > "$work/run.py" <<'PYTHON'
import io

from mcap.reader import make_reader
from mcap.writer import Writer


class Pipe(io.BytesIO):
    """Bytes that can be read once."""

    def seekable(self) -> bool:
        return False


def recording() -> bytes:
    """Two messages of one time, then two of another."""
    file = io.BytesIO()
    writer = Writer(file)
    writer.start()
    schema = writer.register_schema(name="number", encoding="jsonschema", data=b"{}")
    channel = writer.register_channel(topic="/numbers", message_encoding="json", schema_id=schema)
    for n, time in enumerate((1, 1, 2, 2)):
        writer.add_message(channel, log_time=time, publish_time=time, sequence=n, data=b"{}")
    writer.finish()
    return file.getvalue()


def order(file: io.BytesIO, *, reverse: bool) -> str:
    return " ".join(str(message.sequence) for _, _, message in make_reader(file).iter_messages(reverse=reverse))


data = recording()
for name, kind in (("file", io.BytesIO), ("pipe", Pipe)):
    print(f"{name}: forwards {order(kind(data), reverse=False)}, backwards {order(kind(data), reverse=True)}")
PYTHON
seen=$("$work/venv/bin/python" -W ignore "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='file: forwards 0 1 2 3, backwards 3 2 1 0
pipe: forwards 0 1 2 3, backwards 2 3 0 1'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
