#!/usr/bin/env bash
# mcap 1.6.0 gives nothing of a recording whose writer was killed, unless it is read as a pipe and unsorted.
#
# Guess: the reader of files says that the end is missing; the one for pipes gives all complete chunks, then says so.
# Behaviour: the reader of files takes whatever the last bytes are for the file's end, and complains of a record that is not
#   there; the one for pipes sorts by time before it gives the first message, so it raises EndOfFile with all messages read
#   and none given. With `log_time_order=False` the same reader gives the complete chunks, then raises.
# Versions: mcap 1.6.0.
# For users: read what a crash left with `NonSeekingReader(file).iter_messages(log_time_order=False)`, take what comes before
#   EndOfFile, and sort it yourself.
#
# Output seen:
#   finished, file: 6 of 6
#   unfinished, file: 0 of 6, then an error
#   unfinished, pipe: 0 of 6, then EndOfFile
#   unfinished, pipe, unsorted: 5 of 6, then EndOfFile
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mcap==1.6.0
cat > "$work/run.py" <<'PYTHON'
import io

from mcap.reader import NonSeekingReader, SeekingReader
from mcap.writer import Writer

MESSAGES = 6


def recording(*, finished: bool) -> io.BytesIO:
    """Chunks of one or two messages; the last one is not full, and only `finish` writes it."""
    file = io.BytesIO()
    writer = Writer(file, chunk_size=200)
    writer.start()
    schema = writer.register_schema(name="number", encoding="jsonschema", data=b"{}")
    channel = writer.register_channel(topic="/numbers", message_encoding="json", schema_id=schema)
    for n in range(MESSAGES):
        writer.add_message(channel, log_time=n, publish_time=n, sequence=n, data=b"1" * 100)
    if finished:
        writer.finish()
    return io.BytesIO(file.getvalue())


def read(reader, **order: bool) -> str:
    got = 0
    try:
        for _ in reader.iter_messages(**order):
            got += 1
    except Exception as error:
        name = type(error).__name__
        return f"{got} of {MESSAGES}, then {name if name == 'EndOfFile' else 'an error'}"
    return f"{got} of {MESSAGES}"


print("finished, file:", read(SeekingReader(recording(finished=True))))
print("unfinished, file:", read(SeekingReader(recording(finished=False))))
print("unfinished, pipe:", read(NonSeekingReader(recording(finished=False))))
print("unfinished, pipe, unsorted:", read(NonSeekingReader(recording(finished=False)), log_time_order=False))
PYTHON
seen=$("$work/venv/bin/python" -W ignore "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='finished, file: 6 of 6
unfinished, file: 0 of 6, then an error
unfinished, pipe: 0 of 6, then EndOfFile
unfinished, pipe, unsorted: 5 of 6, then EndOfFile'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
