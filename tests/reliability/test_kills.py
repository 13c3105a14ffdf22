"""The server is killed under traffic, again and again: every message is accounted for, and nothing is left behind.

`FAL_REALTIME_KILLS` sets how often: 200 by default, 1,000 for the figure in docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from checks import connect, descriptors, once_and_in_order, percentile, threads
from support import LIMIT, accounted, until
from support.killable import KillableServer

from fal_realtime import ConnectionClosedError, ConnectionLostError, HandshakeError, ReconnectPolicy

KILLS = int(os.environ.get("FAL_REALTIME_KILLS", "200"))
CONNECTIONS = 4
POLICY = ReconnectPolicy(initial_delay=0.005, max_delay=0.05, stable_after=0.02)


class User:
    """Sends numbers and requests over a connection, and knows what became of each."""

    def __init__(self, connection: Any, number: int) -> None:
        self.connection = connection
        # Numbers of their own, so that the server's notes can be told apart.
        self.numbers = itertools.count(number * 10**12)
        self.sent: list[int] = []
        self.echoed: list[int] = []
        self.requests: Counter[str] = Counter()
        self.over = False

    async def send(self) -> None:
        while not self.over:
            n = next(self.numbers)
            await self.connection.send({"n": n, "body": b"x" * 500})
            self.sent.append(n)
            await asyncio.sleep(0.0005)

    async def request(self) -> None:
        while not self.over:
            n = next(self.numbers)
            try:
                answer = await self.connection.request({"n": n}, timeout=LIMIT)
                assert answer["n"] == n
                self.requests["answered"] += 1
            except ConnectionClosedError:
                self.requests["failed"] += 1
            self.sent.append(n)
            await asyncio.sleep(0.001)

    async def receive(self) -> None:
        while True:
            with contextlib.suppress(ConnectionLostError):
                self.echoed.append((await self.connection.recv())["n"])


async def run(server: KillableServer, kills: int) -> tuple[list[User], list[dict[str, int]], list[float]]:
    dice = random.Random(4)
    users = [User(connect(server.url, reconnect=POLICY), number) for number in range(1, CONNECTIONS + 1)]
    for user in users:
        await user.connection.open()
    senders = [asyncio.ensure_future(work()) for user in users for work in (user.send, user.request)]
    receivers = [asyncio.ensure_future(user.receive()) for user in users]
    times = []
    for _ in range(kills):
        await asyncio.sleep(dice.uniform(0.005, 0.03))
        server.kill()
        await asyncio.sleep(dice.uniform(0.0, 0.01))
        await asyncio.to_thread(server.start)
        times.append(await traffic_again(users, senders + receivers))
        for user in users:
            accounted(user.connection)
    stats = await finish(users, senders)
    for task in receivers:
        task.cancel()
    _, hanging = await asyncio.wait(receivers, timeout=LIMIT)
    assert not hanging
    for user in users:
        await asyncio.wait_for(user.connection.aclose(), LIMIT)
    return users, stats, times


async def traffic_again(users: list[User], traffic: list[asyncio.Future[None]]) -> float:
    """Wait until each connection has received something new; the seconds that it took."""
    started = time.monotonic()
    before = [user.connection.stats()["received"] for user in users]
    while any(user.connection.stats()["received"] == seen for user, seen in zip(users, before, strict=True)):
        assert time.monotonic() - started < LIMIT, "traffic did not come back"
        assert not [task for task in traffic if task.done() and task.exception()]
        await asyncio.sleep(0.001)
    return time.monotonic() - started


async def finish(users: list[User], senders: list[asyncio.Future[None]]) -> list[dict[str, int]]:
    """Let everything be sent and answered; the statistics then."""
    for user in users:
        user.over = True
    await asyncio.wait_for(asyncio.gather(*senders), LIMIT)
    stats = []
    for user in users:
        await asyncio.wait_for(user.connection.drain(), LIMIT)
        # Whatever was to come back before this has.
        await asyncio.wait_for(user.connection.request({"n": next(user.numbers)}), LIMIT)
        stats.append(dict(accounted(user.connection)))
    return stats


@pytest.mark.timeout(300 + KILLS)
async def test_kills_of_the_server_under_traffic(tmp_path: Path, figure: Any) -> None:
    with KillableServer(tmp_path / "notes") as server:
        # Whatever is made once and kept: the runtime's threads, descriptors of the loop.
        await run(server, 2)
        gc.collect()
        tasks, fds, native = len(asyncio.all_tasks()), descriptors(), threads()
        noted_before = len(server.received())

        users, stats, times = await run(server, KILLS)

        notes = server.received()[noted_before:]
        gc.collect()
        await until(lambda: descriptors() <= fds, "the sockets are gone")
        assert len(asyncio.all_tasks()) == tasks
        # Fewer is no leak: what earlier tests left may be gone by now.
        assert descriptors() <= fds
        assert threads() <= native

    arrived: dict[int, list[int]] = {}
    for _, n in notes:
        arrived.setdefault(n // 10**12, []).append(n)
    lost = 0
    for number, (user, counted) in enumerate(zip(users, stats, strict=True), start=1):
        received = arrived[number]
        # None twice. A request goes past the queue, and so in front of what waits in it; all else keeps its order.
        assert len(received) == len(set(received))
        assert counted["pending"] == 0
        assert counted["accepted"] == counted["written"] + counted["failed"]
        assert counted["accepted"] >= len(user.sent)
        # What did not arrive was written into a socket whose server was then killed, or torn.
        assert len(received) <= counted["written"] + counted["failed"]
        once_and_in_order(user.echoed)
        assert set(user.echoed) <= set(received)
        assert counted["reconnects"] >= KILLS
        lost += counted["accepted"] - len(received)
    total = Counter[str]()
    for counted in stats:
        total.update(counted)
    requests = sum((user.requests for user in users), Counter[str]())
    figure(
        f"{KILLS} kills, {CONNECTIONS} connections: {total['reconnects']} reconnects, {total['accepted']} accepted = "
        f"{total['written']} written + {total['failed']} failed, {lost} of them in a socket that died, "
        f"{total['received']} received; requests: {requests['answered']} answered, {requests['failed']} failed, "
        f"0 hanging; traffic again after p50 {percentile(times, 50) * 1000:.0f} ms, "
        f"p99 {percentile(times, 99) * 1000:.0f} ms; tasks, descriptors and threads as before ({fds}, {native})"
    )


async def test_a_thousand_connections_that_never_opened_leave_nothing(figure: Any) -> None:
    """Each is refused, and given up."""
    with pytest.raises(HandshakeError):
        await connect("ws://127.0.0.1:1")
    gc.collect()
    tasks, fds, native = len(asyncio.all_tasks()), descriptors(), threads()
    for _ in range(10):
        opened = await asyncio.gather(
            *(connect("ws://127.0.0.1:1")._open_or_close() for _ in range(100)), return_exceptions=True
        )
        assert {type(error) for error in opened} == {HandshakeError}
    gc.collect()
    await until(lambda: descriptors() <= fds, "the sockets are gone")
    assert len(asyncio.all_tasks()) == tasks
    assert threads() <= native
    figure(f"1,000 openings refused: {fds} descriptors and {native} threads before and after")
