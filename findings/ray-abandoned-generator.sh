#!/usr/bin/env bash
# ray 2.60.0 runs an actor's async generator to its end when nobody has its results any more.
#
# Guess: leaving `async for` over a streaming call, and dropping what it iterated, closes the generator in the actor: its
#   `finally` runs soon.
# Behaviour: it is resumed as if all were read: every item is made, then `finally` runs. `ray.cancel` on the iterator ends
#   it at its next `await`, with CancelledError.
# Versions: ray 2.60.0.
# For users: an actor that streams results of a paid model goes on asking for them after its reader left. Keep the iterator,
#   and call `ray.cancel(iterator)` in a `finally`.
#
# Output seen:
#   dropped: all 20 items made, closed by the end of its loop
#   cancelled: not all items made, closed by CancelledError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cat > "$work/run.py" <<'PYTHON'
import asyncio
import gc
import sys

import ray

ITEMS = 20


@ray.remote
class Streamer:
    def __init__(self):
        self.made = 0
        self.ended = None

    async def stream(self):
        why = "the end of its loop"
        try:
            for n in range(ITEMS):
                self.made += 1
                yield n
                await asyncio.sleep(0.1)
        except BaseException as error:
            why = type(error).__name__
            raise
        finally:
            self.ended = why

    async def state(self):
        return self.made, self.ended


async def read_three(iterator) -> None:
    read = 0
    async for result in iterator:
        await result
        read += 1
        if read == 3:
            return


async def main(how: str) -> None:
    streamer = Streamer.remote()
    iterator = streamer.stream.remote()
    await read_three(iterator)
    if how == "cancelled":
        ray.cancel(iterator)
    del iterator
    gc.collect()
    async with asyncio.timeout(60):
        while not (state := await streamer.state.remote())[1]:
            await asyncio.sleep(0.1)
    made, ended = state
    print(f"{how}: {f'all {ITEMS}' if made == ITEMS else 'not all'} items made, closed by {ended}")


ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    object_store_memory=100_000_000, _temp_dir=sys.argv[1],
)
for how in ("dropped", "cancelled"):
    asyncio.run(main(how))
PYTHON
seen=$(RAY_USAGE_STATS_ENABLED=0 "$work/venv/bin/python" "$work/run.py" "$work/ray" 2> "$work/errors") \
    || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='dropped: all 20 items made, closed by the end of its loop
cancelled: not all items made, closed by CancelledError'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
