"""A line that is slow but alive."""

from __future__ import annotations

import time
from typing import Any

from checks import connect
from support import accounted
from support.raw_server import Raw, ScriptedServer

INTERVAL, TIMEOUT = 0.5, 1.5
SIZE = 24_000_000
RATE = 4_000_000
"""Bytes a second that the peer reads."""


def read_slowly(raw: Raw) -> None:
    """Take the message at a steady pace; says nothing."""
    raw.answer()
    started, taken = time.monotonic(), 0
    while taken < SIZE:
        taken += len(raw.sock.recv(100_000))
        time.sleep(max(0.0, started + taken / RATE - time.monotonic()))
    raw.linger()


async def test_a_large_message_on_a_slow_line_is_not_taken_for_the_loss_of_the_peer(figure: Any) -> None:
    with ScriptedServer(read_slowly) as server:
        limits = {
            "ping_interval": INTERVAL,
            "ping_timeout": TIMEOUT,
            "close_timeout": 0.2,
            "max_message_size": 64 << 20,
        }
        connection = connect(server.url, **limits)
        started = time.monotonic()
        async with connection:
            # Nothing comes back while this is under way, and a ping cannot pass it.
            await connection.send({"data": bytes(SIZE)})
            await connection.drain()
            took = time.monotonic() - started
            stats = accounted(connection)
    assert (stats["written"], stats["failed"], stats["reconnects"]) == (1, 0, 0)
    assert took > 2 * (INTERVAL + TIMEOUT), "the message was written too soon to show anything"
    figure(f"interval + timeout = {INTERVAL + TIMEOUT} s, written in {took:.1f} s")
