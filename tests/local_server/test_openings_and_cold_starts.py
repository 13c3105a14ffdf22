"""Openings that a `LocalServer` refuses, and sessions that begin late, are silent or end early.

Seen by `websockets` and by this client.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest
from support.waiting import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response

from fal_realtime import ConnectionClosedError, FalRealtimeError
from fal_realtime.testing import LocalServer

LIMIT = 60.0
"""Seconds; far more than anything here takes."""

NEVER = 3600.0
"""Seconds; far more than a test may take."""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as server:
        yield server


@contextlib.asynccontextmanager
async def opened(server: LocalServer, app: str = "local/echo") -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Key {server.key}"}
    async with connect(f"{server.base_url}/{app}", additional_headers=headers, proxy=None) as socket:
        yield socket


async def refused(server: LocalServer, app: str = "local/echo") -> Response:
    with pytest.raises(InvalidStatus) as raised:
        async with opened(server, app):
            pass
    return raised.value.response


async def recv(socket: ClientConnection) -> Any:
    answer = await asyncio.wait_for(socket.recv(), LIMIT)
    return answer if isinstance(answer, str) else msgpack.unpackb(answer)


async def ask(socket: ClientConnection, value: Any) -> Any:
    await socket.send(msgpack.packb(value))
    return await recv(socket)


async def is_alive(socket: ClientConnection) -> None:
    """What was sent before has been read when the pong comes."""
    await asyncio.wait_for(await socket.ping(), LIMIT)


async def all_of(socket: ClientConnection) -> list[Any]:
    """What comes until the server closes, its code last; None without a close frame."""
    heard = []
    try:
        while True:
            heard.append(await recv(socket))
    except ConnectionClosed as closed:
        return [*heard, closed.rcvd.code if closed.rcvd else None]


# --- refusals ---


async def test_openings_are_refused_with_what_the_test_wants_them_to_say(server: LocalServer) -> None:
    server.refuse(429, retry_after=7, headers={"X-Fal-Request-Id": "r-1", "Content-Type": "text/plain"}, body="später")
    response = await refused(server)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
    assert (response.headers["X-Fal-Request-Id"], response.headers["Content-Type"]) == ("r-1", "text/plain")
    assert response.body == "später".encode()
    server.refuse(503)
    response = await refused(server)
    assert (response.status_code, "Retry-After" in response.headers) == (503, False)
    assert response.body == b'{"detail":"told to refuse"}'
    server.refuse(307, headers={"Location": "/elsewhere"}, body=b"")
    assert [handshake.status for handshake in server.requests] == [429, 503]
    server.refuse(None)
    async with opened(server) as socket:
        assert await ask(socket, {}) == {}


async def test_so_many_openings_of_one_app_are_refused_and_no_others(server: LocalServer) -> None:
    server.refuse(502, count=2, app="local/image")
    async with opened(server, "local/echo"):
        pass
    assert [(await refused(server, "local/image/realtime")).status_code for _ in range(2)] == [502, 502]
    async with opened(server, "local/image"):
        pass
    server.refuse(502, count=0)
    async with opened(server):
        pass


async def test_this_client_waits_for_as_long_as_it_is_told_and_opens_again(server: LocalServer) -> None:
    server.refuse(429, retry_after=0, count=2)
    # Nobody awaits the opening itself, which would fail at the first refusal.
    connection = server.client().connect("local/echo")
    assert await connection.request({"n": 1}, timeout=LIMIT)
    await connection.aclose()
    assert [handshake.status for handshake in server.requests] == [429, 429, 101]
    server.refuse(429, retry_after=5)
    connection = server.client().connect("local/echo", reconnect=None)
    with pytest.raises(FalRealtimeError) as raised:
        await connection.open()
    assert (raised.value.retryable, raised.value.retry_after) == (True, 5.0)


async def test_token_requests_fail_with_what_the_test_wants_them_to_say(server: LocalServer) -> None:
    server.mint_failures(1, 429, retry_after=3, headers={"X-Why": "busy"}, body=b"{}")
    request = urllib.request.Request(f"{server.rest_url}/tokens/", data=b"{}", method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as failed:
        await asyncio.to_thread(opener.open, request, timeout=LIMIT)
    with failed.value as answer:
        assert (answer.code, answer.headers["Retry-After"], answer.headers["X-Why"]) == (429, "3", "busy")
        assert answer.read() == b"{}"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"status": 299}, ValueError, "status must be an HTTP status from 300 to 599, not 299"),
        ({"status": 429, "retry_after": -1}, ValueError, "retry_after must be at least 0"),
        ({"status": 429, "retry_after": 1.5}, TypeError, "retry_after must be an int, not float"),
        ({"status": 429, "count": -1}, ValueError, "count must be from 0"),
        ({"status": 429, "app": "local/ecco"}, ValueError, "app must be the name of an app that is served"),
        ({"status": 429, "headers": {"a b": "c"}}, ValueError, 'headers may not have "a b"'),
        ({"status": 429, "headers": {"a": "b\r\nc: d"}}, ValueError, 'headers may not have "a" with this value'),
        ({"status": 429, "headers": {"Content-Length": "5"}}, ValueError, 'headers may not have "Content-Length"'),
        ({"status": 429, "headers": {"a": 1}}, TypeError, "must be a str, not int"),
        ({"status": 429, "headers": [("a", "b")]}, TypeError, "headers must be a mapping"),
        ({"status": 429, "body": 5}, TypeError, "body must be bytes or a str, not int"),
    ],
)
def test_a_refusal_that_cannot_be_given_is_refused(
    server: LocalServer, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        server.refuse(**arguments)


# --- silence ---


async def test_open_sessions_and_new_ones_are_silent_and_alive(server: LocalServer) -> None:
    async with opened(server) as before, opened(server, "local/bidi") as other:
        server.mute("local/echo")
        async with opened(server) as after:
            for socket in (before, after):
                await socket.send(msgpack.packb({"n": 1}))
                await is_alive(socket)
            assert await ask(other, {"n": 2}) == {"index": 0, "input": {"n": 2}}
            assert [session.messages_sent for session in server.sessions("local/echo")] == [0, 0]
            assert [session.messages_received for session in server.sessions("local/echo")] == [1, 1]
            server.send("said by the test")
            assert [await recv(before), await recv(after)] == ["said by the test"] * 2
            server.unmute()
            assert [await recv(before), await recv(after)] == [{"n": 1}] * 2
            assert await ask(before, {"n": 3}) == {"n": 3}


async def test_a_silent_function_works_and_what_it_said_goes_out_later(server: LocalServer) -> None:
    worked = asyncio.Event()
    loop = asyncio.get_running_loop()

    @server.app("me/many", buffering=30)
    async def many(message: Any) -> AsyncIterator[dict[str, Any]]:
        for number in range(message["count"]):
            yield {"number": number, "data": b"." * 20_000}
            loop.call_soon_threadsafe(worked.set)

    server.mute()
    async with opened(server, "me/many") as socket:
        await socket.send(msgpack.packb({"count": 30}))
        await asyncio.wait_for(worked.wait(), LIMIT)
        await is_alive(socket)
        [session] = server.sessions()
        assert session.messages_sent == 0
        server.unmute()
        *results, end, code = await all_of(socket)
    assert [result["number"] for result in results] == list(range(30))
    assert ("TIMEOUT" in end, code) == (True, 1000)


async def test_silence_is_no_time_without_inputs() -> None:
    with LocalServer(session_timeout=0.2) as server:
        server.mute()
        async with opened(server) as socket:
            await socket.send(msgpack.packb({"delay": 0.1}))
            await asyncio.sleep(0.6)  # as long as the session would live
            server.unmute()
            answer, end, code = await all_of(socket)
    assert (answer, "TIMEOUT" in end, code) == ({"delay": 0.1}, True, 1000)


async def test_this_client_waits_for_a_silent_server_and_pings_it(server: LocalServer) -> None:
    server.mute()
    async with server.client().connect("local/echo", ping_interval=0.05, ping_timeout=LIMIT) as connection:
        await connection.send({"n": 1})
        await until(lambda: server.pings_received >= 3, "three pings")
        assert (connection.state, connection.in_flight) == ("active", 1)
        server.unmute()
        assert await connection.recv(timeout=LIMIT) == {"n": 1}


# --- cold starts ---


async def test_a_cold_app_is_accepted_and_alive_and_does_not_begin(server: LocalServer) -> None:
    begun = []

    @server.app("me/cold")
    async def cold(message: Any) -> Any:
        begun.append(message)
        return message

    server.cold_start(NEVER, app="me/cold")
    async with opened(server, "me/cold") as socket, opened(server) as other:
        await socket.send(msgpack.packb({"n": 1}))
        await is_alive(socket)
        [session] = server.sessions("me/cold")
        assert (session.messages_received, session.messages_sent, begun) == (1, 0, [])
        assert await ask(other, {"n": 2}) == {"n": 2}
        server.cold_start(0)
        async with opened(server, "me/cold") as warm:
            assert await ask(warm, {"n": 3}) == {"n": 3}
    assert begun == [{"n": 3}]


@pytest.mark.parametrize("app", ["local/echo", "me/echo"])
async def test_what_came_before_the_app_was_warm_is_answered_in_its_order(server: LocalServer, app: str) -> None:
    @server.app("me/echo", buffering=100, session_timeout=0.1)
    async def echo(message: Any) -> Any:
        return message

    server.serve_builtin("local/echo", "echo", session_timeout=0.1)
    server.cold_start(0.5)
    async with opened(server, app) as socket:
        for number in range(50):
            await socket.send(msgpack.packb({"n": number}))
        *answers, end, code = await all_of(socket)
    assert answers == [{"n": number} for number in range(50)]
    # The time without inputs began when the app was warm; else the session had ended first.
    assert ("TIMEOUT" in end, code) == (True, 1000)


async def test_the_first_session_warms_an_app_for_those_that_follow(server: LocalServer) -> None:
    server.cold_start(NEVER, once=True)
    async with opened(server) as first, opened(server) as second:
        for socket in (first, second):
            await socket.send(msgpack.packb({}))
            await is_alive(socket)
        assert [session.messages_sent for session in server.sessions()] == [0, 0]
    server.cold_start(0.05, once=True)
    async with opened(server) as first:
        assert await ask(first, {"n": 1}) == {"n": 1}
    async with opened(server) as later:
        assert await ask(later, {"n": 2}) == {"n": 2}


async def test_a_client_that_leaves_a_cold_app_is_gone(server: LocalServer) -> None:
    server.cold_start(NEVER)
    async with opened(server):
        pass
    await server.connections_reach(0)


async def test_this_client_waits_for_a_cold_app(server: LocalServer) -> None:
    server.cold_start(0.3)
    async with server.client().connect("local/echo") as connection:
        results = await asyncio.gather(*(connection.request({"n": number}, timeout=LIMIT) for number in range(5)))
    assert [result["n"] for result in results] == list(range(5))
    assert server.connections_total == 1


# --- closed after so many messages ---


@pytest.mark.parametrize("code", [1000, 1011, 4000, None])
async def test_a_session_ends_behind_so_many_results(server: LocalServer, code: int | None) -> None:
    server.close_after(2, code)
    async with opened(server, "local/stream") as socket:
        await socket.send(msgpack.packb({"count": 5}))
        *results, ended = await all_of(socket)
    assert ([result["index"] for result in results], ended) == ([0, 1], code)


async def test_a_session_ends_at_so_many_inputs_and_the_last_has_no_answer(server: LocalServer) -> None:
    server.close_after(2, 1013, "full", counted="received", app="local/echo")
    for _ in range(2):
        async with opened(server) as socket:
            assert await ask(socket, {"n": 0}) == {"n": 0}
            await socket.send(msgpack.packb({"n": 1}))
            assert await all_of(socket) == [1013]
    server.close_after(0, 1001)
    async with opened(server) as socket:
        assert await all_of(socket) == [1001]
    server.close_after(None)
    async with opened(server) as socket:
        assert [await ask(socket, {"n": number}) for number in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_this_client_gets_what_came_before_and_the_code(server: LocalServer) -> None:
    server.close_after(2, 1011, "broken")
    async with server.client().connect("local/stream", streaming=True, reconnect=None) as connection:
        await connection.send({"count": 5})
        assert [(await connection.recv(timeout=LIMIT))["index"] for _ in range(2)] == [0, 1]
        with pytest.raises(ConnectionClosedError) as closed:
            await connection.recv(timeout=LIMIT)
        assert (closed.value.code, closed.value.reason) == (1011, "broken")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((-1,), ValueError, "messages must be from 0"),
        ((1, 1006), ValueError, "code must be a close code that may be sent"),
        ((1, "1000"), TypeError, "code must be an int, not str"),
        ((1, 1000, None), TypeError, "reason must be a str, not NoneType"),
    ],
)
def test_an_end_that_cannot_be_is_refused(
    server: LocalServer, arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        server.close_after(*arguments)
    with pytest.raises(ValueError, match="counted must be 'sent' or 'received', not 'both'"):
        server.close_after(1, counted="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seconds must be a number of seconds, 0 or more"):
        server.cold_start(-1)
