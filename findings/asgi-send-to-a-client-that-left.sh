#!/usr/bin/env bash
# hypercorn 0.18.0 and granian 2.8.9 let a WebSocket app send to the end to a client that left; uvicorn 0.54.0 stops it.
#
# Guess: after the client's connection ended `send` raises an OSError, as ASGI has said since 2.4, in all three.
# Behaviour: in uvicorn it does. In hypercorn and granian every `send` returns as if the message had gone out: an app that
#   streams and does not call `receive` beside it makes all its results for nobody. `receive`, asked after that, says
#   `websocket.disconnect`.
# Versions: hypercorn 0.18.0, granian 2.8.9, uvicorn 0.54.0, websockets 17.4.
# For users: an app that passes paid results on waits for `receive` beside its stream, and stops at `websocket.disconnect`.
#
# Output seen:
#   hypercorn: sent 200 of 200, then websocket.disconnect
#   granian: sent 200 of 200, then websocket.disconnect
#   uvicorn: stopped by an OSError, then websocket.disconnect
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    hypercorn==0.18.0 granian==2.8.9 uvicorn==0.54.0 websockets==17.4
cat > "$work/streaming.py" <<'PYTHON'
import asyncio
import os

MESSAGES = 200


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await receive()
    await send({"type": "websocket.accept"})
    sent = 0
    try:
        while sent < MESSAGES:
            await send({"type": "websocket.send", "bytes": bytes(1000)})
            sent += 1
            await asyncio.sleep(0.01)
        said = f"sent {sent} of {MESSAGES}"
    except OSError:
        said = "stopped by an OSError"
    said += f", then {(await receive())['type']}"
    with open(os.environ["SAID"] + ".part", "w") as file:
        file.write(said)
    os.rename(os.environ["SAID"] + ".part", os.environ["SAID"])
PYTHON
cat > "$work/run.py" <<'PYTHON'
import os
import socket
import subprocess
import sys
import time

from websockets.sync.client import connect

COMMANDS = {
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}", "streaming:app"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", "streaming:app"],
    "uvicorn": ["uvicorn", "--port", "{port}", "streaming:app"],
}
work = sys.argv[1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(ready, what: str):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            return ready()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} did not come within 60 s")


for server, command in COMMANDS.items():
    port, said = free_port(), f"{work}/{server}.said"
    arguments = [part.format(port=port) for part in command]
    arguments[0] = f"{work}/venv/bin/{arguments[0]}"
    process = subprocess.Popen(arguments, cwd=work, env={**os.environ, "SAID": said}, stdout=sys.stderr)
    try:
        wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close(), server)
        with connect(f"ws://127.0.0.1:{port}/") as client:
            client.recv()
        print(f"{server}: {wait_until(lambda: open(said).read(), f'the end of the app in {server}')}", flush=True)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" "$work" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='hypercorn: sent 200 of 200, then websocket.disconnect
granian: sent 200 of 200, then websocket.disconnect
uvicorn: stopped by an OSError, then websocket.disconnect'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
