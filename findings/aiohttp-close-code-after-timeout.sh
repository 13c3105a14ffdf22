#!/usr/bin/env bash
# aiohttp 3.14.5 tells of an abnormal end (1006) of a WebSocket that is open, after a `receive` that timed out.
#
# Guess: `receive(timeout=…)` that finds nothing leaves the connection as it was: `close_code` is None while it is open, and
#   what the server answered to `close()` after that.
# Behaviour: from the first such `receive` on (a cancelled one does the same) `close_code` is 1006, while messages go on coming
#   and going. `close()` then takes it for ended: it does not wait for the server's close frame, and the code stays 1006.
# Versions: aiohttp 3.14.5.
# For users: where `receive` may time out or be cancelled ask `ws.closed`, not `close_code`, and do not count 1006 after your
#   own `close()` as a loss.
#
# Output seen:
#   untouched: open with close code None, then echo, closed with 1000, server's answer awaited
#   timed out: open with close code 1006, then echo, closed with 1006, server's answer not awaited
#   cancelled: open with close code 1006, then echo, closed with 1006, server's answer not awaited
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 websockets==17.4
cat > "$work/run.py" <<'PYTHON'
import asyncio

import aiohttp
from websockets.asyncio.server import serve


async def main() -> None:
    answer_now = asyncio.Event()

    async def echo(connection) -> None:
        async for message in connection:
            # The client's close frame stays unread, and unanswered, until the client says so.
            connection.transport.pause_reading()
            await connection.send(message)
            await answer_now.wait()
            connection.transport.resume_reading()

    async def scene(session, url: str, before: str) -> None:
        answer_now.clear()
        ws = await session.ws_connect(url)
        if before == "timed out":
            try:
                await ws.receive(timeout=0.05)
            except TimeoutError:
                pass
        elif before == "cancelled":
            waiting = asyncio.create_task(ws.receive())
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait([waiting])
        state = "closed" if ws.closed else "open"
        said = f"{state} with close code {ws.close_code}"
        await ws.send_str("echo")
        assert (await ws.receive(timeout=30)).data == "echo"
        closing = asyncio.create_task(ws.close())
        await asyncio.wait([closing], timeout=2)
        awaited = "not awaited" if closing.done() else "awaited"
        answer_now.set()
        await closing
        print(f"{before}: {said}, then echo, closed with {ws.close_code}, server's answer {awaited}")

    async with serve(echo, "127.0.0.1", 0) as server, aiohttp.ClientSession() as session:
        host, port = server.sockets[0].getsockname()
        for before in ("untouched", "timed out", "cancelled"):
            await scene(session, f"http://{host}:{port}/", before)


asyncio.run(main())
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected="untouched: open with close code None, then echo, closed with 1000, server's answer awaited
timed out: open with close code 1006, then echo, closed with 1006, server's answer not awaited
cancelled: open with close code 1006, then echo, closed with 1006, server's answer not awaited"
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
