#!/usr/bin/env bash
# ray 2.60.0 raises the OSError of a remote call again without its number and file name.
#
# Guess: the error that `ray.get` raises is one of the class that was raised there, and has its attributes.
# Behaviour: it is, and it has those that Python code gave it; those that an exception keeps in C (`errno`, `strerror` and
#   `filename` of an OSError, `name` of a ModuleNotFoundError, `start` of a UnicodeDecodeError) are None or 0. `except
#   ConnectionResetError` holds, `error.errno == errno.ECONNRESET` does not. `error.cause` is the whole one.
# Versions: ray 2.60.0.
# For users: behind Ray ask for the class of a connection's error, or for `error.cause.errno`, never for `error.errno`.
#
# Output seen:
#   ConnectionResetError: errno None, of its cause 104
#   FileNotFoundError: filename None, of its cause /no/such/file
#   ModuleNotFoundError: name None, of its cause no_such_module
#   UnicodeDecodeError: start 0, of its cause 1
#   OwnError: code 7, of its cause 7
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cat > "$work/run.py" <<'PYTHON'
import sys

import ray


class OwnError(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


@ray.remote
def fails(kind):
    if kind == "errno":
        raise ConnectionResetError(104, "reset by peer")
    if kind == "filename":
        open("/no/such/file")
    if kind == "name":
        import no_such_module
    if kind == "start":
        b"a\xff".decode()
    raise OwnError(7)


ray.init(
    address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    object_store_memory=100_000_000, _temp_dir=sys.argv[1],
)
for attribute in ("errno", "filename", "name", "start", "code"):
    try:
        ray.get(fails.remote(attribute), timeout=60)
    except Exception as error:
        was, cause = getattr(error, attribute), error.cause
        print(f"{type(cause).__name__}: {attribute} {was}, of its cause {getattr(cause, attribute)}")
        assert isinstance(error, type(cause)) or attribute == "code"
PYTHON
seen=$(RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" "$work/run.py" "$work/ray" 2> "$work/errors") \
    || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='ConnectionResetError: errno None, of its cause 104
FileNotFoundError: filename None, of its cause /no/such/file
ModuleNotFoundError: name None, of its cause no_such_module
UnicodeDecodeError: start 0, of its cause 1
OwnError: code 7, of its cause 7'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
