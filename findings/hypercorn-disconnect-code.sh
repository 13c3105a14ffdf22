#!/usr/bin/env bash
# hypercorn 0.18.0 tells its application 1006 for every WebSocket that the client closed, whatever the client's code was.
#
# Guess: `websocket.disconnect` holds the code of the client's close frame, as under the other ASGI servers, and 1006 only
#   when there was none.
# Behaviour: the client closes with 1000, or with 4001, and the application is told 1006, as if the network had failed. The
#   answering close frame does carry the client's code, so that the client sees nothing of it.
# Versions: hypercorn 0.18.0, uvicorn 0.54.0, websockets 17.4.
# For users: under hypercorn do not count 1006 as a fault, and have clients say by a message why they leave.
#
# Output seen:
#   uvicorn: closed with 1000, told 1000; closed with 4001, told 4001
#   hypercorn: closed with 1000, told 1006; closed with 4001, told 1006
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 hypercorn==0.18.0 websockets==17.4
cat > "$work/told.py" <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    left = await receive()
    with open("codes", "a") as codes:
        print(int(left["code"]), file=codes)
PYTHON
cat > "$work/client.py" <<'PYTHON'
import asyncio
import pathlib
import sys

from websockets.asyncio.client import connect


async def told(port: str, code: int) -> str:
    codes = pathlib.Path("codes")
    codes.unlink(missing_ok=True)
    for _ in range(200):
        try:
            socket = await connect(f"ws://127.0.0.1:{port}/", proxy=None)
            break
        except OSError:
            await asyncio.sleep(0.1)
    await socket.close(code)
    while not codes.exists() or not codes.read_text().endswith("\n"):
        await asyncio.sleep(0.05)
    return f"closed with {code}, told {codes.read_text().strip()}"


async def main() -> None:
    print("; ".join([await told(sys.argv[1], code) for code in (1000, 4001)]))


asyncio.run(main())
PYTHON
cd "$work"
seen=
for name in uvicorn hypercorn; do
    port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    case $name in
        uvicorn) command=(uvicorn --lifespan off --host 127.0.0.1 --port "$port" told:app) ;;
        hypercorn) command=(hypercorn --bind "127.0.0.1:$port" told:app) ;;
    esac
    "$work/venv/bin/python" -m "${command[@]}" > "$work/log" 2>&1 &
    server=$!
    seen+="$name: $(timeout 60 "$work/venv/bin/python" "$work/client.py" "$port")"$'\n'
    kill "$server"
    wait "$server" 2> /dev/null || true
    server=
done
seen=${seen%$'\n'}
printf '%s\n' "$seen"
expected='uvicorn: closed with 1000, told 1000; closed with 4001, told 4001
hypercorn: closed with 1000, told 1006; closed with 4001, told 1006'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
