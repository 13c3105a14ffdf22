"""How things end: errors at the `await`, clients that close, callbacks that are let finish."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref

import pytest
from support import AppServer, until, until_sync

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    EncodeError,
    RealtimeClient,
    RequestTimeoutError,
    SyncRealtimeClient,
)
from fal_realtime.testing import LocalServer


@pytest.fixture(scope="module")
def peer():
    with AppServer() as peer:
        yield peer


async def test_an_input_that_cannot_be_encoded_fails_where_its_request_is_awaited(peer):
    async with peer.connect() as connection:
        inputs = [{"n": 0}, {"n": object()}, {"n": 2}]
        first, second, third = await asyncio.gather(
            *(connection.request(each, timeout=60) for each in inputs), return_exceptions=True
        )
        assert (first["n"], type(second), third["n"]) == (0, EncodeError, 2)


@pytest.mark.parametrize("method", ["send", "request"])
async def test_what_goes_wrong_at_the_call_is_raised_at_the_await(peer, method):
    async with peer.connect() as connection:
        operation = getattr(connection, method)({"n": object()})
        with pytest.raises(EncodeError):
            await operation
        with pytest.raises(RuntimeError, match="awaited already"):
            await operation


async def test_receiving_beside_on_result_is_refused_at_the_await(peer):
    async with peer.connect(on_result=print) as connection:
        operation = connection.recv()
        with pytest.raises(RuntimeError, match="results go to on_result"):
            await operation


async def test_a_client_closes_its_connections_with_itself(peer):
    async with peer.client() as client:
        connections = [await client.connect("local/echo", use_jwt=False) for _ in range(3)]
        unopened = client.connect("local/echo", use_jwt=False)
        keyed = client.connect("local/echo", use_jwt=False, connection_key="key")
        await keyed
    assert {connection.state for connection in [*connections, unopened, keyed]} == {"closed"}
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.connect("local/echo")
    await client.aclose()


async def test_a_client_closes_connections_of_other_loops_without_waiting_for_them(peer):
    client = peer.client()
    opened, closed = threading.Event(), threading.Event()

    async def elsewhere():
        connection = await client.connect("local/echo", use_jwt=False)
        opened.set()
        await connection.wait_closed()
        closed.set()

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(opened.wait, 10)
    await client.aclose()
    await asyncio.to_thread(thread.join, 10)
    assert closed.is_set()


def test_a_blocking_client_closes_its_connections_with_itself(peer):
    with peer.sync_client() as client:
        connection = client.connect("local/echo", use_jwt=False)
        connection.open()
    assert connection.state == "closed"
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.connect("local/echo")
    client.close()


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_a_client_keeps_no_connection_that_nobody_else_holds(client):
    client = client("id:secret")
    connection = weakref.ref(client.connect("local/echo"))
    gc.collect()
    assert connection() is None


async def test_closing_waits_for_asynchronous_callbacks(peer):
    done, begun = [], asyncio.Event()

    async def on_result(result):
        begun.set()
        await asyncio.sleep(0.001)
        done.append(result["n"])

    async with peer.connect(on_result=on_result) as connection:
        await connection.send({"count": 20})
        await begun.wait()
        await until(lambda: connection.stats()["received"] == 20, "all came")
    assert done == list(range(20))


async def test_a_callback_that_does_not_end_is_cancelled_and_that_is_logged(peer, caplog):
    begun, ended = asyncio.Event(), []

    async def on_result(result):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(result["n"])
            raise

    connection = await peer.connect(on_result=on_result, close_timeout=0.1)
    await connection.send({"count": 3})
    await begun.wait()
    await until(lambda: connection.stats()["received"] == 3, "all came")
    with caplog.at_level(logging.WARNING, logger="fal_realtime"):
        await connection.aclose()
    assert ended == [0]
    assert "callbacks were cancelled" in caplog.text
    assert "2 results were not delivered" in caplog.text


class InPieces:
    """Callbacks each of which takes a moment, and counts."""

    def __init__(self) -> None:
        self.called = 0

    def blocking(self, _: object) -> None:
        self.called += 1
        time.sleep(0.005)

    async def waiting(self, _: object) -> None:
        self.called += 1
        await asyncio.sleep(0.005)

    async def yielding(self, _: object) -> None:
        self.blocking(None)
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["blocking", "waiting", "yielding"])
async def test_closing_does_not_wait_for_a_backlog_of_callbacks(kind, peer, caplog):
    count, pieces = 1_000, InPieces()
    connection = await peer.connect(close_timeout=0.1)
    await connection.send({"count": count})
    await until(lambda: connection.stats()["received"] == count, "all came")
    # From now on they are called, and there is a backlog of all of it.
    callbacks = dict.fromkeys(("on_error", "on_timings", "on_state_change"))
    connection.set_callbacks(on_result=getattr(pieces, kind), **callbacks)
    with caplog.at_level(logging.WARNING, logger="fal_realtime"):
        await connection.aclose()
    assert pieces.called < count / 2
    stats = connection.stats()
    assert stats["received_pending"] + stats["delivered"] == count
    # The last one may have been cancelled before its first step.
    assert stats["delivered"] - pieces.called in ({0, 1} if kind == "waiting" else {0})
    left = stats["received_pending"]
    assert f"{left} results were not delivered" in caplog.text or f"with {left} results and" in caplog.text
    called = pieces.called
    await asyncio.sleep(0.05)
    assert pieces.called == called, "nobody is called after it"


async def test_closing_tells_callbacks_of_all_that_came_where_the_time_suffices(peer):
    pieces = InPieces()
    async with peer.connect(on_result=pieces.blocking, close_timeout=60) as connection:
        await connection.send({"count": 300})
        await until(lambda: connection.stats()["received"] == 300, "all came")
    assert pieces.called == 300


async def test_a_callback_may_close_its_own_connection(peer):
    closed = asyncio.Event()

    async def on_result(_):
        await connection.aclose()
        closed.set()

    connection = await peer.connect(on_result=on_result)
    await connection.send({"n": 1})
    await asyncio.wait_for(closed.wait(), 60)


def close_twice(connection):
    connection.close()
    connection.close()


def close_late(connection):
    until_sync(lambda: connection.state == "closed", "the connection is over")
    connection.close()


@pytest.mark.parametrize("close", [close_twice, close_late])
def test_a_blocking_connection_that_was_closed_keeps_no_callback(peer, close):
    class Callback:
        def __call__(self, value):
            pass

    callbacks = []
    for _ in range(5):
        callback = Callback()
        callbacks.append(weakref.ref(callback))
        connection = peer.connect_sync(on_result=callback, on_error=callback, reconnect=None)
        connection.open()
        if close is close_late:
            peer.abort()
        close(connection)
        del connection, callback
    until_sync(lambda: gc.collect() is not None and not any(callback() for callback in callbacks), "all are collected")


async def test_drain_tells_once_how_many_inputs_were_not_written_and_why(nobody):
    connection = RealtimeClient("id:secret", base_url=f"ws://127.0.0.1:{nobody}", trust_env=False).connect(
        "local/echo", use_jwt=False, open_timeout=0.2
    )
    for n in range(3):
        await connection.send({"n": n})
    await connection.wait_closed()
    with pytest.raises(ConnectionClosedError, match=r"3 inputs were not written: .*Connection refused"):
        await connection.drain()
    await connection.drain()


def test_drain_of_a_blocking_connection_tells_it_too(nobody):
    client = SyncRealtimeClient("id:secret", base_url=f"ws://127.0.0.1:{nobody}", trust_env=False)
    connection = client.connect("local/echo", use_jwt=False, open_timeout=0.2)
    connection.send({"n": 0})
    until_sync(lambda: connection.state == "closed", "the connection is over")
    with pytest.raises(ConnectionClosedError, match=r"1 input was not written: .*Connection refused"):
        connection.drain(10)
    connection.drain(10)


async def test_after_a_refusal_everything_raises_the_real_error():
    with LocalServer() as server:
        connection = server.client(credentials="wrong:key").connect("local/echo")
        with pytest.raises(AuthenticationError):
            await connection
        for use in (connection.recv, connection.open, lambda: connection.send({}), lambda: connection.request({})):
            with pytest.raises(AuthenticationError):
                await use()
        with pytest.raises(AuthenticationError):
            connection.send_nowait({})


def forgetful(server):
    """An app that does not copy the request_id."""

    @server.app("me/forgetful")
    def forgetful(inputs: dict) -> dict:
        return {"n": inputs["n"]}


async def test_a_request_whose_app_forgets_its_id_says_so_when_it_times_out():
    with LocalServer() as server:
        forgetful(server)
        async with server.client().connect("me/forgetful") as connection:
            request = asyncio.ensure_future(connection.request({"n": 1}, timeout=1))
            await until(lambda: connection.stats()["received"] == 1, "the answer came")
            with pytest.raises(RequestTimeoutError, match="1 result without a request_id came meanwhile"):
                await request
            assert await connection.recv() == {"n": 1}
            with pytest.raises(RequestTimeoutError) as raised:
                await connection.request({"n": 1}, timeout=0)
            assert "without a request_id" not in str(raised.value)


@pytest.mark.parametrize("answered_with", ["other", 7])
async def test_a_request_whose_app_answers_with_another_id_says_so_when_it_times_out(answered_with):
    with LocalServer() as server:

        @server.app("me/confused")
        def confused(inputs: dict) -> dict:
            return {"n": inputs["n"], "request_id": answered_with}

        async with server.client().connect("me/confused") as connection:
            with pytest.raises(RequestTimeoutError, match="1 result with a request_id that no request has came meanwh"):
                await connection.request({"n": 1}, timeout=1)
            assert (await connection.recv())["request_id"] == answered_with


async def test_the_seconds_of_a_timeout_are_round():
    with LocalServer() as server:
        forgetful(server)
        async with server.client().connect("me/forgetful") as connection:
            with pytest.raises(RequestTimeoutError, match=r"not answered within 0\.\d{1,3} s"):
                await connection.request({"n": 1}, timeout=0.5, retries=1, idempotent=True)


def test_a_blocking_request_says_so_too():
    with LocalServer() as server:
        forgetful(server)
        with (
            server.sync_client().connect("me/forgetful") as connection,
            pytest.raises(RequestTimeoutError, match="the app must copy the request_id"),
        ):
            connection.request({"n": 1}, timeout=1)
