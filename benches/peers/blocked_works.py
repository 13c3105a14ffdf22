"""How long pongs take while Python does not let the event loop run."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable

import websockets.asyncio.server
import websockets.exceptions
from common import Result, Spec

from .base import Peer, Target

BLOCKED = 2.0
"""Seconds for which the loop sleeps, or another thread computes."""
PING_EVERY = 0.02
"""Seconds between two pings."""


class _Server:
    """A WebSocket server on a thread of its own, which pings and takes the time of the answers."""

    def __init__(self) -> None:
        self.waits: list[tuple[float, float]] = []
        self.lost = 0
        self.loop: asyncio.AbstractEventLoop
        self.stopping = asyncio.Event()

    async def serve(self, ready: Callable[[str], None]) -> None:
        self.loop = asyncio.get_running_loop()
        async with websockets.asyncio.server.serve(self.handle, "127.0.0.1", 0, ping_interval=None) as server:
            port = server.sockets[0].getsockname()[1]
            ready(f"ws://127.0.0.1:{port}")
            await self.stopping.wait()

    async def handle(self, connection: websockets.asyncio.server.ServerConnection) -> None:
        async def ping() -> None:
            start = time.perf_counter()
            try:
                await (await connection.ping())
            except websockets.exceptions.ConnectionClosed:
                self.lost += not self.stopping.is_set()
                return
            self.waits.append((start, time.perf_counter() - start))

        pings = set()
        try:
            while not self.stopping.is_set():
                task = asyncio.ensure_future(ping())
                pings.add(task)
                task.add_done_callback(pings.discard)
                await asyncio.sleep(PING_EVERY)
            await asyncio.wait_for(asyncio.gather(*pings), 10)
        except (websockets.exceptions.ConnectionClosed, TimeoutError):
            self.lost += len(pings)

    def between(self, start: float, end: float) -> list[float]:
        """The waits of the pings that were sent between two moments, in milliseconds."""
        return [wait * 1e3 for at, wait in self.waits if start <= at < end]


async def blocked(spec: Spec, new_peer: Callable[[], Peer]) -> Result:
    """The first pong and the slowest later one while the loop sleeps, and the slowest while another thread computes.

    The server runs in a process of its own, as it would share the interpreter's lock otherwise.
    """
    del spec
    process = await asyncio.create_subprocess_exec(
        *_command(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    peer = new_peer()
    peer.target = Target(url, peer.target.rest_url, peer.target.app, None)
    peer = type(peer)(peer.target)
    link = await peer.open()
    await asyncio.sleep(0.3)
    marks = [time.perf_counter()]
    time.sleep(BLOCKED)  # noqa: ASYNC251 (this is what is measured)
    marks.append(time.perf_counter())
    await asyncio.sleep(0.3)
    marks.append(time.perf_counter())
    until = time.perf_counter() + BLOCKED
    thread = threading.Thread(target=_compute, args=(until,))
    thread.start()
    await asyncio.sleep(BLOCKED)
    await asyncio.to_thread(thread.join)
    marks.append(time.perf_counter())
    await asyncio.sleep(0.3)
    process.stdin.write((" ".join(map(repr, marks)) + "\n").encode())
    first, later, computing, lost = map(float, (await process.stdout.readline()).split())
    await link.close()
    await peer.close()
    await process.wait()
    return {"first_ms": first, "later_ms": later, "computing_ms": computing, "lost": lost}


def _compute(until: float) -> None:
    while time.perf_counter() < until:
        sum(range(1000))


def _command() -> list[str]:
    return [sys.executable, "-m", "peers.blocked_works"]


def main() -> None:
    """The server's process: prints its address, reads the moments, prints what they delimit."""
    server = _Server()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(lambda url: print(url, flush=True))), daemon=True)
    thread.start()
    marks = [float(mark) for mark in sys.stdin.readline().split()]
    server.loop.call_soon_threadsafe(server.stopping.set)
    thread.join(10)
    asleep, computing = server.between(marks[0], marks[1]), server.between(marks[2], marks[3])
    later = sorted(asleep[5:])
    p99 = later[int((len(later) - 1) * 0.99)] if later else float("nan")
    first = max(asleep[:5], default=float("nan"))
    print(first, p99, max(computing, default=float("nan")), server.lost, flush=True)


if __name__ == "__main__":
    main()
