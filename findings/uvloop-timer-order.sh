#!/usr/bin/env bash
# uvloop 0.23.0 runs timers that are due less than a millisecond apart in the order in which they were set.
#
# Guess: of two timers the one that is due first runs first, as in asyncio.
# Behaviour: delays are rounded to whole milliseconds, and what is then equal runs in the order of the calls: what is due in
#   1.6 ms runs after what is due in 1.9 ms.
# Versions: uvloop 0.23.0.
# For users: do not order work by delays that differ by fractions of a millisecond.
#
# Output seen:
#   asyncio: due in 1.6 ms, due in 1.9 ms
#   uvloop: due in 1.9 ms, due in 1.6 ms
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0
cat > "$work/run.py" <<'PYTHON'
import asyncio

import uvloop


async def order() -> str:
    loop = asyncio.get_running_loop()
    ran: list[str] = []
    done = asyncio.Event()
    now = loop.time()
    loop.call_at(now + 0.0019, ran.append, "due in 1.9 ms")
    loop.call_at(now + 0.0016, ran.append, "due in 1.6 ms")
    loop.call_at(now + 0.1, done.set)
    await done.wait()
    return ", ".join(ran)


print("asyncio:", asyncio.run(order()))
loop = uvloop.new_event_loop()
print("uvloop:", loop.run_until_complete(order()))
loop.close()
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='asyncio: due in 1.6 ms, due in 1.9 ms
uvloop: due in 1.9 ms, due in 1.6 ms'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
