"""Reconnects without end leave no memory, descriptor or thread: FAL_REALTIME_SCALE=10 makes it 200,000.

The server is in this process, so that this holds for both sides.
"""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import Any

import pytest
from checks import descriptors, is_within, threads
from support import accounted, until
from support.scale import SCALE, scaled

from fal_realtime import ReconnectPolicy
from fal_realtime.testing import LocalServer

pytestmark = pytest.mark.timeout(300 * max(1.0, SCALE))

TOGETHER = 200
RECONNECTS = scaled(20_000)
WARM_UP = 20_000
"""Reconnects before the measuring: the server's record of its newest 10,000 handshakes is full then."""
FLAT = 4 * 1024 * 1024
"""Bytes by which the memory may grow: 200 B for each reconnect of the default run, 20 of the full one."""
OPTIONS: dict[str, Any] = {
    "throttle_interval": 0,
    "reconnect": ReconnectPolicy(initial_delay=0.005, max_delay=0.02, stable_after=0.0),
}


def resident() -> int:
    """Bytes of memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def reconnect(server: LocalServer, times: int) -> None:
    """Drop all connections and wait for their return, until there have been so many reconnects."""
    goal = server.connections_total + times
    while server.connections_total < goal:
        opened = server.connections_total + TOGETHER
        server.drop_connections(abrupt=True)
        await until(lambda least=opened: server.connections_total >= least, "the reconnects")
        await until(lambda: server.connections == TOGETHER, "all of them")


async def test_reconnects_leave_nothing(figure: Any) -> None:
    with LocalServer() as server:
        client = server.client()
        # With a token and with a key.
        connections = [client.connect("local/echo", use_jwt=n % 2 == 0, **OPTIONS) for n in range(TOGETHER)]
        for connection in connections:
            await connection.open()
        await reconnect(server, WARM_UP)
        before, resources = resident(), (descriptors(), threads())
        started = time.monotonic()
        await reconnect(server, RECONNECTS)
        took = time.monotonic() - started
        grown = resident() - before
        await until(lambda: is_within((descriptors(), threads()), resources), "descriptors and threads as before")
        for connection in connections:
            assert accounted(connection)["reconnects"] >= (WARM_UP + RECONNECTS) / TOGETHER - 1
            await connection.aclose()
    figure(
        f"{RECONNECTS} reconnects of {TOGETHER} connections in {took:.1f} s: memory {grown / 2**20:+.2f} MiB of "
        f"{before / 2**20:.0f}, descriptors and threads {resources} before and after"
    )
    assert grown < FLAT
