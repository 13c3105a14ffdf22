#!/usr/bin/env bash
# picows 2.3.1 has no close code for a connection that broke, in its replacement for websockets.
#
# Guess: `picows.websockets` tells the end of a connection as websockets does, since its README calls it a drop-in
#   replacement: `close_code` 1006 where no close frame came, `close_reason` always a str.
# Behaviour: `close_code` is None after a break, as if the connection were still open, and `close_reason` is None wherever a
#   close frame had no reason.
# Versions: picows 2.3.1, websockets 17.4.
# For users: test `state` and `close_code in (None, 1006)`; do not format or compare `close_reason` without a default.
#
# Output seen:
#   websockets: broken 1006 '', closed 1011 ''
#   picows: broken None None, closed 1011 None
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check picows==2.3.1 websockets==17.4
cat > "$work/run.py" <<'PYTHON'
import asyncio

import picows.websockets as picows_websockets
import websockets.asyncio.client as websockets_client
from websockets.asyncio.server import serve


async def end(socket) -> None:
    """Ends the connection in the way that is asked for."""
    if await socket.recv() == "broken":
        socket.transport.abort()
    else:
        await socket.close(1011)


async def told(library, port: int, how: str) -> str:
    async with library.connect(f"ws://127.0.0.1:{port}/", proxy=None) as socket:
        await socket.send(how)
        try:
            await socket.recv()
        except Exception:
            pass
        code = None if socket.close_code is None else int(socket.close_code)
        return f"{how} {code} {socket.close_reason!r}"


async def main() -> None:
    async with serve(end, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for name, library in (("websockets", websockets_client), ("picows", picows_websockets)):
            print(f"{name}: {await told(library, port, 'broken')}, {await told(library, port, 'closed')}")


asyncio.run(main())
PYTHON
seen=$(timeout 120 "$work/venv/bin/python" -W ignore "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected="websockets: broken 1006 '', closed 1011 ''
picows: broken None None, closed 1011 None"
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
