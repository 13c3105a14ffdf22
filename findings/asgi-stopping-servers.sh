#!/usr/bin/env bash
# hypercorn 0.18.0 and granian 2.8.9 do not say "going away" to open WebSockets when they are stopped, though both stop
# gracefully.
#
# Guess: on SIGTERM a server that stops gracefully closes its WebSockets with 1001 or 1012, so that a client knows that it
#   may come back at once.
# Behaviour: hypercorn closes with 1011, the code of a server that failed; granian with no close frame at all, which is
#   what a crash looks like. uvicorn closes with 1012.
# Versions: hypercorn 0.18.0, granian 2.8.9, uvicorn 0.54.0, websockets 17.4.
# For users: a client must reconnect after 1011 and 1006 too, or every deployment ends its sessions; and an alarm on these
#   codes goes off at every deployment.
#
# Output seen:
#   uvicorn: 1012
#   hypercorn: 1011
#   granian: no close frame
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    uvicorn==0.54.0 hypercorn==0.18.0 granian==2.8.9 websockets==17.4
cat > "$work/waiting.py" <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
PYTHON
cat > "$work/client.py" <<'PYTHON'
import asyncio
import os
import signal
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
    os.kill(int(sys.argv[2]), signal.SIGTERM)
    try:
        await socket.recv()
    except ConnectionClosed as closed:
        print(int(closed.rcvd.code) if closed.rcvd else "no close frame")


asyncio.run(main())
PYTHON
cd "$work"
seen=
for name in uvicorn hypercorn granian; do
    port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    case $name in
        uvicorn) command=(uvicorn --lifespan off --host 127.0.0.1 --port "$port" waiting:app) ;;
        hypercorn) command=(hypercorn --bind "127.0.0.1:$port" waiting:app) ;;
        granian) command=(granian --interface asgi --host 127.0.0.1 --port "$port" waiting:app) ;;
    esac
    "$work/venv/bin/python" -m "${command[@]}" > "$work/log" 2>&1 &
    server=$!
    seen+="$name: $(timeout 60 "$work/venv/bin/python" "$work/client.py" "$port" "$server")"$'\n'
    wait "$server" 2> /dev/null || true
    server=
done
seen=${seen%$'\n'}
printf '%s\n' "$seen"
expected='uvicorn: 1012
hypercorn: 1011
granian: no close frame'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
