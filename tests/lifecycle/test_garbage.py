"""What nobody holds any more is collected, its socket is closed, and the mistake is reported."""
# ruff: noqa: PT031 - the warning comes with the collection, not with the statement that lets go

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from support import AppServer, until, until_sync

from fal_realtime import RealtimeConnection

NEVER_CLOSED = "never closed"


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


class Session:
    """Refers to its connection, and its connection to it."""

    connection: Any

    def take(self, value: Any) -> None:
        """A callback."""

    async def take_async(self, value: Any) -> None:
        """A callback."""

    def encode(self, value: Any) -> bytes:
        return b"\x80"

    def decode(self, value: Any) -> Any:
        return value

    async def token(self, app: str) -> str:
        return "token"

    def token_now(self, app: str) -> str:
        return "token"


CALLBACKS = ("on_result", "on_error", "on_timings", "on_state_change")
OPTIONS: dict[str, Any] = {
    "no callbacks": lambda _: {},
    "callbacks": lambda session: dict.fromkeys(CALLBACKS, session.take),
    "asynchronous callbacks": lambda session: {"on_result": session.take_async, "on_state_change": session.take_async},
    "codecs": lambda session: {"encode_message": session.encode, "decode_message": session.decode},
    "a token provider": lambda session: {"use_jwt": True, "token_provider": session.token_now},
    "an asynchronous token provider": lambda session: {"use_jwt": True, "token_provider": session.token},
    "a key": lambda session: {"connection_key": "key", "on_result": session.take},
}
SYNC_OPTIONS = [name for name in OPTIONS if "asynchronous" not in name]


@pytest.mark.parametrize("name", OPTIONS)
async def test_an_abandoned_connection_is_collected_and_closed_with(name: str, peer: AppServer) -> None:
    await until(lambda: not peer.sockets, "the sockets of other tests to be closed")
    session = Session()
    session.client = peer.client()  # type: ignore[attr-defined] # a cycle through the client as well
    connection = session.connection = session.client.connect(  # type: ignore[attr-defined]
        "local/echo", **{"use_jwt": False, "throttle_interval": 0, **OPTIONS[name](session)}
    )
    await connection
    await until(lambda: len(peer.sockets) == 1, "the socket")
    await asyncio.sleep(0)
    dead = weakref.ref(connection), weakref.ref(session)
    with pytest.warns(ResourceWarning, match=NEVER_CLOSED):
        del connection, session
        await until(lambda: gc.collect() is not None and not any(reference() for reference in dead), "the collection")
    await until(lambda: not peer.sockets, "the socket to be closed")


@pytest.mark.parametrize("name", SYNC_OPTIONS)
def test_an_abandoned_blocking_connection_is_collected_and_closed_with(name: str, peer: AppServer) -> None:
    until_sync(lambda: not peer.sockets, "the sockets of other tests to be closed")
    session = Session()
    session.client = peer.sync_client()  # type: ignore[attr-defined]
    connection = session.connection = session.client.connect(  # type: ignore[attr-defined]
        "local/echo", **{"use_jwt": False, "throttle_interval": 0, **OPTIONS[name](session)}
    )
    connection.open()
    until_sync(lambda: len(peer.sockets) == 1, "the socket")
    dead = weakref.ref(connection), weakref.ref(session)
    with pytest.warns(ResourceWarning, match=NEVER_CLOSED):
        del connection, session
        until_sync(lambda: gc.collect() is not None and not any(reference() for reference in dead), "the collection")
    until_sync(lambda: not peer.sockets, "the socket to be closed")
    until_sync(lambda: not callback_threads(), "the end of the callback thread")


def callback_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fal-realtime-callbacks")]


async def test_a_connection_that_is_waited_on_is_not_collected(peer: AppServer) -> None:
    receiving = asyncio.ensure_future(only_receive(peer))
    await until(lambda: receiving.done() or gc.collect() is None or peer.inputs[-1:] == ["last"], "the send")
    assert await asyncio.wait_for(receiving, 60) == "last"


async def only_receive(peer: AppServer) -> Any:
    connection = await peer.connect()
    await connection.send("last")
    result = await connection.recv()
    connection.close()
    return result


async def test_a_connection_abandoned_in_mid_wait_is_collected(peer: AppServer) -> None:
    """A cycle of connection, future, operation, without a task that the loop would hold."""
    await until(lambda: not peer.sockets, "the sockets of other tests to be closed")
    connection = await peer.connect()
    waiting = [connection.recv(), connection.request({"silent": True}), connection.wait_closed()]
    for operation in waiting:
        operation.send(None)
    dead = weakref.ref(connection)
    with pytest.warns(ResourceWarning, match=NEVER_CLOSED):
        del connection, waiting, operation
        await until(lambda: gc.collect() is not None and dead() is None, "the collection")
    await until(lambda: not peer.sockets, "the socket to be closed")


async def test_a_closed_connection_is_collected_without_a_warning(peer: AppServer) -> None:
    session = Session()
    async with peer.connect(on_result=session.take) as connection:
        session.connection = connection
    dead = weakref.ref(connection)
    del connection, session
    await until(lambda: gc.collect() is not None and dead() is None, "the collection")


async def test_a_connection_that_was_never_opened_is_collected_without_a_warning(peer: AppServer) -> None:
    dead = weakref.ref(peer.connect())
    gc.collect()
    assert dead() is None


async def test_an_unsent_message_that_goes_with_its_connection_is_reported(peer: AppServer) -> None:
    """Sent the way that only works with a `connection_key`: nobody holds the connection."""
    with pytest.warns(ResourceWarning, match=NEVER_CLOSED):
        peer.connect().send_nowait({"n": 1})
        gc.collect()


def test_an_unsent_message_that_goes_with_its_blocking_connection_is_reported(peer: AppServer) -> None:
    with pytest.warns(ResourceWarning, match=NEVER_CLOSED):
        peer.connect_sync().send_nowait({"n": 1})
        gc.collect()


async def test_a_finished_request_leaves_nothing_behind(peer: AppServer) -> None:
    async with peer.connect() as connection:
        await connection.request({"n": 0}, timeout=60)
        gc.collect()
        before = count_natives()
        for n in range(200):
            await connection.request({"n": n}, timeout=60)
        gc.collect()
        assert count_natives() == before


def count_natives() -> int:
    modules = [type(thing).__module__ for thing in gc.get_objects()]
    return sum(module in ("fal_realtime._core", "fal_realtime._connection", "_asyncio") for module in modules)


async def test_loops_are_not_kept_by_the_package(peer: AppServer) -> None:
    def in_a_loop_of_its_own() -> weakref.ref[asyncio.AbstractEventLoop]:
        async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
            async with peer.connect() as connection:
                await connection.request({"n": 1}, timeout=60)
            return weakref.ref(asyncio.get_running_loop())

        return asyncio.run(main())

    dead = [await asyncio.to_thread(in_a_loop_of_its_own) for _ in range(5)]
    await until(lambda: gc.collect() is not None and not any(loop() for loop in dead[:-1]), "the collection")


@pytest.mark.parametrize("name", ["send", "request"])
async def test_a_message_whose_sending_was_never_awaited_is_reported(name: str, peer: AppServer) -> None:
    async with peer.connect() as connection:
        operation = getattr(RealtimeConnection, name)
        with pytest.warns(RuntimeWarning, match="never awaited"):
            operation(connection, {"n": 1})
            gc.collect()
        assert connection.stats()["accepted"] == 0
