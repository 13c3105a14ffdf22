#!/usr/bin/env bash
# fal 1.83.0 sends the first two results of a stream last.
#
# Guess: the results of an async generator reach the client in the order in which it yields them.
# Behaviour: results are put into a queue of 2 x `buffering` (by default 2), which a task empties; one that finds it full
#   is sent at once, past those that wait. A generator that does not await between its yields never lets the task run.
# Versions: fal 1.83.0, uvicorn 0.54.0, websockets 17.4, msgpack 1.2.4.
# For users: order by a number of your own, await between yields, or give the route a `buffering`.
#
# Output seen:
#   without awaiting: [2, 3, 4, 5, 6, 7, 0, 1]
#   awaiting between: [0, 1, 2, 3, 4, 5, 6, 7]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check fal==1.83.0 uvicorn==0.54.0 websockets==17.4 msgpack==1.2.4
cat > "$work/run.py" <<'PYTHON'
import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import fal
import msgpack
import uvicorn
from websockets.asyncio.client import connect


class App(fal.App):
    @fal.realtime("/eager", session_timeout=2)
    async def eager(self, message: Any) -> AsyncIterator[Any]:
        for n in range(8):
            yield {"n": n}

    @fal.realtime("/patient", session_timeout=2)
    async def patient(self, message: Any) -> AsyncIterator[Any]:
        for n in range(8):
            yield {"n": n}
            await asyncio.sleep(0.01)


async def results(port: int, path: str) -> list[int]:
    async with connect(f"ws://127.0.0.1:{port}/{path}", proxy=None) as socket:
        await socket.send(msgpack.packb({}))
        return [msgpack.unpackb(await socket.recv())["n"] for _ in range(8)]


async def main() -> None:
    config = uvicorn.Config(App(_allow_init=True)._build_app(), port=0, log_level="critical")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    print("without awaiting:", await results(port, "eager"))
    print("awaiting between:", await results(port, "patient"))


asyncio.run(main())
PYTHON
seen=$("$work/venv/bin/python" -W ignore "$work/run.py" 2> "$work/errors" | grep -E '^(without|awaiting)') || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='without awaiting: [2, 3, 4, 5, 6, 7, 0, 1]
awaiting between: [0, 1, 2, 3, 4, 5, 6, 7]'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
