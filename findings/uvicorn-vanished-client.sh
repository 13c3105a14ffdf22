#!/usr/bin/env bash
# uvicorn 0.54.0 reports a client that vanished as one that closed without a code, unless it is told which library to use.
#
# Guess: an application hears of a WebSocket whose connection broke without a close frame as 1006, and of one that was closed
#   without a code as 1005: that is what the two numbers are for.
# Behaviour: both are 1005 with what `--ws auto` chooses where websockets is installed (websockets-sansio), and with wsproto;
#   only `--ws websockets` still tells 1006.
# Versions: uvicorn 0.54.0, websockets 17.4, wsproto 1.3.2.
# For users: an application that counts losses by code 1006 counts none after the default has changed; take 1005 for a
#   loss as well, or have clients say that they are done.
#
# Output seen:
#   auto: closed without a code 1005, vanished 1005
#   websockets: closed without a code 1005, vanished 1006
#   wsproto: closed without a code 1005, vanished 1005
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 websockets==17.4 wsproto==1.3.2
cat > "$work/run.py" <<'PYTHON'
import asyncio

import uvicorn
from websockets.asyncio.client import connect


async def main() -> None:
    told: asyncio.Queue[int] = asyncio.Queue()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        left = await receive()
        told.put_nowait(int(left["code"]))

    for library in ("auto", "websockets", "wsproto"):
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", ws=library))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)
        address = f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
        async with connect(address, proxy=None) as socket:
            socket.transport.write(b"\x88\x80\0\0\0\0")  # a close frame without a code
            closed = await told.get()
        socket = await connect(address, proxy=None)
        socket.transport.abort()
        print(f"{library}: closed without a code {closed}, vanished {await told.get()}")
        server.should_exit = True
        await serving


asyncio.run(main())
PYTHON
seen=$(timeout 120 "$work/venv/bin/python" -W ignore "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='auto: closed without a code 1005, vanished 1005
websockets: closed without a code 1005, vanished 1006
wsproto: closed without a code 1005, vanished 1005'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
