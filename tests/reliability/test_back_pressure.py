"""A consumer that stalls costs no memory and nobody else's progress, and every frame is counted.

The server is in this process: what is asserted of memory holds for both sides. FAL_REALTIME_SCALE=10 makes it a million
frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest
from checks import percentile
from support import accounted, until
from support.scale import SCALE, scaled

from fal_realtime import RealtimeConnection, SyncRealtimeConnection
from fal_realtime.testing import LocalServer

if TYPE_CHECKING:
    from typing_extensions import Self

pytestmark = pytest.mark.timeout(300 * max(1.0, SCALE))

FRAMES = scaled(100_000)
SIZE = 1000
"""Bytes of payload: without a bound the frames would be 100 MB, with the scale of 10 one gigabyte."""
MARK = 64 * 1024 * 1024
"""Bytes of results after which reading pauses."""
FLAT = 16 * 1024 * 1024
"""Bytes by which the memory may move: the rings, the sockets' buffers and the allocator's slack."""
HELD = MARK // SIZE + 512 * 1024 // SIZE + 1
"""Messages that a lossless connection may hold: its high-water mark, and what one turn reads (512 KiB)."""
OPTIONS: dict[str, Any] = {"use_jwt": False, "throttle_interval": 0}


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memory(threading.Thread):
    """Samples the resident memory; `growth` is the highest sample above the first."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first = self.highest = resident()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.01):
            self.highest = max(self.highest, resident())

    @property
    def growth(self) -> int:
        return self.highest - self.first

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()


class Others:
    """Two neighbours that go on with requests: one on the same loop, one blocking in a thread."""

    def __init__(self, server: LocalServer) -> None:
        self._loop_connection = server.client().connect("local/echo", **OPTIONS)
        self._thread_connection = server.sync_client().connect("local/echo", **OPTIONS)
        self._over = threading.Event()
        self.latencies: dict[str, list[float]] = {"same loop": [], "a thread": []}

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._on_the_loop(self._loop_connection))
        self._thread = threading.Thread(target=self._in_a_thread, args=(self._thread_connection,), daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        await self._task
        await asyncio.to_thread(self._thread.join)

    async def _on_the_loop(self, connection: RealtimeConnection) -> None:
        async with connection:
            while not self._over.is_set():
                start = time.monotonic()
                await connection.request({"x": 1}, timeout=60)
                self.latencies["same loop"].append(time.monotonic() - start)
                await asyncio.sleep(0.001)
        accounted(connection)

    def _in_a_thread(self, connection: SyncRealtimeConnection) -> None:
        with connection:
            while not self._over.wait(0.001):
                start = time.monotonic()
                connection.request({"x": 1}, timeout=60)
                self.latencies["a thread"].append(time.monotonic() - start)

    async def watch(self, during: Any) -> str:
        """Await this, and say what the neighbours did meanwhile; they must not have stood still."""
        for values in self.latencies.values():
            values.clear()
        start = time.monotonic()
        await during
        took = time.monotonic() - start
        words = []
        for name, values in self.latencies.items():
            assert values, f"{name}: no progress in {took:.2f} s"
            p50, p99 = (percentile(values, percent) * 1000 for percent in (50, 99))
            words.append(f"{name} {len(values) / took:.0f}/s p50 {p50:.2f} ms p99 {p99:.2f} ms")
        return ", ".join(words)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


async def warmed_up(server: LocalServer, **options: Any) -> None:
    """One stream of the same kind first: code, caches and the allocator's arenas are no growth."""
    async with server.client().connect("local/stream", streaming=True, **OPTIONS, **options) as connection:
        await connection.send({"count": 5000, "size": SIZE})
        async for _ in connection:
            pass


async def test_a_stalled_consumer_holds_the_server_back_and_loses_nothing(server: LocalServer, figure: Any) -> None:
    await warmed_up(server)
    async with Others(server) as others, server.client().connect("local/stream", streaming=True, **OPTIONS) as stalled:
        idle = await others.watch(asyncio.sleep(1))
        with Memory() as memory:
            start = time.monotonic()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stalled.recv(), 0.001)  # somebody receives
            await stalled.send({"count": FRAMES, "size": SIZE})
            await until(lambda: stalled.stats()["received_pending"] >= MARK // (SIZE + 200), "the high-water mark")
            await asyncio.sleep(0.2)
            at_rest = accounted(stalled)["received"]
            busy = await others.watch(asyncio.sleep(1))
            stats = accounted(stalled)
            assert stats["received"] == at_rest, "a stalled connection went on reading"
            assert MARK // (SIZE + 200) <= stats["received_pending"] == stats["received"] <= HELD
            # Then it takes some, stalls, takes some: each time the reading stops and begins again.
            expected = 0
            async for result in stalled:
                assert result["index"] == expected
                expected += 1
                if expected % 10_000 == 0:
                    await asyncio.sleep(0.02)
                    assert accounted(stalled)["received_pending"] <= HELD
            took = time.monotonic() - start
        assert expected == FRAMES
        stats = accounted(stalled)
        assert (stats["delivered"], stats["received_dropped"], stats["received_pending"]) == (FRAMES, 0, 0)
    figure(f"{FRAMES} frames in {took:.1f} s, memory +{memory.growth / 2**20:.1f} MiB")
    figure(f"neighbours before: {idle}")
    figure(f"neighbours during: {busy}")
    assert memory.growth < 3 * MARK


async def test_with_max_buffering_a_stalled_consumer_finds_the_newest(server: LocalServer, figure: Any) -> None:
    await warmed_up(server, max_buffering=4)
    async with (
        Others(server) as others,
        server.client().connect("local/stream", streaming=True, max_buffering=4, **OPTIONS) as stalled,
    ):
        idle = await others.watch(asyncio.sleep(1))
        with Memory() as memory:
            start = time.monotonic()
            await stalled.send({"count": FRAMES, "size": SIZE})
            all_came = until(lambda: accounted(stalled)["received"] == FRAMES, "all frames", timeout=50 * SCALE)
            busy = await others.watch(all_came)
            took = time.monotonic() - start
        stats = accounted(stalled)
        assert (stats["delivered"], stats["received_dropped"], stats["received_pending"]) == (0, FRAMES - 4, 4)
        assert [result["index"] async for result in stalled] == list(range(FRAMES - 4, FRAMES))
        assert accounted(stalled)["delivered"] == 4
    figure(f"{FRAMES} frames in {took:.1f} s, memory +{memory.growth / 2**20:.1f} MiB")
    figure(f"neighbours before: {idle}")
    figure(f"neighbours during: {busy}")
    assert memory.growth < FLAT
