"""While Python is busy the network thread goes on: it answers pings and takes in results."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support import AppServerProcess

from fal_realtime import RealtimeConnection
from fal_realtime.testing import LocalServer

EVERY = 0.01


@pytest.fixture(scope="module")
def pinging_peer() -> Iterator[AppServerProcess]:
    """It hangs up one second after a ping that was not answered."""
    with AppServerProcess(ping_interval=0.5, ping_timeout=1) as peer:
        yield peer


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


def hold_the_gil(seconds: float) -> None:
    # Unlike CDLL, PyDLL calls with the GIL held: as an extension does that computes without releasing it.
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def hold_the_gil_in_another_thread(seconds: float) -> None:
    """A computation that is never asked to let others run."""
    interval = sys.getswitchinterval()
    started = threading.Event()

    def compute() -> None:
        until = time.monotonic() + seconds
        started.set()
        while time.monotonic() < until:
            pass

    thread = threading.Thread(target=compute)
    sys.setswitchinterval(seconds * 10)
    try:
        thread.start()
        started.wait()
        thread.join()
    finally:
        sys.setswitchinterval(interval)


WAYS = [
    pytest.param(block_the_loop, 3, id="the loop is blocked"),
    pytest.param(hold_the_gil, 2.2, id="the GIL is held"),
    pytest.param(hold_the_gil_in_another_thread, 2.2, id="another thread holds the GIL"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="usleep is POSIX")
@pytest.mark.parametrize(("block", "seconds"), WAYS)
async def test_pings_are_answered_and_results_arrive_while_python_is_busy(
    block: Callable[[float], None], seconds: float, pinging_peer: AppServerProcess
) -> None:
    count = int((seconds + 0.3) / EVERY)
    async with pinging_peer.connect(reconnect=None, ping_interval=0.4, ping_timeout=1) as connection:
        await connection.send({"count": count, "every": EVERY})
        first = await connection.recv()
        block(seconds)
        # Before the loop has had a turn.
        arrived = connection.stats()["received"]
        assert arrived > 0.8 * seconds / EVERY, f"only {arrived} results came while Python was busy"
        assert connection.state == "active"
        results = [first] + [await connection.recv() for _ in range(count - 1)]
        assert [result["n"] for result in results] == list(range(count))
        await answers(connection)


@pytest.mark.skipif(sys.platform == "win32", reason="usleep is POSIX")
@pytest.mark.parametrize(("block", "seconds"), WAYS)
async def test_tokens_are_renewed_and_pings_are_sent_while_python_is_busy(
    block: Callable[[float], None], seconds: float
) -> None:
    with LocalServer() as server:
        options = {"token_expiration_seconds": 1, "ping_interval": 0.2}
        async with server.client().connect("local/echo", **options) as connection:
            tokens, pings = server.tokens_minted, server.pings_received
            block(seconds)
            # Before the loop has had a turn: one token in 0.9 s, one ping in 0.2 s.
            assert server.tokens_minted - tokens >= int(seconds / 0.9) - 1
            assert server.pings_received - pings > 0.5 * seconds / 0.2
            await answers(connection)


async def answers(connection: RealtimeConnection) -> None:
    """It is the same socket still."""
    assert (await connection.request({"still": "there"}, timeout=60))["still"] == "there"
    assert connection.stats()["reconnects"] == 0


async def test_callbacks_come_in_order_after_the_loop_was_blocked(pinging_peer: AppServerProcess) -> None:
    came: list[int] = []
    async with pinging_peer.connect(on_result=lambda result: came.append(result["n"])) as connection:
        await connection.send({"count": 500})
        block_the_loop(0.3)
        assert connection.stats()["received"] == 500
        assert not came
        for _ in range(100):  # a bounded number of callbacks a turn of the loop
            await asyncio.sleep(0)
        assert came == list(range(500))


async def test_what_callbacks_have_sent_leaves_though_the_last_of_them_blocks(pinging_peer: AppServerProcess) -> None:
    came: list[int] = []
    left: list[int] = []
    done = asyncio.Event()

    def on_result(result: dict[str, int]) -> None:
        came.append(result["n"])
        if len(came) % 5:
            connection.send_nowait({"count": 0})
            return
        block_the_loop(0.3)
        left.append(connection.stats()["pending"])
        if len(came) == 20:
            done.set()

    async with pinging_peer.connect(on_result=on_result, throttle_interval=0) as connection:
        await connection.send({"count": 20})
        await asyncio.wait_for(done.wait(), 20)
    assert left == [0] * 4


async def test_what_was_sent_in_a_row_leaves_though_the_loop_is_blocked_then(pinging_peer: AppServerProcess) -> None:
    async with pinging_peer.connect(throttle_interval=0) as connection:
        for rows in range(1, 5):
            for _ in range(5 * rows):
                connection.send_nowait({"count": 0})
            block_the_loop(0.3)
            assert connection.stats()["pending"] == 0


async def test_what_another_thread_sends_in_a_row_leaves_though_the_loop_is_blocked(
    pinging_peer: AppServerProcess,
) -> None:
    async with pinging_peer.connect(throttle_interval=0) as connection:

        def send() -> None:
            for _ in range(20):
                connection.send_nowait({"count": 0})
            time.sleep(0.3)

        await connection.send({"count": 0})
        thread = threading.Thread(target=send)
        thread.start()
        thread.join()  # the loop is blocked meanwhile
        assert connection.stats()["pending"] == 0


def test_the_blocking_client_s_peer_is_answered_while_nobody_calls_it(pinging_peer: AppServerProcess) -> None:
    with pinging_peer.connect_sync(reconnect=None) as connection:
        connection.send({"count": 100, "every": 0.02})
        hold_the_gil(2.2)
        assert connection.stats()["received"] == 100
        assert [connection.recv(timeout=60)["n"] for _ in range(100)] == list(range(100))
        assert connection.state == "active"
