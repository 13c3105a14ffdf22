"""A message that is alone is written by the thread that sends it: the sleeping network thread is not roused for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_lifecycle.peer import PeerProcess

TASKS = Path("/proc/self/task")
MESSAGES = 100
BETWEEN = 0.003
"""Seconds between two messages: the network thread goes to sleep."""

pytestmark = pytest.mark.skipif(not TASKS.exists(), reason="how often a thread slept is read from /proc")


@pytest.fixture(scope="module")
def peer() -> Iterator[PeerProcess]:
    with PeerProcess(ping_interval=60, ping_timeout=60) as peer:
        yield peer


def sleeps() -> int:
    """How often the network threads of this process went to sleep."""
    count = 0
    for task in TASKS.iterdir():
        if (task / "comm").read_text().startswith("fal-realtime"):
            status = (task / "status").read_text()
            count += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return count


async def test_messages_one_by_one_do_not_rouse_the_network_thread(peer: PeerProcess) -> None:
    async with peer.connect() as connection:
        await connection.request({})
        before = sleeps()
        for _ in range(MESSAGES):
            await asyncio.sleep(BETWEEN)
            connection.send_nowait({"silent": True})
        roused = sleeps() - before
        assert (await connection.request({"n": MESSAGES}))["n"] == MESSAGES
    assert roused < MESSAGES / 4


def test_nor_do_those_of_the_blocking_client(peer: PeerProcess) -> None:
    with peer.connect_sync() as connection:
        connection.request({})
        before = sleeps()
        for _ in range(MESSAGES):
            time.sleep(BETWEEN)
            connection.send({"silent": True})
        roused = sleeps() - before
        assert connection.request({"n": MESSAGES})["n"] == MESSAGES
    assert roused < MESSAGES / 4


async def test_messages_at_once_are_left_to_the_network_thread(peer: PeerProcess) -> None:
    async with peer.connect() as connection:
        await connection.request({})
        await asyncio.sleep(BETWEEN)
        before = sleeps()
        for n in range(MESSAGES):
            connection.send_nowait({"silent": n < MESSAGES - 1, "n": n})
        assert (await connection.recv())["n"] == MESSAGES - 1
        assert sleeps() > before
        assert connection.stats()["written"] == MESSAGES + 1
