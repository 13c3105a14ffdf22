"""`request(…, retries=n)`: what is sent again, and what is not because an app may have worked on it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading

import pytest
from support import Peer, Session, gather, result_of

from fal_realtime import (
    BufferFullError,
    ConnectionClosedError,
    ConnectionLostError,
    RealtimeError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
QUICK = ReconnectPolicy(initial_delay=0.01)
NEVER_GIVES_UP = ReconnectPolicy(initial_delay=0.01, max_fruitless=None)


def loses_first_input(session: Session) -> None:
    session.recv()
    session.drop()


async def test_a_request_whose_session_was_lost_is_not_sent_again_by_itself():
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(ConnectionLostError) as raised:
                await connection.request({"number": 1}, timeout=60, retries=3)
            assert (raised.value.unprocessed, raised.value.retryable) == (False, True)
            await peer.until(lambda: len(peer.sessions) == 2)
        assert peer.inputs == [{"number": 1, "request_id": peer.inputs[0]["request_id"]}]


async def test_it_is_where_the_caller_says_that_twice_is_harmless():
    with Peer(loses_first_input, loses_first_input, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            result = await connection.request({"number": 1}, timeout=60, retries=2, idempotent=True)
            assert result["number"] == 1
        assert len(peer.inputs) == 3


async def test_no_more_often_than_allowed():
    with Peer(loses_first_input) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(ConnectionLostError):
                await connection.request({"number": 1}, timeout=60, retries=2, idempotent=True)
        assert len(peer.inputs) == 3


async def test_an_input_that_was_displaced_before_it_was_written_is_sent_again():
    go = threading.Event()

    def late(session: Session) -> None:
        go.wait(10)
        session.echo()

    with Peer(late) as peer:
        # Nothing is written yet, since the server has not answered the handshake.
        async with contextlib.aclosing(peer.client().connect(APP, max_buffering=1)) as connection:
            plain = asyncio.create_task(connection.request({"number": 0}))
            kept = asyncio.create_task(connection.request({"number": 1}, timeout=60, retries=100))
            await asyncio.sleep(0)
            await connection.send({"number": 2})
            with pytest.raises(BufferFullError) as raised:
                await result_of(plain)
            assert raised.value.unprocessed
            assert raised.value.retryable
            go.set()
            assert (await result_of(kept))["number"] == 1
            assert [message["number"] for message in peer.inputs].count(1) == 1


async def test_an_error_of_the_app_is_not_repeated_unless_it_may_be_anothers():
    def fails(session: Session) -> None:
        session.recv()
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="bad input")
        session.close()

    with Peer(fails, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(RealtimeError, match="bad input"):
                await connection.request({"number": 1}, timeout=60, retries=3, idempotent=True)
        assert len(peer.inputs) == 1


async def test_the_timeout_is_that_of_all_attempts_together():
    with Peer(loses_first_input, loses_first_input, Session.wait_closed) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(RequestTimeoutError):
                await connection.request({"number": 1}, timeout=2, retries=100, idempotent=True)
            assert len(peer.inputs) <= 3


async def test_an_attempt_that_would_begin_too_late_is_not_made_and_that_is_said(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda _, most: most)
    with Peer(loses_first_input) as peer:
        # Pauses of 0.1, 0.2, 0.4, 0.8 and 1.6 seconds: the fifth of them ends after 3.1.
        async with peer.client().connect(APP, reconnect=NEVER_GIVES_UP) as connection:
            with pytest.raises(RequestTimeoutError) as raised:
                await connection.request({"number": 1}, timeout=3, retries=100, idempotent=True)
        error, last = raised.value, raised.value.__cause__
        assert isinstance(last, ConnectionLostError)
        made = len(peer.inputs)
        assert f"no other attempt fits into its timeout of 3 s, after a pause of {0.1 * 2 ** (made - 1):g} s" in str(
            error
        )
        assert f"({made} attempts)" in str(error)
        assert str(last) in str(error)
        assert (error.retryable, error.unprocessed) == (True, False)


async def test_a_last_attempt_that_is_not_answered_says_how_many_there_were():
    with Peer(loses_first_input, Session.wait_closed) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(RequestTimeoutError) as raised:
                await connection.request({"number": 1}, timeout=2, retries=100, idempotent=True)
        error, last = raised.value, raised.value.__cause__
        assert isinstance(last, RequestTimeoutError)
        assert "was not answered within its timeout of 2 s (2 attempts)" in str(error)
        assert (error.retryable, error.unprocessed) == (last.retryable, False)
        assert not re.search(r"\d\.\d{4}", str(error)), "no figure is more precise than the clock"


async def test_a_connection_that_is_closed_ends_it():
    with Peer(Session.wait_closed) as peer:
        async with peer.client().connect(APP) as connection:
            request = asyncio.create_task(connection.request({"number": 1}, retries=100, idempotent=True))
            await peer.until(lambda: peer.sessions[0].messages)
            connection.close()
            with pytest.raises(ConnectionClosedError):
                await result_of(request)


async def test_an_encoder_of_ones_own_makes_no_difference():
    async def encode(message: object) -> bytes:
        await asyncio.sleep(0)
        return b"\x81\xaarequest_id" + b"\xa3one"

    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().connect(APP, encode_message=encode, reconnect=QUICK) as connection:
            result = await connection.request({"request_id": "one"}, timeout=60, retries=1, idempotent=True)
            assert result == {"request_id": "one"}


async def test_many_at_once_are_all_answered():
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            requests = [
                connection.request({"number": number}, timeout=60, retries=3, idempotent=True) for number in range(50)
            ]
            results = await gather(*requests)
        assert [result["number"] for result in results] == list(range(50))


@pytest.mark.parametrize(("retries", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
async def test_a_count_that_is_none_is_refused(retries, error):
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(error, match="retries must be"):
                await connection.request({}, retries=retries)


def test_the_blocking_client_repeats_likewise():
    with Peer(loses_first_input, Session.echo) as peer, peer.sync_client().connect(APP, reconnect=QUICK) as connection:
        result = connection.request({"number": 1}, timeout=60, retries=1, idempotent=True)
        assert result["number"] == 1
        assert len(peer.inputs) == 2


def test_a_blocking_request_that_may_have_run_is_not_repeated_by_itself():
    with Peer(loses_first_input, Session.echo) as peer, peer.sync_client().connect(APP, reconnect=QUICK) as connection:
        with pytest.raises(ConnectionLostError):
            connection.request({"number": 1}, timeout=60, retries=3)
        assert len(peer.inputs) == 1


def send_until_full(connection) -> None:
    while True:
        connection.send({}, timeout=0.05)


class TestUnprocessed:
    """`unprocessed` is True where no app can have seen the input, and False where one may have."""

    async def test_a_request_that_timed_out_before_it_was_written(self) -> None:
        go = threading.Event()

        def late(session: Session) -> None:
            go.wait(10)
            session.wait_closed()

        with Peer(late) as peer:
            async with contextlib.aclosing(peer.client().connect(APP)) as connection:
                with pytest.raises(RequestTimeoutError) as raised:
                    await connection.request({"number": 1}, timeout=0.05)
                assert (raised.value.unprocessed, connection.stats()["withdrawn"]) == (True, 1)
                go.set()
                await connection
                request = asyncio.create_task(connection.request({"number": 2}, timeout=0.05))
                with pytest.raises(RequestTimeoutError) as raised:
                    await request
                assert raised.value.unprocessed is (connection.stats()["withdrawn"] == 2)
                request = asyncio.create_task(connection.request({"number": 3}, timeout=1))
                await peer.until(lambda: any(message["number"] == 3 for message in peer.inputs))
                with pytest.raises(RequestTimeoutError) as raised:
                    await request
                assert raised.value.unprocessed is False

    def test_a_blocking_one(self) -> None:
        go = threading.Event()

        def late(session: Session) -> None:
            go.wait(10)
            session.wait_closed()

        with Peer(late) as peer:
            connection = peer.sync_client().connect(APP)
            with pytest.raises(RequestTimeoutError) as raised:
                connection.request({"number": 1}, timeout=0.05)
            assert (raised.value.unprocessed, connection.stats()["withdrawn"]) == (True, 1)
            go.set()
            connection.open()
            with pytest.raises(RequestTimeoutError) as raised:
                connection.request({"number": 2}, timeout=1)
            assert raised.value.unprocessed is (not peer.inputs)
            connection.close()

    async def test_after_an_attempt_that_may_have_run_it_is_not_known(self) -> None:
        go = threading.Event()

        def never(session: Session) -> None:
            go.wait(10)

        with Peer(loses_first_input, never) as peer:
            async with contextlib.aclosing(peer.client().connect(APP, reconnect=QUICK)) as connection:
                with pytest.raises(RequestTimeoutError) as raised:
                    await connection.request({"number": 1}, timeout=1, retries=1, idempotent=True)
                assert len(peer.inputs) == 1
                assert raised.value.unprocessed is False
                go.set()

    def test_what_found_no_room(self) -> None:
        go = threading.Event()
        with Peer(lambda session: go.wait(10)) as peer:
            connection = peer.sync_client().connect(APP, throttle_interval=0)
            with pytest.raises(RequestTimeoutError) as raised:
                send_until_full(connection)
            assert (raised.value.unprocessed, raised.value.retryable) == (True, True)
            with pytest.raises(BufferFullError) as full:
                connection.send_nowait({})
            assert (full.value.unprocessed, full.value.retryable) == (True, True)
            go.set()
            connection.close()
            with pytest.raises(ConnectionClosedError) as closed:
                connection.send({})
            assert closed.value.unprocessed

    async def test_what_came_after_finish(self) -> None:
        go = threading.Event()

        def late(session: Session) -> None:
            session.recv()
            go.wait(10)

        with Peer(late) as peer:
            connection = await peer.client().connect(APP)
            await connection.send({"number": 1})
            finishing = asyncio.create_task(connection.finish())
            await asyncio.sleep(0)
            with pytest.raises(ConnectionClosedError, match="finish") as raised:
                await connection.request({}, retries=1000)
            assert raised.value.unprocessed
            go.set()
            with contextlib.suppress(ConnectionClosedError):
                await result_of(finishing)
