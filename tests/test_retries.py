"""`request(…, retries=n)`: what is sent again, and what is not because an app may have worked on it."""

from __future__ import annotations

import asyncio
import contextlib
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


def loses_first_input(session: Session) -> None:
    session.recv()
    session.drop()


async def test_a_request_whose_session_was_lost_is_not_sent_again_by_itself():
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(ConnectionLostError) as raised:
                await connection.request({"number": 1}, timeout=10, retries=3)
            assert (raised.value.unprocessed, raised.value.retryable) == (False, True)
            await peer.until(lambda: len(peer.sessions) == 2)
        assert peer.inputs == [{"number": 1, "request_id": peer.inputs[0]["request_id"]}]


async def test_it_is_where_the_caller_says_that_twice_is_harmless():
    with Peer(loses_first_input, loses_first_input, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            result = await connection.request({"number": 1}, timeout=10, retries=2, idempotent=True)
            assert result["number"] == 1
        assert len(peer.inputs) == 3


async def test_no_more_often_than_allowed():
    with Peer(loses_first_input) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(ConnectionLostError):
                await connection.request({"number": 1}, timeout=10, retries=2, idempotent=True)
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
            kept = asyncio.create_task(connection.request({"number": 1}, timeout=10, retries=100))
            await asyncio.sleep(0)
            await connection.send({"number": 2})
            with pytest.raises(BufferFullError) as raised:
                await result_of(plain)
            assert raised.value.unprocessed
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
                await connection.request({"number": 1}, timeout=10, retries=3, idempotent=True)
        assert len(peer.inputs) == 1


async def test_the_timeout_is_that_of_all_attempts_together():
    with Peer(loses_first_input, loses_first_input, Session.wait_closed) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            with pytest.raises(RequestTimeoutError):
                await connection.request({"number": 1}, timeout=1, retries=100, idempotent=True)
            assert len(peer.inputs) <= 3


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
            result = await connection.request({"request_id": "one"}, timeout=10, retries=1, idempotent=True)
            assert result == {"request_id": "one"}


async def test_many_at_once_are_all_answered():
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=QUICK) as connection:
            requests = [
                connection.request({"number": number}, timeout=10, retries=3, idempotent=True) for number in range(50)
            ]
            results = await gather(*requests)
        assert [result["number"] for result in results] == list(range(50))


@pytest.mark.parametrize(("retries", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
async def test_a_count_that_is_none_is_refused(retries, error):
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(error, match=r"retries|cannot be interpreted as an integer"):
                await connection.request({}, retries=retries)


def test_the_blocking_client_repeats_likewise():
    with Peer(loses_first_input, Session.echo) as peer, peer.sync_client().connect(APP, reconnect=QUICK) as connection:
        result = connection.request({"number": 1}, timeout=10, retries=1, idempotent=True)
        assert result["number"] == 1
        assert len(peer.inputs) == 2


def test_a_blocking_request_that_may_have_run_is_not_repeated_by_itself():
    with Peer(loses_first_input, Session.echo) as peer, peer.sync_client().connect(APP, reconnect=QUICK) as connection:
        with pytest.raises(ConnectionLostError):
            connection.request({"number": 1}, timeout=10, retries=3)
        assert len(peer.inputs) == 1
