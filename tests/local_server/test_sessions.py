"""Single connections of a `LocalServer`, told what to do; seen by `websockets` and by this client."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest
from support.waiting import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

import fal_realtime.testing
from fal_realtime import ConnectionClosedError as OurConnectionClosedError, ConnectionLostError
from fal_realtime.testing import LocalServer, ServerSession

LIMIT = 60.0
"""Seconds; far more than anything here takes."""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as server:
        yield server


@contextlib.asynccontextmanager
async def opened(server: LocalServer, app: str = "local/echo", **headers: str) -> AsyncIterator[ClientConnection]:
    own = {"Authorization": f"Key {server.key}", **headers}
    async with connect(f"{server.base_url}/{app}", additional_headers=own, proxy=None) as socket:
        yield socket


async def ask(socket: ClientConnection, value: Any) -> Any:
    await socket.send(msgpack.packb(value))
    return msgpack.unpackb(await asyncio.wait_for(socket.recv(), LIMIT))


async def is_alive(socket: ClientConnection) -> None:
    """What was sent before has been read when the pong comes."""
    await asyncio.wait_for(await socket.ping(), LIMIT)


async def end_of(socket: ClientConnection) -> int | None:
    """The code that the server closes with, when nothing else comes; None without a close frame."""
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(socket.recv(), LIMIT)
    return closed.value.rcvd.code if closed.value.rcvd else None


async def test_the_open_sessions_are_there_in_their_order_with_what_their_clients_showed(server: LocalServer) -> None:
    server.serve_builtin("me/studio/custom", "echo")
    async with (
        opened(server, x_name="first") as first,
        opened(server, "me/studio/custom?a=b"),
        opened(server, "local/echo/realtime"),
    ):
        sessions = server.sessions()
        assert [session.app for session in sessions] == ["local/echo", "me/studio/custom", "local/echo"]
        assert [session.id for session in sessions] == sorted({session.id for session in sessions})
        assert sessions[0].handshake.headers["x_name"] == "first"
        assert (sessions[1].handshake.path, sessions[1].handshake.query) == ("/me/studio/custom", {"a": "b"})
        assert [session.handshake for session in sessions] == server.requests
        assert server.sessions("local/echo") == [sessions[0], sessions[2]]
        assert server.sessions("/local/echo/") == server.sessions("local/echo")
        assert len({*sessions, *server.sessions()}) == 3
        assert server.key not in repr(sessions) + repr(sessions[0].handshake)
        await ask(first, {"n": 1})
        assert (sessions[0].messages_received, sessions[0].messages_sent) == (1, 1)
        assert (sessions[1].messages_received, sessions[1].messages_sent) == (0, 0)
    await server.connections_reach(0)
    assert server.sessions() == []
    assert [session.is_open for session in sessions] == [False] * 3
    with pytest.raises(ValueError, match="app must be the name of an app that is served, not local/ecco"):
        server.sessions("local/ecco")


async def test_one_that_is_refused_in_band_is_no_session() -> None:
    with LocalServer(refuse_in_band=True) as server:
        async with connect(f"{server.base_url}/local/echo?fal_jwt_token=none", proxy=None) as socket:
            assert server.sessions() == []
            await socket.recv()


async def test_a_message_to_one_session_goes_to_no_other(server: LocalServer) -> None:
    async with opened(server) as first, opened(server) as second:
        session, _ = server.sessions()
        session.send(b"\x01")
        session.send("text")
        session.send(memoryview(b"\x02"))
        assert [await asyncio.wait_for(first.recv(), LIMIT) for _ in range(3)] == [b"\x01", "text", b"\x02"]
        assert await ask(second, {"n": 2}) == {"n": 2}
        with pytest.raises(TypeError, match="data must be bytes or a str, not int"):
            session.send(1)  # type: ignore[arg-type]


async def test_this_client_gets_a_message_that_was_sent_to_its_session(server: LocalServer) -> None:
    async with server.client().connect("local/echo") as connection:
        await connection.open()
        [session] = server.sessions()
        session.send(msgpack.packb({"unasked": True}))
        assert await connection.recv(timeout=LIMIT) == {"unasked": True}


async def test_one_session_is_closed_and_the_others_notice_nothing(server: LocalServer) -> None:
    async with opened(server) as first, opened(server) as second:
        session, other = server.sessions()
        session.close(4000, "ä" * 100)
        with pytest.raises(ConnectionClosedError) as closed:
            await asyncio.wait_for(first.recv(), LIMIT)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "ä" * 61)
        assert await ask(second, {}) == {}
        await server.connections_reach(1)
        assert (session.is_open, other.is_open) == (False, True)
        with pytest.raises(RuntimeError, match=f"session {session.id} of local/echo is over"):
            session.send(b"\x01")
        session.close()
        session.close_after(1)
        session.drop_connection()
        session.mute()
        for code in (1005, 1006, 999, 5000):
            with pytest.raises(ValueError, match="code must be a close code that may be sent"):
                other.close(code)
        with pytest.raises(ValueError, match="code must be from 0 to 65535"):
            other.close(70_000)


@pytest.mark.parametrize("abrupt", [True, False])
async def test_one_connection_ends_without_a_close_frame(server: LocalServer, abrupt: bool) -> None:
    async with opened(server) as first, opened(server) as second:
        server.sessions()[0].drop_connection(abrupt=abrupt)
        assert await end_of(first) is None
        assert await ask(second, {}) == {}


async def test_one_session_that_is_paused_takes_nothing_until_it_goes_on(server: LocalServer) -> None:
    async with opened(server) as first, opened(server) as second:
        session, _ = server.sessions()
        session.pause()
        await first.send(msgpack.packb({"n": 1}))
        pong = await first.ping()
        for number in range(20):
            assert await ask(second, {"n": number}) == {"n": number}
        assert (session.messages_received, pong.done()) == (0, False)
        session.resume()
        await asyncio.wait_for(pong, LIMIT)
        assert msgpack.unpackb(await asyncio.wait_for(first.recv(), LIMIT)) == {"n": 1}


async def test_one_session_stays_silent_and_alive_until_it_may_speak(server: LocalServer) -> None:
    async with opened(server) as first, opened(server) as second:
        session, _ = server.sessions()
        session.mute()
        for number in range(3):
            await first.send(msgpack.packb({"n": number}))
        await is_alive(first)
        assert await ask(second, {}) == {}
        assert (session.messages_received, session.messages_sent) == (3, 0)
        session.unmute()
        answers = [msgpack.unpackb(await asyncio.wait_for(first.recv(), LIMIT)) for _ in range(3)]
        assert answers == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_one_session_is_closed_after_so_many_messages_since_its_opening(server: LocalServer) -> None:
    async with opened(server) as first, opened(server) as second:
        one, other = server.sessions()
        one.close_after(3, 4001, "enough")
        other.close_after(2, counted="received")
        for number in range(3):
            assert await ask(first, {"n": number}) == {"n": number}
        assert await end_of(first) == 4001
        assert await ask(second, {}) == {}
        other.close_after(None)
        assert await ask(second, {}) == {}
        other.close_after(1, 4002)  # they have passed
        assert await end_of(second) == 4002


async def test_this_client_survives_what_befalls_its_session(server: LocalServer) -> None:
    async with server.client().connect("local/echo") as connection:
        for befalls in (
            lambda session: session.drop_connection(),
            lambda session: session.close(1012, "restart"),
            lambda session: session.close_after(0, None),
        ):
            assert await connection.request({"n": 1}, timeout=LIMIT)
            [session] = server.sessions()
            session.mute()
            waiting = asyncio.create_task(connection.request({"n": 2}))
            await until(lambda session=session: session.messages_received == 2, "the second input")
            befalls(session)
            with pytest.raises(ConnectionLostError):
                await asyncio.wait_for(waiting, LIMIT)
        assert await connection.request({"n": 3}, timeout=LIMIT)
        assert connection.stats()["reconnects"] == 3
    async with server.client().connect("local/echo", reconnect=None) as connection:
        await connection.open()
        server.sessions()[0].close(1011, "broken")
        with pytest.raises(OurConnectionClosedError) as closed:
            await connection.recv(timeout=LIMIT)
        assert (closed.value.code, closed.value.reason) == (1011, "broken")


def test_the_public_names_live_where_they_are_imported_from(server: LocalServer) -> None:
    for name in ("Handshake", "LocalServer", "MintRequest", "ServerSession"):
        public = getattr(fal_realtime.testing, name)
        assert (public.__module__, public.__qualname__) == ("fal_realtime.testing", name)
        assert pickle.loads(pickle.dumps(public)) is public
    assert ServerSession.__doc__
