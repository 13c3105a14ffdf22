"""Cancelling loses nothing and reorders nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from support import LOOPS, AppServer, run_in, until, until_sync

import fal_realtime
from fal_realtime import RealtimeConnection
from fal_realtime.testing import LocalServer

MESSAGES = 3000


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


async def receive_impatiently(connection: RealtimeConnection, patience: float) -> Any:
    """As a service that polls: gives up after `patience`, and tries again."""
    while True:
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(connection.recv(), patience)


@pytest.mark.parametrize("new_loop", LOOPS)
def test_three_thousand_results_arrive_under_wait_for_of_0_8_milliseconds(new_loop: Any, peer: AppServer) -> None:
    async def main() -> None:
        async with peer.connect() as connection:
            # Slowly enough that many of the waits are given up, at any moment of the delivery.
            await connection.send({"count": MESSAGES, "every": 0.0009})
            results = [await receive_impatiently(connection, 0.0008) for _ in range(MESSAGES)]
            assert [result["n"] for result in results] == list(range(MESSAGES))
            stats = connection.stats()
            assert (stats["received"], stats["delivered"], stats["received_pending"]) == (MESSAGES, MESSAGES, 0)

    run_in(new_loop, main())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_three_thousand_requests_under_wait_for_lose_no_answer(new_loop: Any, peer: AppServer) -> None:
    """What a cancelled request would have got is nobody's, and counted; one that had not been written is not sent."""

    async def main() -> None:
        async with peer.connect() as connection:
            answered: list[int] = []
            for n in range(MESSAGES):
                with contextlib.suppress(asyncio.TimeoutError):
                    answer = await asyncio.wait_for(connection.request({"n": n}), 0.0008)
                    assert answer["n"] == n
                    answered.append(n)
            accepted = connection.stats()["accepted"]
            assert accepted <= MESSAGES  # one that was cancelled before it began was never sent
            await until(lambda: connection.stats()["received"] == connection.stats()["written"], "all answers")
            stats = connection.stats()
            assert stats["written"] + stats["withdrawn"] == accepted
            assert (stats["delivered"], stats["received_pending"]) == (len(answered), 0)
            assert stats["late"] == stats["received"] - len(answered)

    run_in(new_loop, main())


