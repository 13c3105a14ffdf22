"""`close(code, reason)`: what the server is told, and what may be said."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support import Peer, Session, result_of
from websockets.asyncio.server import serve

from fal_realtime import ConnectionClosedError, RealtimeClient

APP = "fal-ai/fast-lcm-diffusion"


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1001, "moving"), (3000, ""), (4999, "é" * 61 + "!")]
)
async def test_the_server_is_told_the_code_and_the_reason(code, reason):
    seen = []
    told = threading.Event()

    async def look(websocket):
        await websocket.wait_closed()
        seen.append((websocket.close_code, websocket.close_reason))
        told.set()

    async with serve(look, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        connection = await RealtimeClient().connect_raw(f"ws://127.0.0.1:{port}")
        await connection.close(code, reason)
        assert connection.state == "closed"
        # The peer answers with the same (RFC 6455, section 5.5.1).
        assert (connection.close_code, connection.close_reason) == (code, reason)
        with pytest.raises(ConnectionClosedError):
            await connection.send("x")
    assert seen == [(code, reason)]


async def test_what_was_accepted_is_written_before_it():
    with Peer(Session.wait_closed) as peer:
        connection = await peer.client().connect(APP, throttle_interval=0)
        for number in range(100):
            connection.send_nowait({"number": number})
        await connection.close(4000, "enough")
        await peer.until(lambda: peer.sessions[0].close_code is not None)
        assert (len(peer.inputs), peer.sessions[0].close_code) == (100, 4000)


async def test_the_first_close_counts():
    with Peer(Session.wait_closed) as peer:
        connection = await peer.client().connect(APP)
        connection.close(4001)
        await connection.close(4002)
        assert peer.sessions[0].close_code == 4001


def test_the_blocking_client_says_it_too():
    with Peer(Session.wait_closed) as peer:
        connection = peer.sync_client().connect(APP)
        connection.open()
        connection.close(code=3000, reason="bye")
        peer.wait(lambda: peer.sessions[0].close_code is not None)
        assert peer.sessions[0].close_code == 3000


@pytest.mark.parametrize(
    ("code", "reason", "error", "message"),
    [
        (1002, "", ValueError, "code must be 1000 .*, 1001 .* or from 3000 to 4999 .*, not 1002"),
        (1005, "", ValueError, "not 1005"),
        (1006, "", ValueError, "not 1006"),
        (2999, "", ValueError, "not 2999"),
        (5000, "", ValueError, "not 5000"),
        (-1, "", ValueError, "code must be at least 0"),
        (True, "", TypeError, "code must be an int, not bool"),
        ("1000", "", TypeError, "code must be an int, not str"),
        (1000, "x" * 124, ValueError, "reason must have at most 123 bytes in UTF-8, not 124"),
        (1000, "é" * 62, ValueError, "reason must have at most 123 bytes in UTF-8, not 124"),
        (1000, None, TypeError, "reason must be a str"),
        (1000, "\ud800", ValueError, "reason must not hold a lone surrogate"),
    ],
)
async def test_what_may_not_be_said_is_refused_and_nothing_is_closed(code, reason, error, message):
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(error, match=message):
                connection.close(code, reason)
            assert (await result_of(connection.request({})))["request_id"]
        sync = peer.sync_client().connect(APP)
        with pytest.raises(error, match=message):
            sync.close(code, reason)
        sync.close()


CODE, REASON = 4000, "why"


def agree(connection, *errors) -> None:
    assert (connection.close_code, connection.close_reason) == (CODE, REASON)
    for error in errors:
        assert (error.code, error.reason) == (CODE, REASON)


async def raised_by(*calls) -> list[ConnectionClosedError]:
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert all(type(error) is ConnectionClosedError for error in errors)
    return errors


def answers_nothing(session: Session) -> None:
    session.accept()
    threading.Event().wait(1)


class TestWhatIsSaidAfterwards:
    """`close_code`, `close_reason` and all errors say the same."""

    async def test_of_an_open_connection(self) -> None:
        with Peer(Session.wait_closed) as peer:
            connection = await peer.client().connect(APP, throttle_interval=0)
            request = asyncio.ensure_future(connection.request({"number": 1}))
            await peer.until(lambda: peer.inputs)
            closing = connection.close(CODE, REASON)
            agree(connection, *await raised_by(connection.send({}), connection.request({})))
            await closing
            agree(
                connection,
                *await raised_by(
                    request, connection.send({}), connection.recv(), connection.latest(), connection.open()
                ),
            )
            with pytest.raises(ConnectionClosedError) as raised:
                connection.send_nowait({})
            agree(connection, raised.value)

    async def test_an_iteration_ends_normally(self) -> None:
        with Peer() as peer:
            connection = await peer.client().connect(APP, throttle_interval=0)
            await connection.send({"number": 1})
            came = []
            async for result in connection:
                came.append(result)
                connection.close(CODE, REASON)
            assert came == [{"number": 1}]

    async def test_of_one_that_was_not_open(self) -> None:
        hold = threading.Event()
        with Peer(lambda session: hold.wait(10)) as peer:
            for begin in (lambda _: None, lambda connection: connection.send_nowait({})):
                connection = peer.client().connect(APP)
                begin(connection)
                await connection.close(CODE, REASON)
                agree(connection, *await raised_by(connection.recv(), connection.send({}), connection.open()))
            hold.set()

    async def test_of_one_that_is_closed_in_its_on_open(self) -> None:
        with Peer(Session.wait_closed) as peer:
            connection = peer.client().connect(APP, on_open=lambda connection: connection.close(CODE, REASON))
            with pytest.raises(ConnectionClosedError) as raised:
                await connection
            await connection.wait_closed()
            agree(connection, raised.value, *await raised_by(connection.recv()))
            await peer.until(lambda: peer.sessions[0].close_code is not None)
            assert peer.sessions[0].close_code == CODE

    async def test_whatever_the_server_answers(self) -> None:
        def another(session: Session) -> None:
            session.wait_closed()

        for script in (answers_nothing, another, Session.drop):
            with Peer(script) as peer:
                connection = peer.client().connect(APP, close_timeout=0.05, reconnect=None)
                connection.send_nowait({"number": 1})
                await peer.until(lambda: peer.sessions)
                await connection.close(CODE, REASON)
                if script is not Session.drop:
                    agree(connection, *await raised_by(connection.recv(), connection.send({})))

    async def test_what_was_not_written_says_so_too(self) -> None:
        hold = threading.Event()
        with Peer(lambda session: hold.wait(10)) as peer:
            connection = peer.client().connect(APP)
            connection.send_nowait({})
            draining = asyncio.ensure_future(connection.drain())
            await asyncio.sleep(0)
            await connection.close(CODE, REASON)
            agree(connection, *await raised_by(draining))
            hold.set()

    def test_of_a_blocking_one(self) -> None:
        with Peer(Session.wait_closed) as peer:
            connection = peer.sync_client().connect(APP)
            connection.open()
            connection.close(CODE, REASON)
            for call in (connection.recv, connection.open, lambda: connection.send({}), lambda: connection.request({})):
                with pytest.raises(ConnectionClosedError) as raised:
                    call()
                agree(connection, raised.value)
            assert list(connection) == []

    def test_of_a_blocking_one_that_is_closed_in_its_on_open(self) -> None:
        with Peer(Session.wait_closed) as peer:
            connection = peer.sync_client().connect(APP, on_open=lambda connection: connection.close(CODE, REASON))
            with pytest.raises(ConnectionClosedError) as raised:
                connection.open()
            agree(connection, raised.value)

    async def test_a_raw_server_that_closes_without_a_code(self) -> None:
        async def bye(websocket):
            websocket.transport.write(b"\x88\x00")

        async with serve(bye, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            connection = await RealtimeClient().connect_raw(f"ws://127.0.0.1:{port}")
            assert [message async for message in connection] == []
            with pytest.raises(ConnectionClosedError) as raised:
                await connection.recv()
            assert (connection.close_code, raised.value.code) == (1005, 1005)
