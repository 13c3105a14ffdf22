"""`recv(timeout=)` and `latest()`: what is taken, what is dropped, and that nothing is lost by giving up."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from support import Peer, Session, result_of

from fal_realtime import ConnectionClosedError, DecodeError, RealtimeError, RequestTimeoutError

APP = "fal-ai/fast-lcm-diffusion"


def sends(*messages):
    """A server that sends these when the first input has come, and then waits."""

    def script(session: Session) -> None:
        session.recv()
        for message in messages:
            if isinstance(message, bytes | str):
                session.send_raw(message)
            else:
                session.send(message)
        session.fence()
        session.wait_closed()

    return script


NUMBERS = [{"number": number} for number in range(5)]


async def all_received(connection, count: int) -> None:
    """Wait until so many results are there, taken by nobody."""

    async def hold() -> None:
        while connection.stats()["received"] < count:  # noqa: ASYNC110 - nothing may take them, so nothing tells
            await asyncio.sleep(0.005)

    await result_of(hold())


async def test_recv_gives_up_after_its_timeout_and_the_next_one_gets_the_result():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(RequestTimeoutError, match=r"no result came within 0\.01 s") as raised:
                await connection.recv(timeout=0.01)
            assert raised.value.retryable
            assert isinstance(raised.value, TimeoutError)
            await connection.send({"number": 1})
            assert await connection.recv(timeout=60) == {"number": 1}


async def test_what_is_there_is_given_even_with_a_timeout_of_zero():
    with Peer(sends(*NUMBERS)) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({})
            await all_received(connection, 5)
            assert [await connection.recv(timeout=0) for _ in NUMBERS] == NUMBERS
            with pytest.raises(RequestTimeoutError):
                await connection.recv(timeout=0)


async def test_thousands_of_timeouts_and_cancellations_lose_nothing_and_keep_the_order():
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            received = []

            async def take() -> None:
                while len(received) < 1000:
                    with contextlib.suppress(RequestTimeoutError):
                        received.append((await connection.recv(timeout=0.0005))["number"])

            taker = asyncio.create_task(take())
            for number in range(1000):
                await connection.send({"number": number})
                if number % 7 == 0:
                    await asyncio.sleep(0.001)
                if number % 50 == 0:
                    taker.cancel()
                    await asyncio.gather(taker, return_exceptions=True)
                    taker = asyncio.create_task(take())
            await result_of(taker)
            stats = connection.stats()
        assert received == list(range(1000))
        assert (stats["received"], stats["delivered"], stats["received_dropped"]) == (1000, 1000, 0)


async def test_one_of_two_receivers_that_gives_up_leaves_the_other_its_turn():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            first = asyncio.create_task(connection.recv(timeout=0.02))
            second = asyncio.create_task(connection.recv())
            with pytest.raises(RequestTimeoutError):
                await first
            await connection.send({"number": 1})
            assert await result_of(second) == {"number": 1}


@pytest.mark.parametrize("timeout", [-1, float("nan")])
async def test_a_timeout_that_is_none_is_refused_where_it_is_awaited(timeout):
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(ValueError, match="timeout must be a number of seconds of at least 0"):
                await connection.recv(timeout=timeout)


async def test_the_end_of_the_connection_comes_before_the_timeout():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            receiver = asyncio.create_task(connection.recv(timeout=1000))
            await asyncio.sleep(0)
            connection.close()
            with pytest.raises(ConnectionClosedError):
                await result_of(receiver)


async def test_latest_gives_the_newest_result_and_counts_the_older_ones_as_dropped():
    with Peer(sends(*NUMBERS)) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({})
            await all_received(connection, 5)
            assert await result_of(connection.latest()) == {"number": 4}
            stats = connection.stats()
            assert (stats["delivered"], stats["received_dropped"], stats["received_pending"]) == (1, 4, 0)
            with pytest.raises(RequestTimeoutError):
                await connection.latest(timeout=0.01)


async def test_latest_waits_for_a_result_if_there_is_none():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            waiting = asyncio.create_task(connection.latest())
            await connection.send({"number": 1})
            assert await result_of(waiting) == {"number": 1}


async def test_an_error_that_came_before_the_newest_result_is_raised_first():
    odd = b"\xc1"
    with Peer(sends({"number": 0}, {"number": 1}, odd, {"number": 2}, {"number": 3})) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({})
            await all_received(connection, 4)
            with pytest.raises(DecodeError):
                await connection.latest()
            assert await connection.latest() == {"number": 3}
            assert connection.stats()["received_dropped"] == 3


async def test_an_error_behind_the_newest_result_comes_with_the_next_call():
    failed = '{"type": "x-fal-error", "error": "SOME_ERROR", "reason": "why"}'
    with Peer(sends({"number": 0}, {"number": 1}, failed)) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({})
            await all_received(connection, 2)
            assert await connection.latest(timeout=60) == {"number": 1}
            with pytest.raises(RealtimeError, match="SOME_ERROR"):
                await connection.latest(timeout=60)


async def test_latest_does_not_take_the_answer_of_a_request():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            answer = asyncio.create_task(connection.request({"number": 1}))
            with pytest.raises(RequestTimeoutError):
                await connection.latest(timeout=0.1)
            assert (await result_of(answer))["number"] == 1


async def test_latest_goes_to_nobody_who_has_on_result():
    with Peer() as peer:
        async with peer.client().connect(APP, on_result=print) as connection:
            with pytest.raises(RuntimeError, match="on_result"):
                await connection.latest()


async def test_a_decoder_that_is_awaited_delivers_the_newest_too():
    async def decode(message: bytes) -> bytes:
        await asyncio.sleep(0)
        return message

    with Peer(sends(b"one", b"two", b"three")) as peer:
        async with peer.client().connect(APP, decode_message=decode) as connection:
            await connection.send({})
            await all_received(connection, 3)
            assert await result_of(connection.latest()) == b"three"
            assert connection.stats()["received_dropped"] == 2


def test_the_blocking_client_has_latest_too():
    there = threading.Event()

    def script(session: Session) -> None:
        session.recv()
        for number in NUMBERS:
            session.send(number)
        session.fence()
        there.set()
        session.wait_closed()

    with Peer(script) as peer, peer.sync_client().connect(APP) as connection:
        connection.send({})
        first = connection.recv(timeout=60)
        assert first == {"number": 0}
        assert there.wait(10)
        assert connection.latest(timeout=60) == {"number": 4}
        stats = connection.stats()
        assert (stats["delivered"], stats["received_dropped"]) == (2, 3)
        with pytest.raises(RequestTimeoutError):
            connection.latest(timeout=0.01)
