#!/usr/bin/env bash
# granian 2.8.9 closes a WebSocket in good order, as if all were well, when its application fails.
#
# Guess: an application that raises after it accepted a WebSocket ends it with 1011 (as hypercorn does) or without a close
#   frame (as uvicorn does), so that the client can tell a failure from the end.
# Behaviour: the client gets a close frame without a code (1005), which means a normal end, and what it received before
#   looks complete.
# Versions: granian 2.8.9, uvicorn 0.54.0, hypercorn 0.18.0, websockets 17.4.
# For users: do not take a normal close by a server under granian for success; have the application say that it is done.
#
# Output seen:
#   granian: one message, then 1005
#   uvicorn: one message, then no close frame
#   hypercorn: one message, then 1011
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    granian==2.8.9 uvicorn==0.54.0 hypercorn==0.18.0 websockets==17.4
cat > "$work/failing.py" <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "the first half"})
    raise RuntimeError("out of memory")
PYTHON
cat > "$work/client.py" <<'PYTHON'
import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main() -> None:
    for _ in range(200):
        try:
            socket = await connect(f"ws://127.0.0.1:{sys.argv[1]}/", proxy=None)
            break
        except OSError:
            await asyncio.sleep(0.1)
    count = 0
    try:
        while True:
            await socket.recv()
            count += 1
    except ConnectionClosed as closed:
        end = closed.rcvd.code if closed.rcvd else "no close frame"
        print(f"{'one message' if count == 1 else count}, then {end}")


asyncio.run(main())
PYTHON
cd "$work"
seen=
for name in granian uvicorn hypercorn; do
    port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    case $name in
        granian) command=(granian --interface asgi --host 127.0.0.1 --port "$port" failing:app) ;;
        uvicorn) command=(uvicorn --lifespan off --host 127.0.0.1 --port "$port" failing:app) ;;
        hypercorn) command=(hypercorn --bind "127.0.0.1:$port" failing:app) ;;
    esac
    "$work/venv/bin/python" -m "${command[@]}" > "$work/log" 2>&1 &
    server=$!
    seen+="$name: $("$work/venv/bin/python" "$work/client.py" "$port")"$'\n'
    kill "$server"
    wait "$server" 2> /dev/null || true
    server=
done
seen=${seen%$'\n'}
printf '%s\n' "$seen"
expected='granian: one message, then 1005
uvicorn: one message, then no close frame
hypercorn: one message, then 1011'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
