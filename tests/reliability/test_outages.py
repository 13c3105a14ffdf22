"""Servers that are away: how soon it is noticed, how soon they are found again, and that they are left in peace.

A minute of outage with FAL_REALTIME_SCALE=10.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from checks import connect, delays_of, percentile
from support import LIMIT, accounted, until
from support.echo import EchoServer
from support.fault_proxy import FaultProxy, http_answer
from support.scale import SCALE

from fal_realtime import HandshakeError, ReconnectPolicy

OUTAGE = min(60.0, 6.0 * SCALE)
"""Seconds that a server is down."""
TOGETHER = 10
"""Connections that lose it."""


# --- half-open peers, and how fast it comes back ---


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "sending"])
async def test_a_half_open_peer_is_detected(server: EchoServer, proxy: FaultProxy, busy: bool, figure: Any) -> None:
    interval = timeout = 0.25
    times = []
    for _ in range(4):
        async with connect(proxy.url, ping_interval=interval, ping_timeout=timeout) as connection:
            await connection.request({"n": 0})
            proxy.freeze()
            frozen = time.monotonic()
            while connection.state == "active":
                assert time.monotonic() - frozen < LIMIT
                if busy:
                    await connection.send({"n": 1, "silent": True})
                await asyncio.sleep(0.005)
            times.append(time.monotonic() - frozen)
            accounted(connection)
            proxy.thaw()
    figure(f"interval + timeout = {interval + timeout} s: detected after {min(times):.2f} to {max(times):.2f} s")


async def test_a_slow_peer_that_answers_is_not_given_up(server: EchoServer, proxy: FaultProxy) -> None:
    proxy.faults.latency = 0.1
    async with connect(proxy.url, ping_interval=0.1, ping_timeout=0.4) as connection:
        await connection.request({"n": 0})
        await asyncio.sleep(1.5)
        assert connection.state == "active"
        assert connection.stats()["reconnects"] == 0


async def test_after_healing_it_reconnects_within_the_cap(
    server: EchoServer, proxy: FaultProxy, figure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fal_realtime")
    policy = ReconnectPolicy(initial_delay=0.02, max_delay=0.2, max_fruitless=None)
    dice = random.Random(2)
    times = []
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.open()
        for _ in range(50):
            proxy.refuse()
            proxy.reset()
            await until(lambda: connection.state != "active", "the loss")
            await asyncio.sleep(dice.uniform(0.0, 0.1))
            proxy.listen()
            times.append(await until(lambda: connection.state == "active", "the reconnect"))
        accounted(connection)
    assert 0 < max(delays_of(caplog)) <= policy.max_delay
    figure(
        f"cap {policy.max_delay} s, 50 outages: p50 {percentile(times, 50):.3f} s, p99 {percentile(times, 99):.3f} s"
    )


# --- a server that is down is not hammered ---


@pytest.mark.timeout(300 + OUTAGE)
@pytest.mark.parametrize("down", ["refusing", "resetting"])
async def test_a_server_that_is_down_is_not_hammered(
    server: EchoServer, proxy: FaultProxy, down: str, figure: Any
) -> None:
    """Several connections under the default policy, each with a message that waits; every attempt is counted."""
    attempts: list[list[float]] = [[] for _ in range(TOGETHER)]

    def counting(mine: list[float]) -> Callable[[str], None]:
        return lambda state: mine.append(time.monotonic()) if state == "connecting" else None

    connections = [connect(proxy.url, reconnect=ReconnectPolicy(), on_state_change=counting(mine)) for mine in attempts]
    for connection in connections:
        await connection.request({"n": 0})
    for mine in attempts:
        mine.clear()
    accepted = len(proxy.attempts)
    if down == "refusing":
        proxy.refuse()
    else:
        proxy.faults.answer = b""
    started = time.monotonic()
    proxy.reset()
    for connection in connections:
        await until(lambda it=connection: it.state != "active", "the loss")
        await connection.send({"n": 1})
    await asyncio.sleep(OUTAGE)
    counts = [len(mine) for mine in attempts]
    # Of the delays, half of their bound on average, 4 or 5 fit into 6 s, and 8 or 9 into a minute.
    assert min(counts) >= 1
    assert max(counts) <= 20
    if down == "resetting":
        # What a connection calls an attempt is one for the server, and there are no others; some may be under way.
        assert abs(len(proxy.attempts) - accepted - sum(counts)) <= TOGETHER
    for connection in connections:
        assert connection.state in ("waiting", "connecting")
        stats = accounted(connection)
        assert (stats["written"], stats["pending"], stats["failed"]) == (1, 1, 0)
        await connection.aclose()
        assert accounted(connection)["failed"] == 1
    moments = sorted(itertools.chain.from_iterable(attempts))
    last = sum(moment > started + OUTAGE / 2 for moment in moments)
    figure(
        f"{TOGETHER} connections, {OUTAGE:.0f} s of outage: {sum(counts)} attempts, {min(counts)} to {max(counts)} of "
        f"each; {last} of them in the second half"
    )


async def test_a_server_that_accepts_and_drops_is_not_hammered(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    """A successful handshake does not set the delays back; only a connection that lives for `stable_after` does."""
    policy = ReconnectPolicy(initial_delay=0.05, max_delay=30, stable_after=10)
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.request({"n": 0})
        proxy.faults.down_limit = 200
        proxy.reset()
        await asyncio.sleep(3)
        attempts = len(proxy.attempts) - 1
        assert 1 <= attempts <= 20
    figure(f"{attempts} attempts in 3 s with a first delay of at most 0.05 s")


async def test_every_delay_keeps_to_the_schedule(server: EchoServer, proxy: FaultProxy, figure: Any) -> None:
    policy = ReconnectPolicy(initial_delay=0.05, max_delay=0.4, factor=2, max_attempts=12)
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.request({"n": 0})
        proxy.faults.answer = http_answer(503)
        proxy.reset()
        lost = time.monotonic()
        with pytest.raises(HandshakeError) as raised:
            await asyncio.wait_for(connection.recv(), LIMIT)
        assert raised.value.status == 503
    moments = [lost, *proxy.attempts[1:]]
    delays = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(delays) == 12
    for n, delay in enumerate(delays):
        assert delay <= min(0.4, 0.05 * 2**n) + 0.1, delays
    figure(f"delays of {', '.join(f'{delay:.2f}' for delay in delays)} s")
