"""Real threads at once, switched as often as Python can: what they share stays whole.

With the GIL they take turns, at any instruction of Python; without it they would run side by side.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import OPTIONS, AppServer

from fal_realtime import BufferFullError, ConnectionClosedError, msgpack

THREADS = 8
ROUNDS = 500


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """What the work gives in so many threads, which begin together."""
    together = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        together.wait(10)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS), timeout=50))


def adds_up(stats: Any) -> bool:
    ends = ("written", "coalesced", "dropped", "failed", "withdrawn", "pending")
    return stats["accepted"] == sum(stats.get(end, 0) for end in ends)


def test_threads_encode_and_decode_the_same_objects() -> None:
    value = {f"key {n}": [n, {"nested": b"\x00" * n, "text": "é" * n}] for n in range(50)}
    packed = msgpack.encode(value)

    def work(_: int) -> bool:
        return all(msgpack.encode(value) == packed and msgpack.decode(packed) == value for _ in range(ROUNDS))

    assert at_once(work) == [True] * THREADS


def test_threads_with_a_connection_each_share_one_client(peer: AppServer) -> None:
    client = peer.sync_client()

    def work(thread: int) -> list[int]:
        with client.connect("local/echo", **OPTIONS) as connection:
            return [connection.request({"thread": thread, "n": n}, timeout=60)["n"] for n in range(ROUNDS)]

    assert at_once(work) == [list(range(ROUNDS))] * THREADS


def test_threads_share_one_blocking_connection(peer: AppServer) -> None:
    """Each result goes to one receiver, each answer to whoever asked, and the accounts add up at every instant."""
    received: list[tuple[int, int]] = []

    with peer.connect_sync() as connection:

        def work(thread: int) -> list[int]:
            answers = []
            for n in range(ROUNDS):
                connection.send({"thread": thread, "n": n})
                assert adds_up(connection.stats())
                answers.append(connection.request({"thread": thread, "asked": n}, timeout=60)["asked"])
                result = connection.recv(timeout=60)
                received.append((result["thread"], result["n"]))
            return answers

        assert at_once(work) == [list(range(ROUNDS))] * THREADS
        assert Counter(received) == Counter((thread, n) for thread in range(THREADS) for n in range(ROUNDS))
        assert connection.stats()["received_pending"] == 0


def test_one_thread_closes_what_the_others_wait_on(peer: AppServer) -> None:
    for _ in range(20):
        connection = peer.connect_sync()
        connection.open()

        def work(thread: int, connection: Any = connection) -> str:
            if thread == 0:
                connection.close()
                return "closed"
            with pytest.raises(ConnectionClosedError):
                connection.recv(timeout=60) if thread % 2 else connection.request({"silent": True}, timeout=60)
            return "told"

        assert at_once(work) == ["closed"] + ["told"] * (THREADS - 1)


async def test_threads_send_into_the_connection_of_a_loop_that_receives(peer: AppServer) -> None:
    loop = asyncio.get_running_loop()
    async with peer.connect() as connection:

        def work(thread: int) -> int:
            sent = 0
            while sent < ROUNDS:
                try:
                    connection.send_nowait({"thread": thread, "n": sent})
                    sent += 1
                except BufferFullError:
                    pass
                assert adds_up(connection.stats())
            return sent

        sending = loop.run_in_executor(None, at_once, work)
        received = [await asyncio.wait_for(connection.recv(), 20) for _ in range(THREADS * ROUNDS)]
        assert await sending == [ROUNDS] * THREADS
        for thread in range(THREADS):
            assert [result["n"] for result in received if result["thread"] == thread] == list(range(ROUNDS))
