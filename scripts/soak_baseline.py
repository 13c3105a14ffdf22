"""What a soak begins and ends with: all that is made once and then stays is there before anything is measured."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

from soak_report import descriptors, threads

from fal_realtime import HandshakeError
from fal_realtime.testing import LocalServer

RECORDS = 10_000
"""Handshakes that the local server remembers, the newest ones."""
AT_ONCE = 20


def fill_records(server: LocalServer) -> None:
    """Have so many openings refused that the server's record of handshakes is full.

    It would grow for as long as it takes to reconnect so often, which is not what a soak is to show.
    """
    # As in the traffic, since a record of either has its own size.
    credentials: tuple[dict[str, Any], ...] = ({"use_jwt": False}, {"token_provider": lambda _: "token"})

    async def be_refused(number: int) -> None:
        client = server.client()
        for _ in range(RECORDS // AT_ONCE):
            try:
                await client.connect("local/echo", reconnect=None, **credentials[number % 2])
            except HandshakeError as error:
                if error.status != 503:
                    raise

    async def all_of_them() -> None:
        await asyncio.gather(*map(be_refused, range(AT_ONCE)))

    server.refuse(503)
    asyncio.run(all_of_them())
    server.refuse(None)


def warm_up(server: LocalServer, options: dict[str, Any]) -> tuple[int, int]:
    """Descriptors and threads that stay when every connection is closed: the baseline for the end."""

    async def once() -> None:
        async with server.client().connect("local/echo", **options) as connection:
            await connection.request({"x": 1})
        await asyncio.to_thread(lambda: None)

    fill_records(server)
    asyncio.run(once())
    # The network thread watches the sockets of blocking connections by descriptors of its own, from the first one on.
    with server.sync_client().connect("local/echo", **options) as blocking:
        blocking.request({"x": 1})
    return settled_resources(server, (0, 0))


def settled_resources(server: LocalServer, wanted: tuple[int, int]) -> tuple[int, int]:
    """Descriptors and threads, as soon as they are what is wanted; after ten seconds what they are."""
    gc.collect()
    deadline = time.monotonic() + 10
    while (server.connections or (descriptors(), threads()) > wanted) and time.monotonic() < deadline:
        time.sleep(0.05)
        if wanted == (0, 0) and not server.connections and time.monotonic() > deadline - 4:
            break
    return descriptors(), threads()
