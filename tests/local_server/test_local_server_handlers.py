"""Handlers of a `LocalServer` that do what they should not, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fal_realtime import ConnectionClosedError
from fal_realtime.testing import LocalServer


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as server:
        yield server


async def answers(server: LocalServer, app: str, *inputs: Any) -> list[Any]:
    """What comes back until the server closes, its close code last; None where there is no close frame."""
    heard: list[Any] = []
    headers = {"Authorization": f"Key {server.key}"}
    async with connect(f"{server.base_url}/{app}", additional_headers=headers, proxy=None) as socket:
        for value in inputs:
            await socket.send(msgpack.packb(value))
        try:
            while True:
                answer = await asyncio.wait_for(socket.recv(), 60)
                heard.append(answer if isinstance(answer, str) else msgpack.unpackb(answer))
        except ConnectionClosed as closed:
            heard.append(closed.rcvd.code if closed.rcvd else None)
    return heard


async def test_a_handler_that_exits_ends_its_session_alone(server: LocalServer) -> None:
    @server.app("me/exit")
    async def leave(message: Any) -> dict[str, Any]:
        sys.exit(3)

    @server.app("me/exit-in-a-thread")
    def leave_in_a_thread(message: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    @server.app("me/exit-in-a-stream")
    async def leave_in_a_stream(message: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"n": 0}
        sys.exit(3)

    @server.app("me/echo", session_timeout=0.2)
    async def echo(message: Any) -> Any:
        return message

    assert await answers(server, "me/exit", {}) == [None]
    assert await answers(server, "me/exit-in-a-thread", {}) == [None]
    assert await answers(server, "me/exit-in-a-stream", {}) == [{"n": 0}, None]
    assert (await answers(server, "me/echo", {"a": 1}))[0] == {"a": 1}
    server.stop()


@pytest.mark.parametrize("kind", [GeneratorExit, KeyboardInterrupt, SystemExit, pytest.fail.Exception])
async def test_no_task_is_left_with_what_a_handler_raised(
    server: LocalServer, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    @server.app("me/async")
    async def on_the_loop(message: Any) -> dict[str, Any]:
        raise kind

    @server.app("me/sync")
    def in_a_thread(message: Any) -> dict[str, Any]:
        raise kind

    @server.app("me/stream")
    async def in_a_stream(message: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"n": 0}
        raise kind

    for app in ("me/async", "me/sync", "me/stream"):
        assert (await answers(server, app, {}))[-1] is None
    server.stop()
    gc.collect()
    ended = "a session of the local server ended without a close frame"
    assert [record.getMessage() for record in caplog.records] == [ended] * 3


async def test_a_function_that_raises_stop_iteration_is_a_handler_that_failed(server: LocalServer) -> None:
    @server.app("me/first")
    def first(message: Any) -> Any:
        return next(iter(message["items"]))

    error, code = await answers(server, "me/first", {"items": []})
    assert json.loads(error)["reason"] == "the function raised StopIteration"
    assert code == 1000


async def test_what_the_client_of_the_server_sees_of_such_an_end(server: LocalServer) -> None:
    @server.app("me/exit")
    async def leave(message: Any) -> dict[str, Any]:
        sys.exit(3)

    async with server.client().connect("me/exit", throttle_interval=0, reconnect=None) as connection:
        with pytest.raises(ConnectionClosedError):
            await asyncio.wait_for(connection.request({}), 60)


async def test_a_handler_of_a_client_that_left_runs_to_its_end(server: LocalServer) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    @server.app("me/slow")
    def slow(message: Any) -> dict[str, Any]:
        loop.call_soon_threadsafe(ended.set)
        return {}

    async with server.client().connect("me/slow", throttle_interval=0) as connection:
        await connection.send({})
        await connection.drain()
        await asyncio.wait_for(ended.wait(), 60)


async def test_its_clients_go_through_no_proxy_of_the_environment(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with server.client().connect("local/echo") as connection:
        assert await connection.request({"a": 1}, timeout=60)


def test_no_attribute_shows_the_key() -> None:
    server = LocalServer(key="key-id:hunter2")
    assert server.key == "key-id:hunter2"
    assert "hunter2" not in repr(vars(server))


async def test_an_annotation_may_be_of_a_local_name(server: LocalServer) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Input(pydantic.BaseModel):
        n: int = 7

    @server.app("me/typed", session_timeout=0.2)
    async def typed(message: Input) -> dict[str, Any]:
        return {"n": message.n}

    assert (await answers(server, "me/typed", {}))[0] == {"n": 7}
    with pytest.raises(NameError, match="Nowhere"):

        @server.app("me/wrong")
        async def wrong(message: Nowhere) -> dict[str, Any]:  # type: ignore[name-defined] # noqa: F821
            return {}


async def test_a_json_app_has_its_own_codec(server: LocalServer) -> None:
    import json  # noqa: PLC0415

    @server.app("me/json", decode_message=json.loads, encode_message=lambda result: json.dumps(result).encode())
    async def app(message: Any) -> dict[str, Any]:
        return {"got": message}

    async with server.client().connect(
        "me/json", encode_message=lambda m: json.dumps(m).encode(), decode_message=json.loads, throttle_interval=0
    ) as connection:
        await connection.send({"a": [1]})
        assert await asyncio.wait_for(connection.recv(), 60) == {"got": {"a": [1]}}


async def test_none_ends_a_stream_that_then_tells_of_nothing_unanswered(server: LocalServer) -> None:
    @server.app("me/echo-stream")
    async def echo(inputs: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for each in inputs:
            yield each

    async with server.client().connect("me/echo-stream", streaming=True) as connection:
        await connection.send({"n": 1})
        assert await connection.recv(timeout=60) == {"n": 1}
        await connection.send(None)
        assert [result async for result in connection] == []
        assert connection.stats()["unanswered"] == 0
