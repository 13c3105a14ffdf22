#!/usr/bin/env bash
# fal 1.83.0 names the fields of one model differently over HTTP and over its realtime protocol.
#
# Guess: a model with aliases that a handler returns goes out by its aliases, on every route of the app.
# Behaviour: an endpoint answers by the aliases (as FastAPI does), a realtime route by the names of the fields, since it
#   calls `dict()`. Inputs are by the aliases on both: what a realtime route answers, the same model does not read.
# Versions: fal 1.83.0, uvicorn 0.54.0, pydantic 2.14.4, websockets 17.4, msgpack 1.2.4.
# For users: read results of realtime apps by the names of the fields; an app sets `populate_by_name`, or returns a dict.
#
# Output seen:
#   HTTP:     {'imageUrl': 'a'}
#   realtime: {'image_url': 'a'}
#   read back: 1 validation error for Picture
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    fal==1.83.0 uvicorn==0.54.0 pydantic==2.14.4 websockets==17.4 msgpack==1.2.4
cat > "$work/run.py" <<'PYTHON'
import asyncio
import json
import threading
import urllib.request

import fal
import msgpack
import uvicorn
from pydantic import BaseModel, Field, ValidationError
from websockets.asyncio.client import connect


class Picture(BaseModel):
    image_url: str = Field(alias="imageUrl")


class App(fal.App):
    @fal.endpoint("/http")
    def over_http(self, picture: Picture) -> Picture:
        return picture

    @fal.realtime("/realtime", session_timeout=2)
    async def over_realtime(self, picture: Picture) -> Picture:
        return picture


async def main() -> None:
    config = uvicorn.Config(App(_allow_init=True)._build_app(), port=0, log_level="critical")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    body = {"imageUrl": "a"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/http", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer = await asyncio.to_thread(opener.open, request)
    print("HTTP:    ", json.load(answer))
    async with connect(f"ws://127.0.0.1:{port}/realtime", proxy=None) as socket:
        await socket.send(msgpack.packb(body))
        result = msgpack.unpackb(await socket.recv())
    print("realtime:", result)
    try:
        print("read back:", Picture(**result))
    except ValidationError as error:
        print("read back:", str(error).splitlines()[0])


asyncio.run(main())
PYTHON
seen=$("$work/venv/bin/python" -W ignore "$work/run.py" 2> "$work/errors" | grep -E '^(HTTP|realtime|read)') || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected="HTTP:     {'imageUrl': 'a'}
realtime: {'image_url': 'a'}
read back: 1 validation error for Picture"
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
