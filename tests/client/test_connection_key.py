"""`connection_key`: the same connection for whoever connects again, without holding on to it."""
# ruff: noqa: PT031 - the warning comes with the collection, not with the statement that lets go

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support import LIMIT, Log, Peer, Session, result_of

from fal_realtime import AuthenticationError, RealtimeClient

APP = "fal-ai/fast-lcm-diffusion"
USER: contextvars.ContextVar[str] = contextvars.ContextVar("USER", default="nobody")


async def test_a_connection_with_a_key_lives_although_nobody_holds_it():
    """As in a handler that connects for each frame that it is called with."""
    results = Log()
    with Peer() as peer:
        client = peer.client()
        for number in range(3):
            client.connect(APP, connection_key="k", on_result=results, throttle_interval=0).send_nowait(number)
            gc.collect()
        assert await results.has(3) == [0, 1, 2]
        assert len(peer.sessions) == 1
        await client.connect(APP, connection_key="k").aclose()


async def test_callbacks_run_in_the_contextvars_of_the_connect_that_gave_them():
    seen = Log()

    async def note_async(_: Any) -> None:
        await asyncio.sleep(0)
        seen(USER.get())

    with Peer() as peer:
        client = peer.client()
        USER.set("first")
        connection = client.connect(APP, connection_key="k", on_result=note_async, throttle_interval=0)
        connection.send_nowait(0)
        await seen.has(1)
        for user, on_result in (("second", lambda _: seen(USER.get())), ("third", note_async)):
            USER.set(user)
            assert client.connect(APP, connection_key="k", on_result=on_result) is connection
            USER.set("somebody else")
            connection.send_nowait(0)
            await seen.has(len(seen) + 1)
        await connection.aclose()
    assert seen == ["first", "second", "third"]


async def test_the_error_callback_of_an_async_encoder_runs_in_the_contextvars_of_its_connect():
    seen = Log()

    async def fail(message: Any) -> bytes:
        raise LookupError(message)

    with Peer() as peer:
        client = peer.client()
        USER.set("first")
        client.connect(APP, connection_key="k", encode_message=fail)
        USER.set("second")
        connection = client.connect(APP, connection_key="k", on_error=lambda _: seen(USER.get()), encode_message=fail)
        USER.set("somebody else")
        connection.send_nowait(0)
        assert await seen.has(1) == ["second"]
        connection.close()


def test_blocking_callbacks_run_in_the_contextvars_of_the_connect_that_gave_them():
    seen: list[str] = []
    came = threading.Semaphore(0)

    def note(_: Any) -> None:
        seen.append(USER.get())
        came.release()

    with Peer() as peer:
        client = peer.sync_client()
        for user in ("first", "second"):
            USER.set(user)
            connection = client.connect(APP, connection_key="k", on_result=note, throttle_interval=0)
            USER.set("somebody else")
            connection.send(0)
            assert came.acquire(timeout=LIMIT)
        connection.close()
        assert len(peer.sessions) == 1
    assert seen == ["first", "second"]


async def test_a_callback_that_connects_anew_hands_over_from_the_next_result_on():
    old, new = Log(), Log()
    both_sent = threading.Event()

    def answer_twice(session: Session) -> None:
        session.recv()
        session.send(0)
        session.send(1)
        session.fence()
        both_sent.set()
        session.wait_closed()

    with Peer(answer_twice) as peer:
        client = peer.client()

        def take_over(result: Any) -> None:
            old(result)
            client.connect(APP, connection_key="k", on_result=new)

        connection = client.connect(APP, connection_key="k", on_result=take_over)
        connection.send_nowait("go")
        # The loop stands still, so that both results are there when it goes on.
        assert both_sent.wait(LIMIT)
        assert await new.has(1) == [1]
        assert old == [0]
        await connection.aclose()


def test_when_its_loop_is_closed_the_key_gives_a_new_connection():
    async def ask(client: RealtimeClient) -> Any:
        connection = client.connect(APP, connection_key="k")
        return await connection.request({"prompt": "a cat"}, timeout=LIMIT)

    with Peer() as peer:
        client = peer.client()
        assert asyncio.run(ask(client))["prompt"] == "a cat"
        with pytest.warns(ResourceWarning, match="never closed"):
            assert asyncio.run(ask(client))["prompt"] == "a cat"
            gc.collect()
        assert len(peer.sessions) == 2
        with pytest.warns(ResourceWarning, match="never closed"):
            client.connect(APP, connection_key="k").close()
            gc.collect()


async def test_a_connection_that_failed_leaves_the_cache():
    def fail(_: str) -> str:
        raise LookupError

    errors = Log()
    with Peer() as peer:
        client = peer.client()
        first = client.connect(APP, connection_key="k", token_provider=fail, on_error=errors)
        first.send_nowait(0)
        [error] = await errors.has(1)
        assert isinstance(error, AuthenticationError)
        second = client.connect(APP, connection_key="k", throttle_interval=0)
        assert second is not first
        await second.send(1)
        assert await result_of(second.recv()) == 1
        # Closing the old one does not touch the new one.
        first.close()
        assert client.connect(APP, connection_key="k") is second
        await second.aclose()


async def test_the_cache_does_not_grow_with_connections_that_closed_by_themselves():
    async def one_that_fails(client: RealtimeClient, number: int) -> Callable[[], Any]:
        def fail(_: str) -> str:  # its own: one that fails again and again is asked ever more rarely
            raise LookupError

        errors = Log()
        connection = client.connect(APP, connection_key=f"k{number}", token_provider=fail, on_error=errors)
        connection.send_nowait(0)
        await errors.has(1)
        return weakref.ref(connection)

    with Peer() as peer:
        client = peer.client()
        connections = [await one_that_fails(client, number) for number in range(100)]
        gc.collect()
        assert sum(connection() is not None for connection in connections) <= 16
