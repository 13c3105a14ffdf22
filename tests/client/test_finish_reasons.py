"""What `finish` says where a session ended meanwhile: what was lost, and why, and nothing that was not lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import OPTIONS, AppServer, Log, Peer, Session, result_of

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    ConnectionLostError,
    FalRealtimeError,
    HandshakeError,
    MessageTooLargeError,
    ReconnectPolicy,
)

APP = "fal-ai/fast-lcm-diffusion"


def refuses(how: str) -> Callable[[Session], None]:
    """A server that takes three inputs, and then says that it does not know the token."""

    def script(session: Session) -> None:
        for _ in range(3):
            session.recv()
        if how == "in band":
            session.send_json(status="error", error="Unauthorized")
            session.wait_closed()
        else:
            session.close(1008, "token expired")

    return script


async def finish_of(peer: Peer, kind: str, **options: Any) -> tuple[BaseException | None, dict[str, int]]:
    """Send three inputs and finish: what that raises, and what was counted."""
    error: BaseException | None = None
    if kind == "blocking":

        def run() -> dict[str, int]:
            connection = peer.sync_client().connect(APP, throttle_interval=0, **options)
            for number in range(3):
                connection.send({"number": number})
            try:
                connection.finish(60)
            finally:
                stats.update(connection.stats())
            return stats

        stats: dict[str, int] = {}
        try:
            await asyncio.to_thread(run)
        except FalRealtimeError as raised:
            error = raised
        return error, stats
    connection = peer.client().connect(APP, throttle_interval=0, **options)
    for number in range(3):
        await connection.send({"number": number})
    try:
        await result_of(connection.finish(60))
    except FalRealtimeError as raised:
        error = raised
    return error, dict(connection.stats())


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
@pytest.mark.parametrize("how", ["in band", "close code"])
async def test_what_is_sent_again_and_answered_was_not_lost(how: str, kind: str) -> None:
    with Peer(refuses(how), Session.echo) as peer:
        error, stats = await finish_of(peer, kind)
    assert error is None
    assert (stats["received"], stats["unanswered"]) == (3, 0)


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
async def test_a_second_refusal_is_raised_as_what_it_is(kind: str) -> None:
    with Peer(refuses("in band"), refuses("in band")) as peer:
        error, stats = await finish_of(peer, kind)
    assert isinstance(error, AuthenticationError)
    assert stats["unanswered"] == 3


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
@pytest.mark.parametrize("closes", [True, False], ids=["closes", "stays"])
async def test_behind_an_error_that_ends_the_session_no_answer_is_waited_for(kind: str, closes: bool) -> None:
    def script(session: Session) -> None:
        session.send(session.recv())
        session.recv()
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="out of memory")
        if closes:
            session.close(1000)
        else:
            session.wait_closed()

    errors: list[Exception] = []
    with Peer(script) as peer:
        error, _ = await finish_of(peer, kind, close_timeout=0.5, on_error=errors.append)
        assert len(peer.sessions) == 1
    assert isinstance(error, ConnectionLostError)
    assert error.unanswered in (1, 2), "the third may have been written or not"
    assert [str(each) for each in errors] == ["INTERNAL_ERROR: out of memory"]


async def test_what_came_before_an_input_is_no_answer_to_it() -> None:
    answer = threading.Event()

    def script(session: Session) -> None:
        session.send({"hello": 1})
        number = session.recv()
        answer.wait(60)
        session.send(number)

    with Peer(script) as peer:
        connection = await peer.client().connect(APP, **OPTIONS)
        assert await result_of(connection.recv()) == {"hello": 1}
        await connection.send({"number": 0})
        await connection.drain()
        assert connection.in_flight == 1
        finishing = asyncio.ensure_future(connection.finish(60))
        await asyncio.sleep(0.2)
        assert not finishing.done()
        answer.set()
        await result_of(finishing)
        assert await connection.recv() == {"number": 0}


async def test_an_error_about_an_input_is_its_answer() -> None:
    def script(session: Session) -> None:
        session.recv()
        session.send_json(type="x-fal-error", error="INVALID_INPUT", reason="no prompt")
        session.recv()
        session.send_raw(b"\xc1")
        session.wait_closed()

    errors = Log()
    with Peer(script) as peer:
        connection = await peer.client().connect(APP, **OPTIONS, on_error=errors)
        for number in range(2):
            await connection.send({"number": number})
        await errors.has(2)
        assert connection.in_flight == 0
        await result_of(connection.finish(60))
        assert (connection.stats()["unanswered"], len(errors)) == (0, 2)


async def test_requests_whose_errors_name_no_input_all_end() -> None:
    def script(session: Session) -> None:
        for _ in range(2):
            session.recv()
        for _ in range(2):
            session.send_json(type="x-fal-error", error="INVALID_INPUT", reason="no prompt")
        session.wait_closed()

    errors = Log()
    with Peer(script) as peer:
        connection = await peer.client().connect(APP, **OPTIONS, on_error=errors)
        requests = [asyncio.ensure_future(connection.request({"number": number})) for number in range(2)]
        outcomes = await result_of(asyncio.gather(*requests, return_exceptions=True))
        assert all("INVALID_INPUT" in str(outcome) for outcome in outcomes), outcomes
        assert len(errors) == 1, "the first, of which nobody knows whose it is"
        await connection.aclose()


@pytest.mark.parametrize("order", [("finish", "drain"), ("drain", "finish")])
async def test_who_finishes_and_who_drains_are_both_told_of_what_was_not_written(order: tuple[str, str]) -> None:
    with AppServer() as peer:
        peer.hold()
        connection = peer.connect()
        for number in range(5):
            connection.send_nowait({"number": number})
        calls = {"finish": connection.finish, "drain": connection.drain}
        tasks = {name: asyncio.ensure_future(calls[name]()) for name in order}
        await asyncio.sleep(0.1)
        connection.close()
        for task in tasks.values():
            with pytest.raises(ConnectionClosedError, match="5 inputs were not written"):
                await result_of(task)


async def test_a_connection_that_had_given_up_before_says_why_unless_that_was_told() -> None:
    with Peer(lambda session: session.refuse(404, "no such app")) as peer:
        connection = peer.client().connect(APP, **OPTIONS)
        connection.send_nowait({"number": 0})
        await result_of(connection.wait_closed())
        with pytest.raises(HandshakeError, match="404"):
            await result_of(connection.finish(60))
        told = peer.client().connect(APP, **OPTIONS)
        with pytest.raises(HandshakeError, match="404"):
            await told.open()
        await result_of(told.finish(60))


async def test_so_does_one_whose_sessions_brought_nothing() -> None:
    def take_and_leave(session: Session) -> None:
        session.recv()
        session.close(1011, "no GPU")

    policy = ReconnectPolicy(initial_delay=0.001, max_delay=0.002, max_fruitless=1)
    with Peer(take_and_leave) as peer:
        connection = peer.client().connect(APP, **{**OPTIONS, "use_jwt": True}, reconnect=policy)
        connection.send_nowait({"number": 0})
        await result_of(connection.wait_closed())
        with pytest.raises(ConnectionClosedError, match="no GPU"):
            await result_of(connection.finish(60))


@pytest.mark.parametrize("inputs", [1, 2])
async def test_of_several_inputs_a_result_too_large_may_have_been_anothers(inputs: int) -> None:
    go_on = threading.Event()

    def answer_too_large(session: Session) -> None:
        for _ in range(inputs):
            session.recv()
        assert go_on.wait(60)
        session.send({"data": bytes(200_000)})
        session.wait_closed()

    with Peer(answer_too_large) as peer:
        options = {**OPTIONS, "use_jwt": True, "max_message_size": 100_000, "on_error": Log()}
        connection = peer.client().connect(APP, **options)
        for number in range(inputs):
            await connection.send({"number": number})
        finishing = asyncio.ensure_future(connection.finish(60))
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(ConnectionLostError) as raised:
            await result_of(finishing)
        assert (raised.value.unanswered, raised.value.retryable) == (inputs, inputs > 1)
        assert isinstance(raised.value.__cause__, MessageTooLargeError)
