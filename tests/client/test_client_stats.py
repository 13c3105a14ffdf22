"""`client.stats()`: the sums over all connections of a client, ended or gone ones too, and how long things took."""

from __future__ import annotations

import asyncio
import gc
import math
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import AppServer, until

from fal_realtime import (
    AuthenticationError,
    ClientStats,
    HandshakeError,
    LatencyHistogram,
    RealtimeClient,
    ReconnectPolicy,
    RequestTimeoutError,
    Stats,
)

QUICK = ReconnectPolicy(initial_delay=0.01, max_delay=0.01)


def add_up(stats: ClientStats) -> None:
    """What holds at each instant."""
    outgoing = ("written", "coalesced", "dropped", "failed", "withdrawn", "pending")
    assert stats["accepted"] == sum(stats[name] for name in outgoing)
    incoming = ("delivered", "received_dropped", "late", "received_pending")
    assert stats["received"] == sum(stats[name] for name in incoming)
    assert stats["opening_time"].count == stats["openings"]


def test_a_client_without_connections_has_counted_nothing():
    stats = RealtimeClient("key:secret").stats()
    assert set(stats) == set(ClientStats.__annotations__)
    histograms = {name: value for name, value in stats.items() if isinstance(value, LatencyHistogram)}
    assert set(histograms) == {"request_latency", "opening_time", "ping_latency"}
    assert not any(value for name, value in stats.items() if name not in histograms)
    for histogram in histograms.values():
        assert (histogram.count, histogram.sum, histogram.buckets, histogram.quantile(0.5)) == (0, 0, [], None)


async def test_connections_are_counted_while_they_are_there_and_when_they_are_gone(fal_local_server):
    client = fal_local_server.client()
    sums = dict.fromkeys(Stats.__annotations__, 0)
    for number in range(3):
        connection = client.connect("local/echo")
        async with connection:
            for _ in range(4):
                await connection.request({"text": "x" * 100}, timeout=20)
            during = client.stats()
            assert (during["written"], during["delivered"]) == (4 * number + 4, 4 * number + 4)
            add_up(during)
        for name, value in connection.stats().items():
            sums[name] += value
        assert {name: client.stats()[name] for name in sums} == sums
        gone = weakref.ref(connection)
        del connection
        gc.collect()
        assert gone() is None
        stats = client.stats()
        assert {name: stats[name] for name in sums} == sums
        add_up(stats)
    assert (stats["openings"], stats["opening_failures"], stats["reconnects"]) == (3, 0, 0)
    assert stats["request_latency"].count == 12


async def test_what_waits_in_a_connection_that_is_let_go_is_accounted_for(fal_local_server):
    client = fal_local_server.client()
    fal_local_server.handshake_delay(60)
    connection = client.connect("local/echo", throttle_interval=0)
    for _ in range(3):
        connection.send_nowait({})
    assert client.stats()["pending"] == 3
    connection.close()
    del connection
    gc.collect()
    stats = client.stats()
    assert (stats["accepted"], stats["failed"], stats["pending"]) == (3, 3, 0)
    add_up(stats)


async def test_results_that_nobody_took_are_dropped_with_their_connection(fal_local_server):
    client = fal_local_server.client()

    async def take_nothing() -> None:
        async with client.connect("local/echo") as connection:
            await connection.send({})
            await until(lambda: client.stats()["received_pending"] == 1, "result")

    await take_nothing()
    gc.collect()
    stats = client.stats()
    assert (stats["received"], stats["received_dropped"], stats["received_pending"]) == (1, 1, 0)


async def test_request_latency_has_the_time_that_the_app_took(fal_local_server):
    client = fal_local_server.client()
    async with client.connect("local/echo") as connection:
        started = asyncio.get_running_loop().time()
        await connection.request({"delay": 0.2}, timeout=20)
        took = asyncio.get_running_loop().time() - started
        with pytest.raises(RequestTimeoutError):
            await connection.request({"delay": 30}, timeout=0.01)
        await connection.close()
    latency = client.stats()["request_latency"]
    assert latency.count == 1
    assert 0.2 <= latency.sum <= took
    assert latency.sum <= latency.quantile(1) <= latency.sum * 1.0501
    ((above, to, count),) = latency.buckets
    assert (above < latency.sum <= to, count) == (True, 1)


async def test_the_time_that_a_request_waits_for_the_opening_is_that_of_the_opening(fal_local_server):
    client = fal_local_server.client()
    fal_local_server.handshake_delay(0.3)
    async with client.connect("local/echo") as connection:
        await connection.request({}, timeout=20)
    opening = client.stats()["opening_time"]
    assert (opening.count, opening.sum >= 0.3) == (1, True)


async def test_failed_attempts_and_reconnects_are_counted(fal_local_server):
    client = fal_local_server.client()
    fal_local_server.refuse(503)

    def third(attempt: Any) -> None:
        if attempt.number == 3:
            fal_local_server.refuse(None)

    connection = client.connect("local/echo", reconnect=QUICK, before_attempt=third)
    await connection.request({}, timeout=20)
    stats = client.stats()
    assert (stats["openings"], stats["opening_failures"], stats["reconnects"]) == (1, 2, 0)
    fal_local_server.drop_connections()
    # Not its state: it may be back before anybody looks.
    await until(lambda: client.stats()["reconnects"], "reconnect")
    await connection.request({}, timeout=20)
    await connection.aclose()
    stats = client.stats()
    assert (stats["openings"], stats["reconnects"]) == (2, 1)
    add_up(stats)


