"""The relays of `gateway_relay.py`: KIND and the line of `fal.py`. Says its port and its process's id.

All run on uvloop, but for granian's own choice, without compression and without a log of accesses.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from fal_realtime import RealtimeClient
from fal_realtime.asgi import Relay, RelaySession

FAL_PORT, KEY = (os.environ.get("FAL") and os.environ["FAL"].split()) or sys.argv[2].split()
UPSTREAM = f"ws://127.0.0.1:{FAL_PORT}/local/echo/realtime"


def connect_by_hand() -> Any:
    return connect(UPSTREAM, compression=None, additional_headers={"authorization": f"Key {KEY}"})


# This relay.


def application() -> Any:
    where = {"base_url": f"ws://127.0.0.1:{FAL_PORT}", "rest_url": f"http://127.0.0.1:{FAL_PORT}"}
    client = RealtimeClient(KEY, trust_env=False, **where)
    return Relay(client, lambda _: RelaySession("local/echo"), max_sessions=100_000)


# The same by hand, as an ASGI application with the client of `websockets`.


async def by_hand(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await receive()
    async with connect_by_hand() as app:
        await send({"type": "websocket.accept"})

        async def to_app() -> None:
            while (event := await receive())["type"] == "websocket.receive":
                await app.send(event["bytes"] if event.get("bytes") is not None else event["text"])

        async def to_browser() -> None:
            async for message in app:
                await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
            await send({"type": "websocket.close"})

        await first_of(to_app(), to_browser())


# The same by hand, with its server too.


async def handle(browser: Any) -> None:
    async with connect_by_hand() as app:

        async def pump(source: Any, target: Any) -> None:
            async for message in source:
                await target.send(message)

        await first_of(pump(browser, app), pump(app, browser))


async def first_of(*ways: Any) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
            await task


async def serve_by_hand(port: int) -> None:
    async with serve(handle, "127.0.0.1", port, compression=None):
        await asyncio.Event().wait()


def leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def say_when_it_listens(port: int, pid: int) -> None:
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    time.sleep(0.5)
    print(port, pid, flush=True)


def main() -> None:
    kind = sys.argv[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if kind == "granian":
        run_granian(port)
        return
    threading.Thread(target=leave_with_parent, daemon=True).start()
    threading.Thread(target=say_when_it_listens, args=(port, os.getpid()), daemon=True).start()
    if kind == "websockets":
        uvloop.run(serve_by_hand(port))
    else:
        import uvicorn  # noqa: PLC0415 - not for the others

        app = application() if kind == "uvicorn" else by_hand
        uvicorn.run(app, port=port, loop="uvloop", log_level="critical", access_log=False, ws_per_message_deflate=False)


def run_granian(port: int) -> None:
    command = ["-m", "granian", "--interface", "asgi", "--factory", "--port", str(port), "--log-level", "critical"]
    process = subprocess.Popen(
        [sys.executable, *command, "relay:application"],
        cwd=Path(__file__).parent,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "FAL": sys.argv[2]},
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.1)
    say_when_it_listens(port, int(found[-1]))
    sys.stdin.read()
    process.terminate()
    process.wait(20)


if __name__ == "__main__":
    main()
