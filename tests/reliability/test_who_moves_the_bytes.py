"""Whoever waits moves the bytes: the sleeping network thread is roused neither for what is sent nor for what comes."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from checks import connect, once_and_in_order
from support import KEY, LIMIT, accounted, until
from support.echo import EchoServer
from support.fault_proxy import FaultProxy
from support.native_threads import statuses

from fal_realtime import SyncRealtimeClient, _core
from fal_realtime.testing import LocalServer

MESSAGES = 100
BETWEEN = 0.003
"""Seconds between two messages: the network thread goes to sleep."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="how often a thread slept is read from /proc")


@pytest.fixture(params=["ws", "wss"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[EchoServer, dict[str, Any]]]:
    """An echo server, and the options of its clients."""
    with ExitStack() as stack:
        if request.param == "ws":
            yield stack.enter_context(EchoServer()), {}
            return
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        yield stack.enter_context(EchoServer(ssl=context)), {"ssl": str(tmp_path / "ca.pem")}


def sleeps() -> int:
    """How often the network threads of this process went to sleep."""
    return sum(int(status["voluntary_ctxt_switches"]) for status in statuses("fal-realtime"))


@linux
async def test_messages_one_by_one_do_not_rouse_the_network_thread(
    server: tuple[EchoServer, dict[str, Any]], figure: Any
) -> None:
    echo, options = server
    async with connect(echo.url, **options) as connection:
        await connection.request({})
        before = sleeps()
        for n in range(MESSAGES):
            await asyncio.sleep(BETWEEN)
            connection.send_nowait({"silent": n})
        roused = sleeps() - before
        await connection.request({})
        assert accounted(connection)["written"] == MESSAGES + 2
    assert [message["silent"] for message in echo.received[1:-1]] == list(range(MESSAGES))
    figure(f"roused {roused} times for {MESSAGES} messages")
    assert roused < MESSAGES / 4


@linux
async def test_nor_do_round_trips_of_many_connections(server: tuple[EchoServer, dict[str, Any]], figure: Any) -> None:
    echo, options = server
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(echo.url, **options)) for _ in range(10)]
        await asyncio.gather(*(connection.request({}) for connection in connections))
        before = _core._io_counters()["io_wakes"]
        for _ in range(MESSAGES // 10):
            await asyncio.sleep(BETWEEN)
            await asyncio.gather(*(connection.request({}) for connection in connections))
        roused = _core._io_counters()["io_wakes"] - before
    figure(f"roused {roused} times for {MESSAGES} round trips")
    assert roused < MESSAGES / 4


@linux
def test_nor_do_those_of_the_blocking_client(server: tuple[EchoServer, dict[str, Any]]) -> None:
    echo, options = server
    client = SyncRealtimeClient(KEY, base_url=echo.url, trust_env=False, **options)
    with client.connect("local/echo", use_jwt=False, throttle_interval=0) as connection:
        connection.request({})
        before = sleeps()
        for n in range(MESSAGES):
            time.sleep(BETWEEN)
            connection.send({"silent": n})
        roused = sleeps() - before
        connection.request({})
    assert [message["silent"] for message in echo.received[1:-1]] == list(range(MESSAGES))
    assert roused < MESSAGES / 4


async def test_what_the_line_does_not_take_is_written_later_and_in_order(
    server: tuple[EchoServer, dict[str, Any]], figure: Any
) -> None:
    echo, options = server
    padding, count = bytes(15_000), 0
    with FaultProxy(echo.port) as proxy:
        url = echo.url.replace(str(echo.port), proxy.url.rpartition(":")[2])
        async with connect(url, ping_interval=None, **options) as connection:
            await connection.request({})
            proxy.freeze()
            while accounted(connection)["pending"] < 20:
                connection.send_nowait({"silent": count, "padding": padding})
                count += 1
                assert count < 2_000, "the line takes everything"
                await asyncio.sleep(0.0002)
            proxy.thaw()
            await connection.request({})
            assert accounted(connection)["written"] == count + 2
    assert [message["silent"] for message in echo.received[1:-1]] == list(range(count))
    figure(f"{count} messages of 15 KB before the line was full")


async def test_threads_that_send_one_by_one_while_the_line_breaks_lose_no_more_than_was_being_written(
    server: tuple[EchoServer, dict[str, Any]], figure: Any
) -> None:
    echo, options = server
    threads, each, breaks = 3, 300, 5
    with FaultProxy(echo.port) as proxy:
        url = echo.url.replace(str(echo.port), proxy.url.rpartition(":")[2])
        async with connect(url, **options) as connection:
            await connection.request({})

            def send(thread: int) -> None:
                for n in range(each):
                    connection.send_nowait({"silent": n, "thread": thread, "padding": bytes(n * 20)})
                    time.sleep(0.001)

            senders = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
            for sender in senders:
                sender.start()
            for _ in range(breaks):
                await asyncio.sleep(0.05)
                proxy.reset()
                accounted(connection)
            await until(lambda: not any(sender.is_alive() for sender in senders), "the senders are through")
            await connection.request({})
            await until(lambda: accounted(connection)["pending"] == 0, "everything is written")
            stats = accounted(connection)
    assert stats["written"] + stats["failed"] == threads * each + 2
    assert stats["failed"] <= breaks
    for thread in range(threads):
        arrived = (message for session in echo.sessions for message in session)
        once_and_in_order(message["silent"] for message in arrived if message.get("thread") == thread)
    figure(f"{stats['reconnects']} losses, {stats['failed']} of {threads * each} torn")


async def test_a_tls_stream_goes_to_and_fro_between_those_who_send_and_the_thread_that_reads() -> None:
    window, each, bursts = 64, 1_500, 3
    padding = bytes(10_000)
    with LocalServer(tls=True) as server:
        sent = received = to_send = 0
        over = asyncio.Event()

        def send() -> None:
            nonlocal sent
            if sent < to_send:
                connection.send_nowait({"n": sent, "padding": padding})
                sent += 1

        def show(result: dict[str, Any]) -> None:
            nonlocal received
            assert result["n"] == received
            received += 1
            send()
            if received == sent:
                over.set()

        connection = server.client().connect("local/echo", throttle_interval=0, on_result=show)
        async with connection:
            for _ in range(bursts):
                to_send += each
                over.clear()
                for _ in range(window):
                    send()
                await asyncio.wait_for(over.wait(), LIMIT)
                # Messages one by one, each of which goes round alone.
                for _ in range(20):
                    over.clear()
                    await asyncio.sleep(BETWEEN)
                    connection.send_nowait({"n": sent})
                    sent += 1
                    await asyncio.wait_for(over.wait(), LIMIT)
            stats = accounted(connection)
    assert stats["reconnects"] == stats["failed"] == 0
