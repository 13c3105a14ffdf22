"""A message of which a part is written when its session is lost: it is not sent again, and it is told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support import LIMIT, OPTIONS, Log, Peer, Session, result_of

from fal_realtime import ConnectionLostError, ReconnectPolicy

APP = "fal-ai/fast-lcm-diffusion"
QUICK = ReconnectPolicy(initial_delay=0.01)
BIG = bytes(15 << 20)
"""More than the systems between take."""


class Stops:
    """A server that takes an input and reads no more, until it is told to drop the connection."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        """Some of the next message has come."""
        self.now = threading.Event()

    def __call__(self, session: Session) -> None:
        session.recv()
        session.wait_for_bytes()
        self.begun.set()
        self.now.wait(LIMIT)
        session.drop()


async def begin_writing(connection: Any, stops: Stops, big: Any) -> asyncio.Future[Any]:
    """Let the server stop reading, and begin to write more than is taken."""
    await connection.send({"number": 0})
    await connection.drain()
    writing = asyncio.ensure_future(big)
    assert await asyncio.to_thread(stops.begun.wait, LIMIT)
    assert connection.stats()["written"] == 1
    return writing


@pytest.mark.parametrize("how", ["recv", "on_error"])
async def test_a_torn_message_is_told_once(how: str) -> None:
    stops, errors = Stops(), Log()
    options: dict[str, Any] = {"reconnect": QUICK} | ({"on_error": errors} if how == "on_error" else {})
    with Peer(stops, Session.echo) as peer:
        connection = await peer.client().connect(APP, **OPTIONS, **options)
        await begin_writing(connection, stops, connection.send({"data": BIG}))
        stops.now.set()
        if how == "recv":
            with pytest.raises(ConnectionLostError) as raised:
                await result_of(connection.recv())
            error = raised.value
        else:
            [error] = await errors.has(1)
        assert "and 1 not written whole" in str(error)
        assert error.retryable
        # The connection goes on, and nothing else is told.
        assert (await result_of(connection.request({"number": 1})))["number"] == 1
        stats = connection.stats()
        assert (stats["failed"], stats["unanswered"], len(errors)) == (1, 1, int(how == "on_error"))
        await connection.aclose()


async def test_a_torn_request_is_not_among_those_that_have_no_answer() -> None:
    stops = Stops()
    with Peer(stops, Session.echo) as peer:
        connection = await peer.client().connect(APP, **OPTIONS, reconnect=QUICK)
        request = await begin_writing(connection, stops, connection.request({"data": BIG}))
        stops.now.set()
        with pytest.raises(ConnectionLostError):
            await result_of(request)
        # That tells of the input before it.
        with pytest.raises(ConnectionLostError):
            await result_of(connection.recv())
        stats = connection.stats()
        assert (stats["written"], stats["failed"], stats["unanswered"]) == (1, 1, 1)
        await connection.aclose()