@pytest.mark.parametrize("ends", ["with", "finish"])
async def test_a_cancellation_while_a_connection_is_being_left_is_raised_whenever_it_comes(
    fal_local_server: LocalServer, ends: str
) -> None:
    """Also in the moment in which what is waited for is done, as `asyncio.wait_for` does it from Python 3.12 on."""

    async def use(connection: RealtimeConnection, leaving: asyncio.Event) -> None:
        if ends == "with":
            async with connection:
                await connection.request({}, timeout=20)
                leaving.set()
        else:
            await connection.request({}, timeout=20)
            leaving.set()
            await connection.finish(20)

    client = fal_local_server.client()
    for turns in range(40):
        connection, leaving = client.connect("local/echo", connection_key=str(turns)), asyncio.Event()
        task = asyncio.ensure_future(use(connection, leaving))
        await asyncio.wait({task, asyncio.ensure_future(leaving.wait())}, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        await connection.aclose()


async def test_the_answer_to_a_request_that_was_cancelled_is_nobodys(peer: AppServer) -> None:
    async with peer.connect() as connection:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(connection.request({"request_id": "one", "after": 0.1}), 0.02)
        await until(lambda: connection.stats()["late"] == 1, "its answer")
        await connection.send({"x": 2})
        assert (await connection.recv())["x"] == 2


@pytest.mark.parametrize("ends", ["answered", "cancelled"])
async def test_what_a_signals_handler_raises_while_a_request_ends_is_raised_there(
    peer: AppServer, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The end of a request cancels its timer, which is Python code: Ctrl-C may come there as anywhere."""

    class Interrupted(BaseException):
        pass

    def interrupted(timer: asyncio.TimerHandle) -> None:
        monkeypatch.undo()
        timer.cancel()
        raise Interrupted

    async with peer.connect() as connection:
        request = connection.request({"silent": ends == "cancelled"}, timeout=60)
        step = request.send(None)
        assert asyncio.isfuture(step)
        if ends == "answered":
            step._asyncio_future_blocking = False
            await step
        monkeypatch.setattr(asyncio.TimerHandle, "cancel", interrupted)
        with pytest.raises(Interrupted):
            request.send(None) if ends == "answered" else request.throw(asyncio.CancelledError)
        assert await connection.request({"n": 1}, timeout=60)


async def test_an_answer_that_was_there_when_its_request_was_cancelled_is_nobodys(peer: AppServer) -> None:
    async with peer.connect() as connection:
        request = asyncio.ensure_future(connection.request({"request_id": "one", "after": 0.05}))
        await asyncio.sleep(0)
        for n in range(3):
            connection.send_nowait({"n": n})
        await until(lambda: connection.stats()["received_pending"] == 3, "the results before it")
        connection.send_nowait({"n": 3, "after": 0.3})
        # All come while this loop is busy; then the request is cancelled before it has run.
        until_sync(lambda: connection.stats()["received"] == 5, "all results")
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert [(await connection.recv())["n"] for _ in range(4)] == [0, 1, 2, 3]
        assert connection.stats()["late"] == 1


async def test_several_receivers_are_served_first_come_first_served(peer: AppServer) -> None:
    async with peer.connect() as connection:
        served: list[tuple[int, int]] = []

        async def receive(receiver: int) -> None:
            result = await connection.recv()
            served.append((receiver, result["n"]))

        receivers = [asyncio.ensure_future(receive(n)) for n in range(50)]
        await asyncio.sleep(0)
        await connection.send({"count": 50})
        await asyncio.wait_for(asyncio.gather(*receivers), 60)
        assert served == [(n, n) for n in range(50)]


async def test_receivers_that_are_cancelled_at_random_pass_their_turn_on(peer: AppServer) -> None:
    rng = random.Random(5)
    async with peer.connect() as connection:
        order: list[int] = []
        seen: list[int] = []

        async def receive(receiver: int) -> None:
            result = await connection.recv()
            order.append(receiver)
            seen.append(result["n"])

        receivers = {n: asyncio.ensure_future(receive(n)) for n in range(600)}
        await asyncio.sleep(0)
        await connection.send({"count": 300, "every": 0.0005})
        victims = rng.sample(sorted(receivers), 300)
        for victim in victims:
            receivers[victim].cancel()
            await asyncio.sleep(rng.choice([0, 0, 0.001]))
        rest = [task for task in receivers.values() if not task.cancelled()]
        missing = 300 - len(seen)
        await asyncio.wait_for(asyncio.gather(*rest[: len(seen) + missing], return_exceptions=True), 60)
        assert seen == list(range(300))
        assert order == sorted(order)
        for task in receivers.values():
            task.cancel()
        await asyncio.wait(receivers.values())


async def test_an_asynchronous_decoder_that_is_cancelled_loses_nothing(peer: AppServer) -> None:
    rng = random.Random(6)
    starts = 0

    async def decode(message: bytes) -> bytes:
        nonlocal starts
        starts += 1
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.003]))
        return message

    async with peer.connect(decode_message=decode) as connection:
        await connection.send({"count": 500})
        results = [await receive_impatiently(connection, 0.002) for _ in range(500)]
        assert len(set(results)) == 500
        assert results == sorted(results, key=lambda packed: (len(packed), packed))
        assert starts == 500, "a decoder was started anew"
        assert connection.stats()["received_pending"] == 0


async def test_several_receivers_with_an_asynchronous_decoder_keep_the_order(peer: AppServer) -> None:
    rng = random.Random(7)

    async def decode(message: bytes) -> bytes:
        await asyncio.sleep(rng.random() / 200)
        return message

    async with peer.connect(decode_message=decode) as connection:
        results: list[bytes] = []

        async def receive() -> None:
            for _ in range(25):
                results.append(await receive_impatiently(connection, 0.004))  # noqa: PERF401 - in the order of arrival

        await connection.send({"count": 100})
        await asyncio.wait_for(asyncio.gather(*(receive() for _ in range(4))), 20)
        assert results == sorted(results, key=lambda packed: (len(packed), packed))
        assert len(set(results)) == 100


async def test_all_receivers_hear_of_the_end(peer: AppServer) -> None:
    async with peer.connect() as connection:
        receivers = [asyncio.ensure_future(connection.recv()) for _ in range(5)]
        iterating = asyncio.ensure_future(all_of(connection))
        await asyncio.sleep(0)
        connection.close()
        outcomes = await asyncio.wait_for(asyncio.gather(*receivers, return_exceptions=True), 60)
        assert [type(outcome) for outcome in outcomes] == [fal_realtime.ConnectionClosedError] * 5
        assert await asyncio.wait_for(iterating, 60) == []


async def all_of(connection: RealtimeConnection) -> list[Any]:
    return [result async for result in connection]


async def test_all_who_wait_for_room_hear_of_the_end(held: AppServer) -> None:
    connection = held.connect()
    fill(connection)
    waiting = [asyncio.ensure_future(connection.send({"n": n})) for n in range(3)]
    waiting += [asyncio.ensure_future(connection.request({"n": n})) for n in range(3)]
    await asyncio.sleep(0)
    connection.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)
    assert [type(outcome) for outcome in outcomes] == [fal_realtime.ConnectionClosedError] * 6
    await connection.aclose()


async def test_requests_that_time_out_while_they_wait_for_room_pass_their_turn_on(held: AppServer) -> None:
    connection = held.connect()
    fill(connection)
    hasty = [asyncio.ensure_future(connection.request({"n": n}, timeout=0)) for n in range(3)]
    patient = asyncio.ensure_future(connection.request({"n": "patient"}, timeout=60))
    outcomes = await asyncio.wait_for(asyncio.gather(*hasty, return_exceptions=True), 60)
    assert [type(outcome) for outcome in outcomes] == [fal_realtime.RequestTimeoutError] * 3
    assert not patient.done()
    held.release()
    assert (await patient)["n"] == "patient"
    await connection.aclose()


async def test_a_send_that_is_cancelled_while_it_waits_for_room_was_not_accepted(held: AppServer) -> None:
    connection = held.connect()
    fill(connection)
    waiting = [asyncio.ensure_future(connection.send({"silent": True, "late": n})) for n in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    await asyncio.sleep(0)
    held.release()
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True, False, True, False]
    await asyncio.wait_for(connection.drain(), 60)
    await until(lambda: held.inputs and held.inputs[-1].get("late") == 3, "the last one at the server")
    assert [message["late"] for message in held.inputs if "late" in message] == [1, 3]
    await connection.aclose()


@pytest.fixture
def held() -> Iterator[AppServer]:
    """A peer that lets nobody in until it is released."""
    with AppServer() as peer:
        peer.hold()
        yield peer


def fill(connection: RealtimeConnection) -> None:
    """Fills the outgoing queue of a connection that cannot open yet."""
    for n in range(10_000):
        try:
            connection.send_nowait({"silent": True, "fill": n})
        except fal_realtime.BufferFullError:  # noqa: PERF203 - this is what ends it
            return
    pytest.fail("the queue has no end")


async def test_opening_that_is_cancelled_leaves_no_socket_and_a_closed_connection(peer: AppServer) -> None:
    rng = random.Random(8)
    connections = []
    for _ in range(100):
        connection = peer.connect()
        connections.append(connection)
        opening = asyncio.ensure_future(opened(connection))
        await asyncio.sleep(rng.random() / 300)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await opening).aclose()
        assert connection.state in ("closing", "closed")
    await until(lambda: not peer.sockets, "the sockets to be closed")
    # A socket may be gone before its connection's driver has seen to the end of the session.
    await until(lambda: {connection.state for connection in connections} == {"closed"}, "the connections to be closed")


async def opened(connection: RealtimeConnection) -> RealtimeConnection:
    return await connection


async def test_a_receiver_and_a_sender_are_coroutines_that_asyncio_takes_as_tasks(peer: AppServer) -> None:
    async with peer.connect() as connection:
        receiving = asyncio.create_task(connection.recv())
        sending = asyncio.create_task(connection.send({"n": 1}))
        done, pending = await asyncio.wait({receiving, sending}, timeout=60)
        assert not pending
        assert receiving in done
        assert receiving.result() == {"n": 1}


@pytest.mark.parametrize("seed", range(4))
async def test_random_schedules_of_cancelled_operations_leave_the_connection_usable(peer: AppServer, seed: int) -> None:
    """Any mixture of operations, each cancelled at a random point: afterwards all is accounted for and works."""
    rng = random.Random(seed)
    async with peer.connect() as connection:
        got: list[Any] = []

        async def receive() -> None:
            got.append(await connection.recv())

        async def request(n: int) -> None:
            got.append(await connection.request({"n": n}, timeout=rng.choice([None, 0.001, 5])))

        tasks = []
        for n in range(600):
            operations = [receive, partial(request, n), partial(connection.send, {"n": n}), connection.drain]
            tasks.append(asyncio.ensure_future(settle(rng.choice(operations))))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(rng.choice([0, 0.0005, 0.001]))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=60)
        # Whoever drives the connection may not have come to the last message.
        await until(lambda: connection.stats()["pending"] == 0, f"all messages to be written ({seed=})")
        await until(lambda: connection.stats()["received"] == connection.stats()["written"], f"all answers ({seed=})")
        while connection.stats()["received_pending"]:
            got.append(await asyncio.wait_for(connection.recv(), 60))
        stats = connection.stats()
        assert len(got) == stats["delivered"] == stats["written"] - stats["late"], f"{seed=}"
        assert stats["written"] + stats["withdrawn"] == stats["accepted"], f"{seed=}"
        assert await connection.request({"n": "last"}, timeout=60)


async def settle(operation: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(fal_realtime.RequestTimeoutError):
        await operation()


async def test_a_receive_that_is_dropped_while_it_waits_leaves_the_line(peer: AppServer) -> None:
    async with peer.connect() as connection:
        dropped = connection.recv()
        assert asyncio.isfuture(dropped.send(None))
        del dropped
        await connection.send({"count": 1})
        assert (await asyncio.wait_for(connection.recv(), 60))["n"] == 0
