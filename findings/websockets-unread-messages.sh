#!/usr/bin/env bash
# websockets 17.4 takes ten seconds to leave `async with connect(…)` though half of the messages were read, and then reports a
# broken connection.
#
# Guess: leaving closes at once, whatever is still unread: the client has said that it is done.
# Behaviour: reading pauses when more than 16 messages wait (`max_queue`), and goes on when no more than 4 do. Who leaves
#   in between never sees the server's close frame, which is behind them: `close_timeout` passes (10 s), and the code is
#   1006, though the server had answered in good order.
# Versions: websockets 17.4.
# For users: read on until you leave, give a small `close_timeout`, or `max_queue=None` where the server is trusted.
#
# Output seen:
#   16 of 16 unread: at once, 1000
#   10 of 20 unread: after the close timeout, 1006
#   2 of 20 unread: at once, 1000
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check websockets==17.4
cat > "$work/run.py" <<'PYTHON'
import asyncio
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def answer(socket) -> None:
    """Sends as many messages as it is asked for, and answers the close."""
    for n in range(int(await socket.recv())):
        await socket.send(str(n))
    await socket.wait_closed()


async def leave(port: int, messages: int, unread: int) -> None:
    async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as socket:
        await socket.send(str(messages))
        await asyncio.sleep(1)  # all arrive
        for _ in range(messages - unread):
            await socket.recv()
        await asyncio.sleep(0.5)  # and what was held back
        started = time.monotonic()
    took = "at once" if time.monotonic() - started < 5 else "after the close timeout"
    print(f"{unread} of {messages} unread: {took}, {int(socket.close_code)}")


async def main() -> None:
    async with serve(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await leave(port, 16, 16)
        await leave(port, 20, 10)
        await leave(port, 20, 2)


asyncio.run(main())
PYTHON
seen=$(timeout 120 "$work/venv/bin/python" "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='16 of 16 unread: at once, 1000
10 of 20 unread: after the close timeout, 1006
2 of 20 unread: at once, 1000'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