async def test_an_opening_that_fails_for_good_is_a_failure_and_one_that_is_closed_is_none(fal_local_server):
    client = fal_local_server.client()
    fal_local_server.refuse(404)
    with pytest.raises(HandshakeError):
        await client.connect("local/echo", reconnect=None).open()
    assert client.stats()["opening_failures"] == 1
    fal_local_server.refuse(None)
    fal_local_server.handshake_delay(60)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    connection = client.connect("local/echo", before_attempt=lambda _: loop.call_soon_threadsafe(begun.set))
    connection.send_nowait({})
    await asyncio.wait_for(begun.wait(), 20)
    await connection.aclose()
    assert (client.stats()["openings"], client.stats()["opening_failures"]) == (0, 1)


async def test_pings_are_timed(fal_local_server):
    client = fal_local_server.client()
    async with client.connect("local/echo", ping_interval=0.01) as connection:
        await until(lambda: connection.latency is not None, "pong")
    pings = client.stats()["ping_latency"]
    assert pings.count >= 1
    assert pings.sum > 0


async def test_clients_count_their_own_connections(fal_local_server):
    client = fal_local_server.client()
    other = client.with_options(user_agent="other")
    async with client.connect("local/echo") as connection:
        await connection.request({}, timeout=20)
    async with client.pool("local/echo", size=1) as pool:
        await pool.request({}, timeout=20)
    assert (client.stats()["written"], other.stats()["written"]) == (2, 0)


async def test_a_new_key_begins_no_new_account(fal_local_server):
    keys = iter(["a:b", "c:d"])
    client = fal_local_server.client(credentials=lambda: next(keys))
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            await client.connect("local/echo", reconnect=None).open()
    assert client.stats()["opening_failures"] == 2


def test_the_sum_is_exact_while_threads_make_connections_and_let_them_go(fal_local_server):
    client = fal_local_server.sync_client()
    done = threading.Event()
    sums: list[ClientStats] = []

    def work() -> None:
        for _ in range(10):
            with client.connect("local/echo") as connection:
                connection.request({}, timeout=60)

    def watch() -> None:
        while not done.is_set():
            sums.append(client.stats())

    with ThreadPoolExecutor(5) as pool:
        watcher = pool.submit(watch)
        for worker in [pool.submit(work) for _ in range(4)]:
            worker.result()
        done.set()
        watcher.result()
    delivered = [stats["delivered"] for stats in sums]
    assert delivered == sorted(delivered)
    for stats in sums:
        outgoing = ("written", "coalesced", "dropped", "failed", "withdrawn", "pending")
        assert stats["accepted"] == sum(stats[name] for name in outgoing)
    stats = client.stats()
    assert (stats["accepted"], stats["delivered"], stats["request_latency"].count) == (40, 40, 40)
    add_up(stats)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_a_forked_child_counts_its_own():
    program = """
        import gc, os, sys, warnings
        from fal_realtime import SyncRealtimeClient
        warnings.simplefilter("ignore", DeprecationWarning)
        client = SyncRealtimeClient("key:secret", base_url=sys.argv[1], trust_env=False)
        connection = client.connect("local/echo", use_jwt=False)
        connection.request({}, timeout=30)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                del connection
                gc.collect()
                stats = client.stats()
                assert (stats["written"], stats["openings"], stats["request_latency"].count) == (0, 0, 0), stats
                with client.connect("local/echo", use_jwt=False) as own:
                    own.request({}, timeout=30)
                del own
                gc.collect()
                stats = client.stats()
                assert (stats["written"], stats["openings"], stats["request_latency"].count) == (1, 1, 1), stats
                status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.stats()["written"] == 1
        connection.request({}, timeout=30)
        connection.close()
        assert client.stats()["request_latency"].count == 2
    """
    with AppServer() as server:
        command = [sys.executable, "-c", textwrap.dedent(program), server.url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_is_a_part(q):
    with pytest.raises(ValueError, match=r"q must be from 0 to 1, such as 0\.99, not "):
        RealtimeClient("key:secret").stats()["request_latency"].quantile(q)


def test_histograms_of_several_processes_are_added(fal_local_server):
    client = fal_local_server.sync_client()
    with client.connect("local/echo") as connection:
        connection.request({}, timeout=30)
        one = client.stats()["request_latency"]
        connection.request({}, timeout=30)
        both = client.stats()["request_latency"]
    elsewhere = pickle.loads(pickle.dumps(one))
    assert elsewhere == one
    assert hash(elsewhere) == hash(one)
    assert elsewhere != both
    total = sum([elsewhere, both], LatencyHistogram())
    assert total.count == 3
    assert total.sum == pytest.approx(one.sum + both.sum)
    assert total.quantile(1) == both.quantile(1)
    assert LatencyHistogram(total.buckets, total.sum) == total
    with pytest.raises(TypeError):
        total + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([(0.001, 0.002, 1)],),
            "buckets must be those of a LatencyHistogram: it has none above 0.001 and up to 0.002 s",
        ),
        (([(-1.0, 0.001, 1)],), "buckets must be those of a LatencyHistogram: it has none above -1 and up to 0.001 s"),
        (((), -0.5), "sum must be a number of seconds from 0 on, not -0.5"),
        (((), math.nan), "sum must be a number of seconds from 0 on, not NaN"),
    ],
)
def test_a_histogram_has_buckets_of_its_own(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LatencyHistogram(*arguments)
