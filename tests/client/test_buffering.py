"""The rings: drop-oldest with `max_buffering`, lossless with back-pressure without it."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from support import LIMIT, Log, Peer, Session, gather, result_of

from fal_realtime import BufferFullError, ConnectionClosedError, RequestTimeoutError

APP = "fal-ai/fast-lcm-diffusion"
QUEUE = 1024
"""Messages that the outgoing queue holds, and results that are kept where nobody receives."""
MARK = 64 << 20
"""Bytes of results after which reading pauses."""
LARGE = {"image": bytes(1 << 20)}


class Gate:
    """Holds a script until the test opens it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        assert self._event.wait(LIMIT)

    def then_echo(self, session: Session) -> None:
        """Answer the handshake when the gate is open, then echo."""
        self.wait()
        session.echo()


def send_numbers(count, size=0):
    """A script that waits for a message, sends so many results, then echoes."""

    def script(session: Session) -> None:
        session.recv()
        for number in range(count):
            session.send({"number": number, "image": bytes(size)})
        session.echo()

    return script


def accounted(stats):
    outgoing = sum(stats[name] for name in ("written", "coalesced", "dropped", "failed", "withdrawn", "pending"))
    incoming = sum(stats[name] for name in ("delivered", "received_dropped", "late", "received_pending"))
    return (stats["accepted"], stats["received"]) == (outgoing, incoming)


# --- max_buffering: the caller wants freshness ---


@pytest.mark.parametrize("size", [1, 60])
async def test_max_buffering_is_told_to_the_server(size):
    with Peer() as peer:
        async with peer.client().connect(APP, max_buffering=size):
            assert peer.sessions[0].query["max_buffering"] == str(size)


async def test_without_max_buffering_nothing_of_it_is_told_to_the_server():
    with Peer() as peer:
        async with peer.client().connect(APP):
            assert set(peer.sessions[0].query) == {"fal_jwt_token"}


async def test_with_max_buffering_the_oldest_outgoing_messages_are_dropped_and_counted():
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, max_buffering=3, throttle_interval=0)
        for number in range(10):
            connection.send_nowait({"number": number})
        stats = connection.stats()
        assert (stats["accepted"], stats["dropped"], stats["pending"]) == (10, 7, 3)
        gate.open()
        results = [(await result_of(connection.recv()))["number"] for _ in range(3)]
        assert results == [7, 8, 9]
        await connection.aclose()
        assert [message["number"] for message in peer.inputs] == [7, 8, 9]
        assert accounted(connection.stats())


async def test_with_max_buffering_await_send_never_waits():
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, max_buffering=1, throttle_interval=0)
        for number in range(2000):
            await connection.send({"number": number})
        gate.open()
        assert await result_of(connection.recv()) == {"number": 1999}
        await connection.aclose()


async def test_with_max_buffering_the_oldest_results_are_dropped_and_counted():
    with Peer(send_numbers(10)) as peer:
        async with peer.client().connect(APP, max_buffering=4) as connection:
            await connection.send({"go": True})
            await wait_for_stats(connection, lambda stats: stats["received"] == 10)
            stats = connection.stats()
            assert (stats["received_dropped"], stats["received_pending"], stats["delivered"]) == (6, 4, 0)
            results = [(await result_of(connection.recv()))["number"] for _ in range(4)]
            assert results == [6, 7, 8, 9]
            assert accounted(connection.stats())


async def test_with_max_buffering_on_result_sees_the_newest_after_the_loop_was_blocked():
    results = Log()
    sent = threading.Event()

    def script(session: Session) -> None:
        session.recv()
        for number in range(50):
            session.send({"number": number})
        session.fence()
        sent.set()
        session.wait_closed()

    with Peer(script) as peer:
        async with peer.client().connect(APP, max_buffering=2, on_result=results) as connection:
            connection.send_nowait({"go": True})
            assert sent.wait(LIMIT)  # the loop is blocked meanwhile
            await results.has(2)
            assert [result["number"] for result in results] == [48, 49]
            assert connection.stats()["received_dropped"] == 48


