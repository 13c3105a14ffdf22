#!/usr/bin/env bash
# uvicorn 0.54.0 answers no ping while one message waits for the application, so `websockets` closes a healthy session.
#
# Guess: pings are answered by the server's protocol, however busy the application is, as long as the event loop is free.
# Behaviour: a message that the application has not received yet makes uvicorn stop reading the socket, pings included. An
#   application that streams results for longer than the client's ping timeout, and has one more message waiting, is
#   cut off with 1011 by the client, though results were arriving all the time.
# Versions: uvicorn 0.54.0, websockets 17.4.
# For users: a client should count any data from the server as a sign of life. In an application, receive messages while
#   you work, or raise the client's ping timeout.
#
# Output seen:
#   nothing unread: 40 results, closed with 1000
#   one message unread: fewer results, closed with 1011 keepalive ping timeout
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 websockets==17.4
cat > "$work/run.py" <<'PYTHON'
import asyncio

import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

RESULTS = 40


async def app(scope, receive, send):
    """Answers the first message with results for four seconds; the loop is free all the time."""
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    for n in range(RESULTS):
        await send({"type": "websocket.send", "text": str(n)})
        await asyncio.sleep(0.1)
    await send({"type": "websocket.close"})


async def session(port: int, messages: int) -> str:
    count = 0
    try:
        async with connect(f"ws://127.0.0.1:{port}/", ping_interval=0.5, ping_timeout=1, proxy=None) as socket:
            for _ in range(messages):
                await socket.send("go")
            while True:
                await socket.recv()
                count += 1
    except ConnectionClosed as closed:
        frame = closed.rcvd or closed.sent
        results = f"{count} results" if count == RESULTS else "fewer results"
        return f"{results}, closed with {frame.code} {frame.reason}".strip()


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    print("nothing unread:", await session(port, 1))
    print("one message unread:", await session(port, 2))
    server.should_exit = True
    await serving


asyncio.run(main())
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" 2> "$work/errors" | grep -E '^(nothing|one)') || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='nothing unread: 40 results, closed with 1000
one message unread: fewer results, closed with 1011 keepalive ping timeout'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
