"""Why: logging, attributes and causes say what went wrong, and the server's wishes are heard."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from support import LIMIT, Answer, Log, Peer, Session, result_of

from fal_realtime import (
    ApiError,
    ConnectionClosedError,
    HandshakeError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)


def busy(session: Session) -> None:
    session.refuse(429, "slow down", {"Retry-After": "7", "x-fal-request-id": "request-1"})


def break_down(session: Session) -> None:
    session.send(session.recv())
    session.close(1011, "GPU out of memory")


class Records(logging.Handler):
    """The records of the package, in a list that can be waited for."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.log = Log()
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self.log, record.getMessage())


async def test_losses_attempts_and_ends_are_logged_and_no_secret_is():
    logger, records = logging.getLogger("fal_realtime"), Records()
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    try:
        with Peer(break_down, lambda session: session.refuse(503), Session.echo) as peer:
            async with peer.client().connect(APP, reconnect=AT_ONCE) as connection:
                await connection.request({"number": 0}, timeout=LIMIT)
                await peer.until(lambda: len(peer.sessions) == 3)
                await records.log.until(
                    lambda lines: sum("open" in line and "opened" not in line for line in lines) >= 2
                )
        text = "\n".join(records.log)
        assert "the session ended: the connection is closed (code 1011: GPU out of memory)" in text
        assert "status 503" in text
        assert "trying again in" in text
        assert all(line.startswith(f"{APP}/realtime: ") for line in records.log)
        for secret in ("token-1", "key-secret"):
            assert secret not in text
    finally:
        logger.removeHandler(records)
        logger.setLevel(logging.NOTSET)


async def test_attributes_say_how_the_last_session_ended_and_why():
    states = Log()
    with Peer(break_down, Session.echo) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE, on_state_change=states)
        assert (connection.last_error, connection.close_code, connection.close_reason) == (None, None, None)
        async with connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            await states.until(lambda states: states.count("active") == 2)
            assert (connection.close_code, connection.close_reason) == (1011, "GPU out of memory")
            assert isinstance(connection.last_error, ConnectionClosedError)
            assert "GPU out of memory" in str(connection.last_error)


def test_they_do_so_for_the_blocking_client_too():
    with Peer(lambda session: session.refuse(404)) as peer:
        connection = peer.sync_client().connect(APP)
        with pytest.raises(HandshakeError):
            connection.open()
        assert connection.last_error.status == 404
        assert connection.close_code is None


async def test_a_request_that_times_out_says_why_the_connection_is_not_open():
    with Peer(break_down, lambda session: session.refuse(503, "down")) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE, close_timeout=0.1) as connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            await peer.until(lambda: len(peer.sessions) > 2)
            with pytest.raises(RequestTimeoutError, match=r"not open: .* status 503") as raised:
                await connection.request({"number": 1}, timeout=0.1)
            assert isinstance(raised.value.__cause__, HandshakeError)
            assert raised.value.__cause__.status == 503
            assert raised.value.retryable


async def test_an_opening_that_times_out_says_what_the_token_request_came_to():
    with Peer(tokens=(Answer(503, "busy"),)) as peer:
        with pytest.raises(RequestTimeoutError, match=r"the last attempt: .* status 503") as raised:
            await peer.client().connect(APP, open_timeout=0.5)
        assert isinstance(raised.value.__cause__, ApiError)
        assert raised.value.__cause__.status == 503


async def test_a_refused_handshake_says_when_to_come_back_and_which_request_it_was():
    with Peer(busy) as peer:
        with pytest.raises(HandshakeError) as raised:
            await peer.client().connect(APP)
        error = raised.value
        assert (error.status, error.retry_after, error.request_id, error.retryable) == (429, 7.0, "request-1", True)


async def test_a_server_is_not_asked_again_before_the_time_that_it_named():
    times = []

    def busy_for_a_second(session: Session) -> None:
        times.append(time.monotonic())
        session.refuse(503, "", {"Retry-After": "1"})

    def note(session: Session) -> None:
        times.append(time.monotonic())
        session.echo()

    with Peer(busy_for_a_second, note) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        connection.send_nowait({"number": 0})
        assert await result_of(connection.recv()) == {"number": 0}
        await connection.aclose()
        assert times[1] - times[0] >= 1


async def test_a_token_endpoint_is_not_asked_again_before_the_time_that_it_named():
    tokens = (Answer(429, "slow down", (("Retry-After", "2"),)), Answer(body="second"))
    with Peer(tokens=tokens) as peer:
        began = time.monotonic()
        async with peer.client().connect(APP):
            assert time.monotonic() - began >= 2
        assert len(peer.mints) == 2


async def test_without_on_error_the_loop_hears_of_what_nobody_takes():
    contexts = Log()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts(context))
    with Peer(lambda session: session.refuse(404, "no such app")) as peer:
        connection = peer.client().connect(APP, on_result=lambda _: None)
        connection.send_nowait({"number": 0})
        [context] = await contexts.has(1)
        assert isinstance(context["exception"], HandshakeError)
        assert "there is no on_error" in context["message"]
