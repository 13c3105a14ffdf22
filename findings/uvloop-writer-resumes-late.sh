#!/usr/bin/env bash
# uvloop 0.23.0 resumes a paused writer when nothing is left to write, not at the low-water mark.
#
# Guess: as in asyncio, `resume_writing`, and `await writer.drain()` with it, comes when 16 KiB are left of what was buffered.
# Behaviour: a transport's low-water mark is 16 bytes until `set_write_buffer_limits` is called, with or without arguments,
#   which makes 16 KiB of it. Even then the writer stays paused until the last write as a whole has gone out: what is
#   written in one turn of the loop is one. Both together, limits set and pieces of turns of their own, behave as asyncio.
# Versions: uvloop 0.23.0.
# For users: who waits for `drain` there waits for the system to have taken everything. To be ready with more before that,
#   call `transport.set_write_buffer_limits()`, and write large messages in pieces.
#
# Output seen:
#   asyncio, at once: low-water mark 16384, resumed with bytes left
#   uvloop, at once: low-water mark 16, resumed with nothing left
#   uvloop, limits set, at once: low-water mark 16384, resumed with nothing left
#   uvloop, in pieces: low-water mark 16, resumed with nothing left
#   uvloop, limits set, in pieces: low-water mark 16384, resumed with bytes left
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0
cat > "$work/run.py" <<'PYTHON'
import asyncio
import socket

import uvloop


class Writer(asyncio.Protocol):
    paused = False
    left = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.left = self.transport.get_write_buffer_size()


async def main(name: str, limits: bool, pieces: int) -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    far.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    transport, writer = await loop.create_connection(Writer, sock=near)
    if limits:
        transport.set_write_buffer_limits()
    for _ in range(pieces):
        transport.write(bytes(96_000 // pieces))
        await asyncio.sleep(0.001)
    assert writer.paused
    while writer.paused:
        await asyncio.wait_for(loop.sock_recv(far, 1000), 30)
        await asyncio.sleep(0.001)
    left = "bytes left" if writer.left else "nothing left"
    print(f"{name}: low-water mark {transport.get_write_buffer_limits()[0]}, resumed with {left}")
    transport.abort()
    far.close()


def run(new_event_loop, *scene) -> None:
    loop = new_event_loop()
    loop.run_until_complete(main(*scene))
    loop.close()


run(asyncio.new_event_loop, "asyncio, at once", False, 1)
run(uvloop.new_event_loop, "uvloop, at once", False, 1)
run(uvloop.new_event_loop, "uvloop, limits set, at once", True, 1)
run(uvloop.new_event_loop, "uvloop, in pieces", False, 24)
run(uvloop.new_event_loop, "uvloop, limits set, in pieces", True, 24)
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='asyncio, at once: low-water mark 16384, resumed with bytes left
uvloop, at once: low-water mark 16, resumed with nothing left
uvloop, limits set, at once: low-water mark 16384, resumed with nothing left
uvloop, in pieces: low-water mark 16, resumed with nothing left
uvloop, limits set, in pieces: low-water mark 16384, resumed with bytes left'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
