"""The books hold through every way in which sessions begin and end, whatever is under way, in any threads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support import AppServer, Watcher, check

from fal_realtime import (
    FalRealtimeError,
    RealtimeConnection,
    ReconnectPolicy,
    SyncRealtimeConnection,
)

LARGEST = 200_000
"""Bytes that the server takes; it closes with 1009 above that."""
MOST_STREAMS = 100
"""More than can have ended one after the other."""
SOON = ReconnectPolicy(initial_delay=0.005, max_delay=0.02)
TIMEOUT = json.dumps({"type": "x-fal-error", "error": "TIMEOUT", "reason": "no inputs, reconnect when needed!"})
UNAUTHORIZED = json.dumps({"status": "error", "error": "Unauthorized"})
INVALID = json.dumps({"type": "x-fal-error", "error": "INVALID_INPUT", "reason": "no such field"})
FAILED = json.dumps({"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "it raised"})

ENDINGS: list[dict[str, Any]] = [
    {"abort": True},
    {"say": TIMEOUT},
    {"say": TIMEOUT, "close": 1000},
    {"say": UNAUTHORIZED},
    {"say": UNAUTHORIZED, "close": 1008},
    {"say": FAILED, "close": 1011},
    {"say": INVALID},
    *({"close": code} for code in (1000, 1001, 1008, 1011, 1012, 4000)),
    {"pad": bytes(LARGEST)},
]
"""Inputs that make the server end the session, or say that something went wrong."""

OPTIONS: list[dict[str, Any]] = [
    {},
    {"streaming": True},
    {"max_buffering": 3},
    {"throttle_interval": 2},
    {"reconnect": None},
]


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer(max_size=LARGEST) as peer:
        yield peer


def with_tokens(options: dict[str, Any]) -> dict[str, Any]:
    """A refusal then leads to a fresh token, and to the messages being sent again."""
    return {"use_jwt": True, "token_provider": lambda _: "token", "reconnect": SOON, **options}


class Session(RuleBasedStateMachine):
    """Any sequence of calls and endings; what is under way in threads crosses them."""

    peer: AppServer
    options: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        self.connection = self.peer.connect_sync(**with_tokens(self.options))
        self.sent = self.attempts = self.taken = 0

    def count(self, name: str) -> None:
        with self.lock:
            setattr(self, name, getattr(self, name) + 1)

    def put(self, put: Callable[[], object]) -> None:
        self.count("attempts")
        with contextlib.suppress(FalRealtimeError):
            put()
            self.count("sent")

    def take(self, take: Callable[[], object]) -> None:
        with contextlib.suppress(FalRealtimeError):
            take()
            self.count("taken")

    def ask(self, message: dict[str, Any], timeout: float) -> None:
        """A request is accepted, and its answer taken, or neither may be."""
        self.count("attempts")
        with contextlib.suppress(FalRealtimeError):
            self.connection.request(message, timeout=timeout)
            self.count("taken")
            self.count("sent")

    @rule(size=st.sampled_from([0, 10, 100_000]))
    def send_nowait(self, size: int) -> None:
        self.put(lambda: self.connection.send_nowait({"pad": bytes(size)}))

    @rule(timeout=st.sampled_from([0, 0.001, 1]))
    def send(self, timeout: float) -> None:
        self.put(lambda: self.connection.send({"n": 1}, timeout=timeout))

    @rule(ending=st.sampled_from(ENDINGS), count=st.integers(0, 3))
    def end(self, ending: dict[str, Any], count: int) -> None:
        """The session ends, with so many messages behind what ends it."""
        for message in (ending, *({"n": n} for n in range(count))):
            self.put(lambda message=message: self.connection.send_nowait(message))  # type: ignore[misc]

    @rule(timeout=st.sampled_from([0, 0.001, 0.05]), after=st.sampled_from([None, 0.005]))
    def request(self, timeout: float, after: float | None) -> None:
        self.ask({"n": 2} if after is None else {"n": 2, "after": after}, timeout)

    @rule(ending=st.sampled_from(ENDINGS))
    def request_and_end(self, ending: dict[str, Any]) -> None:
        """A request is under way, in another thread, while the session ends."""
        self.in_thread(0.1)
        self.put(lambda: self.connection.send_nowait(ending))

    @rule(timeout=st.sampled_from([0.001, 0.02]))
    def in_thread(self, timeout: float) -> None:
        thread = threading.Thread(target=self.ask, args=({"n": 3, "after": 0.005}, timeout))
        self.threads.append(thread)
        thread.start()

    @rule(count=st.integers(1, 20))
    def strays(self, count: int) -> None:
        self.put(lambda: self.connection.send_nowait({"strays": count}))

    @rule(timeout=st.sampled_from([0, 0.001, 0.02]))
    def recv(self, timeout: float) -> None:
        self.take(lambda: self.connection.recv(timeout=timeout))

    @rule(status=st.sampled_from([401, 403, 429, 503]))
    def refuse(self, status: int) -> None:
        self.peer.refusals.append(status)

    @rule()
    def drain(self) -> None:
        with contextlib.suppress(FalRealtimeError):
            self.connection.drain(timeout=0.05)

    @rule()
    def reopen(self) -> None:
        self.settle()
        self.begin()

    @invariant()
    def the_books_hold(self) -> None:
        check(self.connection.stats())

    def settle(self) -> None:
        """Nothing is open at the end, and everything that was given to somebody was given once."""
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()
        self.threads.clear()
        self.peer.refusals.clear()
        self.connection.close()
        while check(self.connection.stats())["received_pending"]:
            self.take(lambda: self.connection.recv(timeout=60))
        self.hear_how_it_ended()
        stats = check(self.connection.stats())
        assert stats["pending"] == 0
        assert stats["delivered"] == self.taken
        assert self.sent <= stats["accepted"] <= self.attempts

    def hear_how_it_ended(self) -> None:
        """What was lost, and the end of each stream, is raised once, the end again and again.

        What nobody hears of is reported later.
        """
        last, times = "", 0
        while times < MOST_STREAMS:
            with pytest.raises(FalRealtimeError) as raised:
                self.connection.recv(timeout=60)
            said = f"{type(raised.value)}: {raised.value}"
            last, times = said, times + 1 if said == last else 0

    def teardown(self) -> None:
        self.settle()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_sequence_of_calls_and_endings_breaks_the_equations(options: dict[str, Any], peer: AppServer) -> None:
    machine = type("Case", (Session,), {"peer": peer, "options": options})
    quick = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=quick)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_equations_hold_at_every_instant_while_threads_work_and_sessions_end(
    options: dict[str, Any], peer: AppServer
) -> None:
    reconnects = sum(by_threads(seed, options, peer) for seed in range(6))
    assert reconnects or options == {"reconnect": None}


def by_threads(seed: int, options: dict[str, Any], peer: AppServer) -> int:
    """The life of a connection in four threads; how often it was opened again."""
    connection = peer.connect_sync(on_error=lambda _: None, **with_tokens({**options, "reconnect": forever(options)}))
    taken = [0] * 4

    def work(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        for n in range(80):
            with contextlib.suppress(FalRealtimeError):
                taken[number] += operate_blocking(rng, connection, n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(taken))]
    with Watcher(connection):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
            assert not thread.is_alive()
        connection.close()
    while check(connection.stats())["received_pending"]:
        with contextlib.suppress(FalRealtimeError):
            connection.recv(timeout=60)
            taken[0] += 1
    stats = check(connection.stats())
    assert stats["pending"] == 0
    assert stats["delivered"] == sum(taken)
    return stats["reconnects"]


def forever(options: dict[str, Any]) -> ReconnectPolicy | None:
    """Fruitless sessions are the point here."""
    policy = ReconnectPolicy(initial_delay=0.005, max_delay=0.02, max_fruitless=None)
    return options.get("reconnect", policy)


def operate_blocking(rng: random.Random, connection: SyncRealtimeConnection, n: int) -> int:
    """One call; how many results it took."""
    match rng.choices(["send_nowait", "send", "recv", "request", "strays", "end"], [6, 6, 6, 6, 1, 1])[0]:
        case "send_nowait":
            connection.send_nowait({"n": n, "pad": bytes(rng.choice([0, 10, 3000]))})
        case "send":
            connection.send({"n": n}, timeout=rng.choice([0, 0.01]))
        case "recv":
            connection.recv(timeout=rng.choice([0, 0.001, 0.005]))
            return 1
        case "request":
            connection.request({"n": n}, timeout=rng.choice([0, 0.001, 0.02]))
            return 1
        case "strays":
            connection.send_nowait({"strays": rng.randrange(20)})
        case _:
            connection.send_nowait(rng.choice(ENDINGS))
    return 0


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_the_equations_hold_at_every_instant_while_calls_are_cancelled_and_sessions_end(
    options: dict[str, Any], peer: AppServer
) -> None:
    reconnects = sum([await by_tasks(seed, options, peer) for seed in range(6)])
    assert reconnects or options == {"reconnect": None}


async def by_tasks(seed: int, options: dict[str, Any], peer: AppServer) -> int:
    """The life of a connection in tasks that are cancelled; how often it was opened again."""
    rng = random.Random(seed)
    connection = peer.connect(on_error=lambda _: None, **with_tokens({**options, "reconnect": forever(options)}))
    under_way: set[asyncio.Task[int]] = set()
    taken = 0
    with Watcher(connection):
        for n in range(300):
            task = asyncio.ensure_future(operate(rng, connection, n))
            under_way.add(task)
            if rng.random() < 0.3:
                rng.choice(sorted(under_way, key=id)).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(rng.choice([0, 0.0005]))
            taken += take_done(under_way)
            check(connection.stats())
        await connection.aclose()
        if under_way:
            await asyncio.wait(under_way, timeout=60)
        taken += take_done(under_way)
        assert not under_way
    while check(connection.stats())["received_pending"]:
        with contextlib.suppress(FalRealtimeError):
            await connection.recv()
            taken += 1
    stats = check(connection.stats())
    assert stats["pending"] == 0
    assert stats["delivered"] == taken
    return stats["reconnects"]


def take_done(under_way: set[asyncio.Task[int]]) -> int:
    done = {task for task in under_way if task.done()}
    under_way -= done
    return sum(task.result() for task in done if not task.cancelled())


async def operate(rng: random.Random, connection: RealtimeConnection, n: int) -> int:
    """One call; how many results it took."""
    with contextlib.suppress(FalRealtimeError):
        match rng.choices(["send_nowait", "send", "recv", "request", "strays", "end"], [6, 6, 6, 6, 1, 1])[0]:
            case "send_nowait":
                connection.send_nowait({"n": n, "pad": bytes(rng.choice([0, 10, 3000]))})
            case "send":
                await connection.send({"n": n})
            case "recv":
                await connection.recv()
                return 1
            case "request":
                await connection.request({"n": n, "after": 0.001}, timeout=rng.choice([0, 0.001, 0.02]))
                return 1
            case "strays":
                connection.send_nowait({"strays": rng.randrange(20)})
            case _:
                connection.send_nowait(rng.choice(ENDINGS))
    return 0