async def test_the_overflow_of_the_ring_never_costs_a_request_its_answer():
    sent = threading.Event()

    def answer_first_then_flood(session: Session) -> None:
        session.send(session.recv())
        for number in range(50):
            session.send({"number": number})
        session.fence()
        sent.set()
        session.echo()

    with Peer(answer_first_then_flood) as peer:
        async with peer.client().connect(APP, max_buffering=1) as connection:
            asking = asyncio.ensure_future(connection.request({"prompt": "a cat"}, timeout=LIMIT))
            await asyncio.sleep(0)
            assert sent.wait(LIMIT)  # the loop is blocked meanwhile
            assert connection.stats()["received_dropped"] == 49
            assert (await result_of(asking))["prompt"] == "a cat"
            assert accounted(connection.stats())


async def test_a_request_that_is_displaced_before_it_was_sent_raises():
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, max_buffering=1, throttle_interval=0)
        asking = asyncio.ensure_future(connection.request({"number": 0}, timeout=LIMIT))
        await asyncio.sleep(0)
        connection.send_nowait({"number": 1})
        with pytest.raises(BufferFullError, match="displaced"):
            await result_of(asking)
        gate.open()
        assert await result_of(connection.recv()) == {"number": 1}
        await connection.aclose()
        assert accounted(connection.stats())


# --- without max_buffering nothing is lost ---


async def test_the_outgoing_queue_holds_1024_messages_then_send_nowait_raises_and_send_waits():
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, throttle_interval=0)
        for number in range(QUEUE):
            connection.send_nowait({"number": number})
        with pytest.raises(BufferFullError, match="1024 messages or 64 MiB"):
            connection.send_nowait({"number": "too many"})
        waiting = [asyncio.ensure_future(connection.send({"number": QUEUE + more})) for more in range(5)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        assert connection.stats()["accepted"] == QUEUE
        gate.open()
        await gather(*waiting)
        for number in range(QUEUE + 5):
            assert await result_of(connection.recv()) == {"number": number}
        assert connection.stats()["dropped"] == 0
        await connection.aclose()


async def test_the_outgoing_queue_holds_64_mib():
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, throttle_interval=0, max_message_size=64 << 20)
        message = {"image": bytes(16 << 20)}
        for _ in range(3):
            connection.send_nowait(message)
        with pytest.raises(BufferFullError):
            connection.send_nowait(message)
        connection.close()
        await result_of(connection.wait_closed())
        assert connection.stats()["failed"] == 3
        gate.open()


async def test_a_cancelled_send_that_waited_for_room_is_not_sent():
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, throttle_interval=0)
        for number in range(QUEUE):
            connection.send_nowait({"number": number})
        first, second = (asyncio.ensure_future(connection.send({"name": name})) for name in ("first", "second"))
        await asyncio.sleep(0)
        first.cancel()
        gate.open()
        await result_of(second)
        for number in range(QUEUE):
            assert await result_of(connection.recv()) == {"number": number}
        assert await result_of(connection.recv()) == {"name": "second"}
        await connection.aclose()
        assert connection.stats()["accepted"] == QUEUE + 1


async def test_a_send_that_waits_for_room_raises_when_the_connection_is_closed():
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, throttle_interval=0)
        for number in range(QUEUE):
            connection.send_nowait({"number": number})
        waiting = asyncio.ensure_future(connection.send({"number": "one more"}))
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(ConnectionClosedError):
            await result_of(waiting)
        gate.open()


async def test_reading_pauses_while_the_caller_does_not_take_results_and_none_is_lost():
    count = 200
    with Peer(send_numbers(count, size=1 << 20)) as peer:
        async with peer.client().connect(APP, ping_interval=0.2, ping_timeout=0.2) as connection:
            await receive_nothing(connection)
            await connection.send({"go": True})
            await wait_for_stats(connection, lambda stats: stats["bytes_received"] >= MARK)
            await round_trip_elsewhere()
            stats = connection.stats()
            # What one read of the socket holds may come on top.
            assert 64 <= stats["received"] <= 66
            assert stats["received_dropped"] == 0
            for number in range(count):
                assert (await result_of(connection.recv()))["number"] == number
            assert connection.stats()["reconnects"] == 0
            assert accounted(connection.stats())


