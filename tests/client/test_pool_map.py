"""`pool.map`: each input has one outcome, no more is pulled than there is room for, and nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random

import pytest
from support import Peer, Session, result_of

from fal_realtime import (
    ConnectionClosedError,
    ConnectionLostError,
    EncodeError,
    HandshakeError,
    RealtimeError,
    ReconnectPolicy,
    RequestTimeoutError,
)
from fal_realtime.pool import Outcome, Progress
from fal_realtime.testing import LocalServer

APP = "fal-ai/fast-lcm-diffusion"
QUICK = ReconnectPolicy(initial_delay=0.01, max_delay=0.05)


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


def inputs(count: int) -> list[dict]:
    return [{"n": n} for n in range(count)]


async def taken(outcomes) -> list[Outcome]:
    """All of them."""
    return await result_of(collected(outcomes))


async def collected(outcomes) -> list[Outcome]:
    return [outcome async for outcome in outcomes]


async def into(seen: list[Outcome], outcomes) -> None:
    """Put them into a list, whatever they end with."""
    async for outcome in outcomes:
        seen.append(outcome)  # noqa: PERF401


async def until(condition) -> None:
    """Wait until the condition holds for what a map says of itself."""

    async def hold() -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    await result_of(hold())


def at_random(server: LocalServer) -> None:
    """Serve `me/random`, which takes its time and fails now and then."""
    dice = random.Random(7)

    @server.app("me/random")
    async def handler(message):
        await asyncio.sleep(dice.uniform(0, 0.004))
        if message["n"] % 10 == 3:
            raise ValueError(message["n"])
        return message


def adds_up(progress: Progress) -> None:
    assert progress.pulled == progress.ok + progress.failed + progress.in_flight, progress


# --- outcomes ---


async def test_outcomes_come_in_the_order_of_the_inputs(server):
    at_random(server)
    async with server.client().pool("me/random", size=4, reconnect=QUICK) as pool:
        outcomes = await taken(pool.map(inputs(60)))
    assert [outcome.index for outcome in outcomes] == list(range(60))
    for outcome in outcomes:
        assert outcome.input == {"n": outcome.index}
        assert outcome.ok is (outcome.index % 10 != 3)
        assert outcome.attempts == 1
        assert outcome.latency > 0
        if outcome.ok:
            assert outcome.unwrap()["n"] == outcome.index
        else:
            with pytest.raises(RealtimeError, match="INTERNAL_ERROR"):
                outcome.unwrap()


async def test_or_as_they_come():
    def script(session: Session) -> None:
        while True:
            message = session.recv()
            if message["n"] == 0:
                session.fence()
                peer.wait(lambda: len(peer.inputs) == 20)
            session.send(message)

    with Peer(script) as peer:
        async with peer.client().pool(APP, size=2) as pool:
            outcomes = await taken(pool.map(inputs(20), ordered=False))
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))
    assert outcomes[-1].index in (0, 19)
    assert outcomes[0].index != 0


@pytest.mark.parametrize("ordered", [True, False])
async def test_the_inputs_may_come_asynchronously(server, ordered):
    async def given():
        for message in inputs(50):
            await asyncio.sleep(0)
            yield message

    async with server.client().pool("local/echo", size=3) as pool:
        outcomes = await taken(pool.map(given(), ordered=ordered))
    assert sorted(outcome.result["n"] for outcome in outcomes) == list(range(50))


async def test_an_input_that_cannot_be_sent_is_an_outcome(server):
    async with server.client().pool("local/echo", size=2) as pool:
        outcomes = await taken(pool.map([{"n": 0}, "no map", {"n": object()}, {"n": 3}]))
    assert [type(outcome.error) for outcome in outcomes] == [type(None), EncodeError, EncodeError, type(None)]


async def test_no_inputs_give_no_outcomes(server):
    async with server.client().pool("local/echo", size=2) as pool:
        assert await taken(pool.map([])) == []


async def test_what_may_be_repeated_is_and_the_attempts_are_counted():
    def loses_first_input(session: Session) -> None:
        session.recv()
        session.drop()

    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().pool(APP, size=1, reconnect=QUICK) as pool:
            outcomes = await taken(pool.map(inputs(5), retries=3, idempotent=True))
            assert [outcome.attempts for outcome in outcomes] == [2, 1, 1, 1, 1]
            assert all(outcome.ok for outcome in outcomes)
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().pool(APP, size=1, reconnect=QUICK) as pool:
            outcomes = await taken(pool.map(inputs(5), retries=3))
            assert [type(outcome.error) for outcome in outcomes] == [ConnectionLostError] + 4 * [type(None)]


async def test_each_input_has_its_own_timeout():
    def script(session: Session) -> None:
        while True:
            message = session.recv()
            if message["n"] != 1:
                session.send(message)

    with Peer(script) as peer:
        async with peer.client().pool(APP, size=2, depth=10) as pool:
            outcomes = await taken(pool.map(inputs(10), timeout=0.2))
    assert [outcome.index for outcome in outcomes if isinstance(outcome.error, RequestTimeoutError)] == [1]


# --- progress and room ---


@pytest.mark.parametrize("ordered", [True, False])
async def test_the_accounts_hold_at_each_step(server, ordered):
    at_random(server)
    steps = []

    def step(progress: Progress) -> None:
        adds_up(progress)
        steps.append(progress)

    def given():
        for message in inputs(80):
            step(outcomes.progress)
            yield message

    async with server.client().pool("me/random", size=3, depth=2, reconnect=QUICK) as pool:
        outcomes = pool.map(given(), ordered=ordered, on_progress=step)
        taken_so_far = 0
        async for outcome in outcomes:
            step(outcomes.progress)
            taken_so_far += 1
            assert outcomes.progress.pulled >= taken_so_far
            assert isinstance(outcome, Outcome)
    assert max(progress.in_flight for progress in steps) == 6
    failed = 80 - sum(progress.ok for progress in steps[-1:])
    assert outcomes.progress == Progress(80, 80 - failed, failed, 0, None)
    assert failed >= 8


async def test_the_total_is_known_where_the_inputs_know_it(server):
    async with server.client().pool("local/echo", size=2) as pool:
        outcomes = pool.map(inputs(4))
        await taken(outcomes)
    assert outcomes.progress == Progress(4, 4, 0, 0, 4)


async def test_no_more_is_pulled_than_there_is_room_for():
    with Peer(Session.wait_closed) as peer:
        async with peer.client().pool(APP, size=2, depth=3, close_timeout=0.1) as pool:
            outcomes = pool.map({"n": n} for n in itertools.count())
            waiting = asyncio.create_task(anext(outcomes))
            await peer.until(lambda: len(peer.sessions) == 2)
            for _ in range(100):
                await asyncio.sleep(0)
            assert outcomes.progress == Progress(6, 0, 0, 6, None)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert outcomes.progress == Progress(6, 0, 6, 0, None)
            await pool.close(0)


@pytest.mark.parametrize("window", [5, None])
async def test_what_waits_for_an_earlier_outcome_is_bounded(window):
    def script(session: Session) -> None:
        while True:
            message = session.recv()
            if message["n"] != 0:
                session.send(message)

    with Peer(script) as peer:
        async with peer.client().pool(APP, size=2, depth=2, close_timeout=0.1) as pool:
            async with pool.map(({"n": n} for n in itertools.count()), window=window) as outcomes:
                waiting = asyncio.create_task(anext(outcomes))
                bound = window or 16
                await peer.until(lambda: len(peer.inputs) == bound)
                for _ in range(100):
                    await asyncio.sleep(0)
                assert outcomes.progress.pulled == bound
                waiting.cancel()
                await asyncio.wait([waiting])
            await pool.close(0)
    assert len(peer.inputs) == bound


async def test_nor_is_more_pulled_while_nobody_takes_the_outcomes(server):
    async with server.client().pool("local/echo", size=2) as pool:
        outcomes = pool.map(({"n": n} for n in itertools.count()), ordered=False)
        await anext(outcomes)
        await until(lambda: not outcomes.progress.in_flight)
        assert outcomes.progress.pulled == 9  # one was taken, and eight wait
        await outcomes.aclose()


async def test_progress_that_raises_is_reported_and_the_work_goes_on(server):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fails(progress: Progress) -> None:
        raise KeyError(progress.ok)

    async with server.client().pool("local/echo", size=2) as pool:
        assert len(await taken(pool.map(inputs(3), on_progress=fails))) == 3
    assert [type(error) for error in reported] == [KeyError] * 3


# --- ends ---


@pytest.mark.parametrize("kind", [KeyError, asyncio.CancelledError])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("ordered", [True, False])
async def test_what_the_inputs_raise_comes_after_the_outcomes(server, ordered, is_async, kind):
    def given():
        yield from inputs(7)
        raise kind

    async def given_asynchronously():
        for message in inputs(7):
            yield message
        raise kind

    seen = []
    async with server.client().pool("local/echo", size=3) as pool:
        outcomes = pool.map(given_asynchronously() if is_async else given(), ordered=ordered)
        with pytest.raises(kind):
            await into(seen, outcomes)
        assert sorted(outcome.index for outcome in seen) == list(range(7))
        assert outcomes.progress == Progress(7, 7, 0, 0, None)
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)


def slow_from(first: int):
    """Inputs without an end, of which those from `first` on take very long."""
    return ({"n": n, "delay": 0 if n < first else 30} for n in itertools.count())


def workers() -> list[asyncio.Task]:
    """The tasks of all maps."""
    return [task for task in asyncio.all_tasks() if "Run._work" in repr(task)]


async def breaks(pool, kept) -> None:
    outcomes = pool.map(slow_from(3), ordered=False)
    kept.append(outcomes._run)
    async for outcome in outcomes:
        if outcome.index == 2:
            break


async def closes(pool, kept) -> None:
    outcomes = pool.map(slow_from(3), ordered=False)
    kept.append(outcomes._run)
    async for outcome in outcomes:
        if outcome.index == 2:
            await outcomes.aclose()
            assert not workers()


async def raises(pool, kept) -> None:
    outcomes = pool.map(slow_from(3), ordered=False)
    kept.append(outcomes._run)
    async for outcome in outcomes:
        if outcome.index == 2:
            raise KeyError


async def is_cancelled(pool, kept) -> None:
    outcomes = pool.map(slow_from(3), ordered=False)
    kept.append(outcomes._run)
    task = asyncio.create_task(collected(outcomes))
    await until(lambda: (outcomes.progress.ok, outcomes.progress.in_flight) == (3, 4))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not workers()


@pytest.mark.parametrize("leave", [breaks, closes, raises, is_cancelled])
async def test_leaving_early_cancels_what_is_under_way_and_leaves_no_task(server, leave):
    pool = server.client().pool("local/echo", size=4)
    kept = []
    with contextlib.suppress(KeyError):
        await leave(pool, kept)
    await until(lambda: not workers())
    progress = kept[0].progress
    adds_up(progress)
    assert (progress.ok, progress.in_flight) == (3, 0)
    assert progress.failed >= 1
    await pool.close(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_the_pool_at_once_ends_a_map_and_is_told(server):
    pool = server.client().pool("local/echo", size=4)
    outcomes = pool.map(slow_from(1))
    assert (await anext(outcomes)).ok
    await until(lambda: outcomes.progress.in_flight == 4)
    with pytest.raises(RequestTimeoutError, match="4 requests had no answer"):
        await pool.close(0)
    seen = []
    with pytest.raises(ConnectionClosedError, match="the pool is closed"):
        await into(seen, outcomes)
    assert [type(outcome.error) for outcome in seen] == 4 * [ConnectionClosedError]
    assert outcomes.progress == Progress(5, 1, 4, 0, None)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_the_pool_finishes_what_was_pulled_and_pulls_no_more(server):
    async with server.client().pool("local/echo", size=2) as pool:
        outcomes = pool.map({"n": n, "delay": 0.01} for n in itertools.count())
        assert (await anext(outcomes)).index == 0
    seen = []
    with pytest.raises(ConnectionClosedError, match="the pool is closed"):
        await into(seen, outcomes)
    progress = outcomes.progress
    assert progress.pulled == progress.ok == len(seen) + 1
    assert all(outcome.ok for outcome in seen)


async def test_a_pool_that_cannot_go_on_pulls_no_more_and_says_why(server):
    pool = server.client().pool("me/missing", size=2, prewarm=0, use_jwt=False)
    outcomes = pool.map({"n": n} for n in itertools.count())
    seen = []
    with pytest.raises(HandshakeError, match=r"404|403"):
        await into(seen, outcomes)
    assert 1 <= len(seen) <= 4
    assert {(type(outcome.error), outcome.attempts) for outcome in seen} == {(HandshakeError, 0)}
    await pool.close()


async def test_a_map_that_is_never_begun_pulls_nothing(server):
    async with server.client().pool("local/echo", size=2) as pool:
        given = iter(inputs(3))
        outcomes = pool.map(given)
        await outcomes.aclose()
        assert await taken(outcomes) == []
        assert len(list(given)) == 3


async def test_two_maps_share_a_pool(server):
    async with server.client().pool("local/echo", size=2) as pool:
        first, second = await asyncio.gather(taken(pool.map(inputs(50))), taken(pool.map(inputs(50), ordered=False)))
    assert len(first) == len(second) == 50


async def test_two_tasks_cannot_take_the_outcomes_of_one_map(server):
    async with server.client().pool("local/echo", size=2) as pool:
        outcomes = pool.map([{"n": 0, "delay": 0.05}])
        first = asyncio.create_task(anext(outcomes))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(outcomes)
        assert (await result_of(first)).ok


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (({"prompt": "a cat"},), TypeError, "put it into a list"),
        (("a cat",), TypeError, "put it into a list"),
        ((7,), TypeError, "an iterable"),
    ],
)
async def test_what_gives_no_inputs_is_refused(server, arguments, error, match):
    pool = server.client().pool("local/echo", size=2)
    with pytest.raises(error, match=match):
        pool.map(*arguments)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ordered": 1}, TypeError),
        ({"window": 0}, ValueError),
        ({"retries": -1}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"on_progress": 7}, TypeError),
        ({"on_progress": taken}, TypeError),
    ],
)
async def test_an_argument_that_is_not_accepted_is_refused(server, options, error):
    pool = server.client().pool("local/echo", size=2)
    with pytest.raises(error):
        pool.map([], **options)
