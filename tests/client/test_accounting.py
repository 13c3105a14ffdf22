"""`connection.stats()` accounts for every message, at every instant."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support import AppServer, Watcher, check, until

from fal_realtime import (
    BufferFullError,
    ConnectionClosedError,
    FalRealtimeError,
    RealtimeConnection,
    ReconnectPolicy,
    RequestTimeoutError,
)

OPERATIONS = 4000
SOON = ReconnectPolicy(initial_delay=0.01, max_delay=0.05)


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


CASES = [
    pytest.param(seed, {"throttle_interval": throttle, "max_buffering": buffering}, id=f"{throttle}ms-{buffering}")
    for seed, (throttle, buffering) in enumerate([(0, None), (1, None), (0, 3), (2, 5)])
]


@pytest.mark.parametrize(("seed", "options"), CASES)
async def test_the_equations_hold_after_each_of_thousands_of_random_operations(
    seed: int, options: dict[str, Any], peer: AppServer
) -> None:
    rng = random.Random(seed)
    connection = peer.connect(reconnect=SOON, on_error=lambda _: None, **options)
    background: set[asyncio.Task[Any]] = set()
    with Watcher(connection) as watcher:
        for n in range(OPERATIONS):
            if connection.state == "closed":
                connection = peer.connect(reconnect=SOON, on_error=lambda _: None, **options)
                watcher.connection = connection
            with contextlib.suppress(FalRealtimeError, asyncio.TimeoutError):
                await operate(rng, connection, n, background, peer)
            check(connection.stats())
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background, timeout=60)
        check(connection.stats())
        await connection.aclose()
    stats = check(connection.stats())
    assert stats["pending"] == 0
    while connection.stats()["received_pending"]:
        await connection.recv()
        check(connection.stats())


async def operate(
    rng: random.Random, connection: RealtimeConnection, n: int, background: set[asyncio.Task[Any]], peer: AppServer
) -> None:
    message = {"n": n, "pad": bytes(rng.choice([0, 10, 3000]))}
    choice = rng.random()
    if choice < 0.3:
        connection.send_nowait(message)
    elif choice < 0.55:
        await connection.send(message)
    elif choice < 0.7:
        await asyncio.wait_for(connection.recv(), rng.choice([0, 0.0005, 0.002]))
    elif choice < 0.8:
        await connection.request(message, timeout=rng.choice([0, 0.0005, 0.01]))
    elif choice < 0.85:
        task = asyncio.ensure_future(quietly(connection, message))
        background.add(task)
        task.add_done_callback(background.discard)
    elif choice < 0.88 and background:
        rng.choice(sorted(background, key=id)).cancel()
    elif choice < 0.95:
        await asyncio.sleep(rng.choice([0, 0.0005]))
    elif choice < 0.99:
        await asyncio.wait_for(connection.drain(), 0.002)
    elif choice < 0.998:
        peer.abort()
    else:
        connection.close()


async def quietly(connection: RealtimeConnection, message: Any) -> None:
    with contextlib.suppress(FalRealtimeError):
        await connection.request(message)


async def test_what_was_written_is_what_the_server_got(peer: AppServer) -> None:
    async with peer.connect(throttle_interval=2) as connection:
        peer.inputs.clear()
        for n in range(500):
            connection.send_nowait({"n": n})
            if n % 7 == 0:
                await asyncio.sleep(0.0005)
        await asyncio.wait_for(connection.drain(), 60)
        stats = check(connection.stats())
        assert stats["accepted"] == 500
        assert stats["coalesced"] > 0
        assert (stats["pending"], stats["dropped"], stats["failed"]) == (0, 0, 0)
        await until(lambda: len(peer.inputs) == stats["written"], "all that was written")
        assert peer.inputs[-1] == {"n": 499}
        await until(lambda: connection.stats()["received"] == stats["written"], "all answers")
        assert connection.stats()["bytes_received"] == stats["bytes_sent"]


async def test_what_cannot_be_sent_any_more_has_failed(peer: AppServer) -> None:
    peer.hold()
    try:
        connection = peer.connect()
        for n in range(10):
            connection.send_nowait({"n": n})
        assert connection.stats()["pending"] == 10
        await connection.aclose()
        stats = check(connection.stats())
        assert (stats["accepted"], stats["failed"], stats["pending"]) == (10, 10, 0)
    finally:
        peer.release()


async def test_a_full_ring_with_max_buffering_counts_what_it_drops(peer: AppServer) -> None:
    peer.hold()
    try:
        connection = peer.connect(max_buffering=4)
        for n in range(10):
            connection.send_nowait({"n": n})
        stats = check(connection.stats())
        assert (stats["accepted"], stats["dropped"], stats["pending"]) == (10, 6, 4)
    finally:
        peer.release()
    await asyncio.wait_for(connection.drain(), 60)
    await until(lambda: connection.stats()["received"] == 4, "the four answers")
    assert [(await connection.recv())["n"] for _ in range(4)] == [6, 7, 8, 9]
    await connection.aclose()
    assert check(connection.stats())["written"] == 4


class Books(RuleBasedStateMachine):
    """Any sequence of blocking operations; `hypothesis` looks for the shortest that breaks the books."""

    peer: AppServer
    options: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        # Losses are part of it, and nobody need be told of them.
        self.connection = self.peer.connect_sync(reconnect=SOON, on_error=lambda _: None, **self.options)

    @rule(size=st.sampled_from([0, 10, 100_000]))
    def send_nowait(self, size: int) -> None:
        with contextlib.suppress(BufferFullError, ConnectionClosedError):
            self.connection.send_nowait({"pad": bytes(size)})

    @rule(timeout=st.sampled_from([0, 0.001, 1]))
    def send(self, timeout: float) -> None:
        with contextlib.suppress(RequestTimeoutError, ConnectionClosedError):
            self.connection.send({"n": 1}, timeout=timeout)

    @rule(timeout=st.sampled_from([0, 0.001, 0.05]), after=st.sampled_from([None, 0.005]))
    def request(self, timeout: float, after: float | None) -> None:
        extra = {} if after is None else {"after": after}
        with contextlib.suppress(RequestTimeoutError, ConnectionClosedError, BufferFullError):
            self.connection.request({"n": 2, **extra}, timeout=timeout)

    @rule(timeout=st.sampled_from([0, 0.001, 0.02]))
    def recv(self, timeout: float) -> None:
        with contextlib.suppress(RequestTimeoutError, ConnectionClosedError):
            self.connection.recv(timeout=timeout)

    @rule(count=st.integers(1, 20))
    def results(self, count: int) -> None:
        with contextlib.suppress(ConnectionClosedError, BufferFullError):
            self.connection.send_nowait({"count": count})

    @rule()
    def drain(self) -> None:
        with contextlib.suppress(RequestTimeoutError):
            self.connection.drain(timeout=0.05)

    @rule()
    def kill(self) -> None:
        self.peer.abort()

    @rule()
    def reopen(self) -> None:
        self.connection.close()
        assert check(self.connection.stats())["pending"] == 0
        self.connection = self.peer.connect_sync(reconnect=SOON, on_error=lambda _: None, **self.options)

    @invariant()
    def books_balance(self) -> None:
        check(self.connection.stats())

    def teardown(self) -> None:
        self.connection.close()
        assert check(self.connection.stats())["pending"] == 0


@pytest.mark.parametrize("options", [{}, {"max_buffering": 2}, {"throttle_interval": 3}], ids=str)
def test_no_sequence_of_blocking_operations_breaks_the_equations(options: dict[str, Any], peer: AppServer) -> None:
    machine = type("Case", (Books,), {"peer": peer, "options": options})
    quick = settings(
        max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=quick)  # type: ignore[no-untyped-call]