async def test_a_paused_connection_is_not_taken_for_lost_although_no_pong_is_read():
    with Peer(send_numbers(100, size=1 << 20)) as peer:
        async with peer.client().connect(APP, ping_interval=0.05, ping_timeout=0.05) as connection:
            await receive_nothing(connection)
            await connection.send({"go": True})
            await wait_for_stats(connection, lambda stats: stats["bytes_received"] >= MARK)
            await asyncio.sleep(0.4)  # four times what a lost connection is given
            assert connection.state == "active"
            for number in range(100):
                assert (await result_of(connection.recv()))["number"] == number
            assert connection.stats()["reconnects"] == 0


async def receive_nothing(connection):
    """Begin to receive: results are somebody's from then on."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(connection.recv(), 0.001)


async def paused_and_full(connection, in_thread):
    """Let results wait until reading pauses, then send until no more fits."""
    if in_thread is on_loop:
        await receive_nothing(connection)
    else:
        with pytest.raises(RequestTimeoutError):
            connection.recv(timeout=0)
    await in_thread(connection.send, {"go": True})
    await wait_for_stats(connection, lambda stats: stats["bytes_received"] >= MARK)
    with contextlib.suppress(BufferFullError):
        while True:
            connection.send_nowait(LARGE)


async def on_loop(function, *arguments):
    return await function(*arguments)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_request_for_which_there_is_no_room_raises_when_its_answer_is_behind_too_many_results(kind):
    gate = Gate()

    def flood(session: Session) -> None:
        session.recv()
        for number in range(200):
            session.send({"number": number, "image": bytes(1 << 20)})
        gate.wait()

    options = {"throttle_interval": 0, "use_jwt": False, "ping_interval": None, "close_timeout": 0.1}
    options["max_message_size"] = 64 << 20
    with Peer(flood) as peer:
        client, in_thread = (peer.client(), on_loop) if kind == "async" else (peer.sync_client(), asyncio.to_thread)
        connection = client.connect(APP, **options)
        await in_thread(connection.open)
        try:
            await paused_and_full(connection, in_thread)
            with pytest.raises(BufferFullError, match="was not sent; take results"):
                await result_of(in_thread(connection.request, {"image": bytes(60 << 20)}))
            assert accounted(connection.stats())
        finally:
            connection.close() if kind == "async" else await asyncio.to_thread(connection.close)
            gate.open()


async def test_for_a_request_that_waits_for_room_reading_goes_on_until_the_server_makes_room():
    def write_then_read(session: Session) -> None:
        session.recv()
        for number in range(100):
            session.send({"number": number, "image": bytes(1 << 20)})
        while "request_id" not in (message := session.recv()):
            pass
        session.send(message)
        session.wait_closed()

    with Peer(write_then_read) as peer:
        async with peer.client().connect(APP, throttle_interval=0, use_jwt=False) as connection:
            await paused_and_full(connection, on_loop)
            assert (await result_of(connection.request(LARGE)))["image"] == LARGE["image"]
            assert accounted(connection.stats())
            assert connection.stats()["received_pending"] == 100


async def test_a_slow_async_on_result_gets_every_result_in_order():
    count, seen = 3000, Log()

    async def on_result(result):
        if result["number"] % 500 == 0:
            await asyncio.sleep(0.01)
        seen(result["number"])

    with Peer(send_numbers(count, size=2000)) as peer:
        async with peer.client().connect(APP, on_result=on_result) as connection:
            await connection.send({"go": True})
            assert await seen.has(count) == list(range(count))


async def test_results_that_came_before_the_end_can_be_taken_after_it():
    def send_and_close(session: Session) -> None:
        session.recv()
        for number in range(5):
            session.send({"number": number})
        session.close(1011, "broken")

    with Peer(send_and_close) as peer:
        connection = peer.client().connect(APP, reconnect=None)
        await connection
        await connection.send({"go": True})
        await result_of(connection.wait_closed())
        assert [(await result_of(connection.recv()))["number"] for _ in range(5)] == list(range(5))
        with pytest.raises(ConnectionClosedError) as raised:
            await result_of(connection.recv())
        assert (raised.value.code, raised.value.reason) == (1011, "broken")


async def wait_for_stats(connection, condition):
    """Wait until the counters fulfil the condition; nobody tells when they change, so they are asked."""

    async def ask():
        while not condition(connection.stats()):  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    await result_of(ask())


async def round_trip_elsewhere():
    with Peer() as other:
        async with other.client().connect(APP) as connection:
            await connection.request({"alive": True}, timeout=LIMIT)
