"""The throttle: the first call at once, the last call of a burst always, in between the latest."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from support import LIMIT, Log, Peer, Session, result_of

from fal_realtime import ConnectionClosedError, ConnectionLostError

APP = "fal-ai/fast-lcm-diffusion"
CENTURY = timedelta(days=36500)


async def test_the_first_call_goes_out_at_once():
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=CENTURY) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"number": 0}


async def test_of_a_burst_the_first_and_the_last_arrive_and_the_rest_is_counted_as_coalesced():
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=50) as connection:
            for number in range(10):
                connection.send_nowait({"number": number})
            assert [await result_of(connection.recv()) for _ in range(2)] == [{"number": 0}, {"number": 9}]
            stats = connection.stats()
            assert (stats["accepted"], stats["written"], stats["coalesced"], stats["pending"]) == (10, 2, 8, 0)
        assert peer.inputs == [{"number": 0}, {"number": 9}]


@pytest.mark.parametrize("interval", [60, timedelta(milliseconds=60)], ids=["milliseconds", "timedelta"])
async def test_two_messages_are_at_least_an_interval_apart(interval):
    sent = 0
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=interval) as connection:
            began = time.monotonic()
            while time.monotonic() < began + 0.5:
                await connection.send({"number": sent})
                sent += 1
                await asyncio.sleep(0.003)  # the pace of a user who draws
            await result_of(connection.drain())
            took = time.monotonic() - began
        await peer.until(lambda: peer.inputs and peer.inputs[-1] == {"number": sent - 1})
        # The first at once, the others an interval after the one before each.
        assert 2 <= len(peer.inputs) <= 1 + took / 0.06


async def test_the_trailing_call_goes_out_an_interval_after_the_leading_one():
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=200) as connection:
            await connection.open()
            began = time.monotonic()
            await connection.send({"number": 0})
            await connection.send({"number": 1})
            await result_of(connection.drain())
            assert time.monotonic() - began >= 0.2
            await peer.until(lambda: len(peer.inputs) == 2)


async def test_an_interval_of_zero_sends_everything():
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            for number in range(200):
                connection.send_nowait({"number": number})
            for number in range(200):
                assert await result_of(connection.recv()) == {"number": number}
            assert connection.stats()["coalesced"] == 0


async def test_the_default_interval_is_that_of_the_typescript_client():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            await connection.open()
            began = time.monotonic()
            connection.send_nowait({"number": 0})
            connection.send_nowait({"number": 1})
            assert connection.stats()["pending"] >= 1
            await result_of(connection.drain())
            assert time.monotonic() - began >= 0.128
            await peer.until(lambda: len(peer.inputs) == 2)


async def test_what_is_awaited_is_throttled_only_where_that_was_asked_for():
    numbers = [{"number": number} for number in range(10)]
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            for number in numbers:
                await connection.send(number)
            assert [await result_of(connection.recv()) for _ in numbers] == numbers
            assert connection.stats()["coalesced"] == 0
        assert await asyncio.to_thread(_sent_and_received, peer, numbers) == numbers
        async with peer.client().connect(APP, throttle_interval=CENTURY) as connection:
            for number in numbers:
                await connection.send(number)
            assert connection.stats()["coalesced"] == 8


def _sent_and_received(peer, messages):
    with peer.sync_client().connect(APP) as connection:
        for message in messages:
            connection.send(message)
        return [connection.recv(LIMIT) for _ in messages]


@pytest.mark.parametrize("method", ["send", "request"])
async def test_what_the_throttle_holds_goes_before_what_it_does_not_hold(method):
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            for number in (0, 1, 2):
                connection.send_nowait({"number": number})
            await getattr(connection, method)({"number": 3})
            await result_of(connection.drain())
            await peer.until(lambda: len(peer.inputs) == 3)
            assert [each["number"] for each in peer.inputs] == [0, 2, 3]


async def test_while_the_connection_is_not_open_the_throttle_keeps_the_latest():
    with Peer() as peer:
        connection = peer.client().connect(APP, throttle_interval=CENTURY)
        for number in range(3):
            connection.send_nowait({"number": number})
        assert await result_of(connection.recv()) == {"number": 2}
        assert (connection.stats()["pending"], connection.stats()["coalesced"]) == (0, 2)
        connection.close()
        await result_of(connection.wait_closed())


async def test_close_cancels_the_message_that_the_throttle_holds():
    with Peer() as peer:
        connection = peer.client().connect(APP, throttle_interval=20)
        await connection
        await connection.send({"number": 0})
        await connection.send({"number": 1})
        connection.close()
        await result_of(connection.wait_closed())
        await peer.until(lambda: peer.sessions[0].close_code == 1000)
        assert peer.inputs == [{"number": 0}]
        stats = connection.stats()
        assert (stats["accepted"], stats["written"], stats["failed"], stats["pending"]) == (2, 1, 1, 0)


async def test_a_held_message_is_sent_when_its_time_comes_although_nothing_else_happens():
    with Peer(lambda session: session.wait_closed()) as peer:
        async with peer.client().connect(APP, throttle_interval=100, ping_interval=None) as connection:
            await connection.send({"number": 0})
            await peer.until(lambda: len(peer.inputs) == 1)
            await connection.send({"number": 1})
            await peer.until(lambda: len(peer.inputs) == 2)


async def test_a_held_message_goes_out_after_the_socket_was_lost_and_came_back():
    def drop_after_one(session: Session) -> None:
        session.recv()
        session.drop()

    states = Log()
    with Peer(drop_after_one, Session.echo) as peer:
        async with peer.client().connect(APP, throttle_interval=50, on_state_change=states) as connection:
            await connection.send({"number": 0})
            await connection.send({"number": 1})
            with pytest.raises(ConnectionLostError):
                await result_of(connection.recv())
            assert await result_of(connection.recv()) == {"number": 1}


async def test_a_request_goes_past_the_throttle():
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=CENTURY) as connection:
            await connection.send({"number": 0})
            await connection.send({"number": 1})
            for number in range(2, 5):
                assert (await connection.request({"number": number}, timeout=LIMIT))["number"] == number
            assert connection.stats()["pending"] == 0
        assert [message["number"] for message in peer.inputs] == [0, 1, 2, 3, 4]


async def test_the_input_is_encoded_at_the_call_so_that_changing_it_later_is_harmless():
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=30) as connection:
            message = {"number": 0, "image": bytearray(b"abc")}
            await connection.send(message)
            message["number"] = 1
            await connection.send(message)
            message["number"] = 2
            message["image"][:] = b"xyz"
            assert [(await result_of(connection.recv()))["image"] for _ in range(2)] == [b"abc", b"abc"]
        assert [message["number"] for message in peer.inputs] == [0, 1]


async def test_closing_wakes_who_waits_for_a_throttled_message_before_the_server_answers_the_close():
    answer_close = threading.Event()

    def answer_late(session: Session) -> None:
        session.send(session.recv())
        assert answer_close.wait(LIMIT)
        session.wait_closed()

    with Peer(answer_late) as peer:
        connection = await peer.client().connect(APP, use_jwt=False, throttle_interval=CENTURY)
        await connection.send({"number": 0})
        await result_of(connection.recv())
        await connection.send({"number": 1})
        draining = asyncio.ensure_future(connection.drain())
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(ConnectionClosedError):
            await result_of(draining)
        assert connection.state == "closing"
        answer_close.set()
        await result_of(connection.wait_closed())
