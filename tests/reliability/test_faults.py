"""What a user sees of each fault of the network, within which time, and that no message is unaccounted for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import checks
import msgpack
import pytest
import trustme
from checks import once_and_in_order
from support import LIMIT, accounted, until
from support.echo import EchoServer
from support.fault_proxy import FaultProxy

from fal_realtime import (
    ConnectionClosedError,
    ConnectionLostError,
    HandshakeError,
    InsecureForLocalTests,
    RealtimeConnection,
    ReconnectPolicy,
)


@pytest.fixture(scope="module")
def certificate() -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


@pytest.fixture(params=["ws", "wss"])
def server(request: pytest.FixtureRequest, certificate: trustme.LeafCert) -> Iterator[EchoServer]:
    """An echo server, with TLS or without: it has a buffer of its own, which faults fill too."""
    options = {}
    if request.param == "wss":
        options["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(options["ssl"])
    with EchoServer(**options) as running:
        yield running


def connect(url: str, **options: Any) -> RealtimeConnection:
    """As in all reliability tests; whose certificate it is does not matter here."""
    return checks.connect(url, **({"ssl": InsecureForLocalTests()} if url.startswith("wss:") else {}), **options)


def numbers(server: EchoServer) -> list[int]:
    return [message["n"] for session in server.sessions for message in session]


async def exchange(connection: Any, count: int) -> list[int]:
    """Send so many numbers, and take as many echoes."""

    async def send() -> None:
        for n in range(count):
            await connection.send({"n": n, "body": b"x" * 500})

    sending = asyncio.ensure_future(send())
    got = [(await asyncio.wait_for(connection.recv(), LIMIT))["n"] for _ in range(count)]
    await sending
    return got


# --- slow networks: everything arrives, in order ---


@pytest.mark.parametrize(
    ("faults", "count"),
    [
        ({"latency": 0.05}, 200),
        ({"latency": 0.01, "jitter": 0.05}, 200),
        ({"bandwidth": 100_000}, 200),
        ({"slice": 1}, 50),
    ],
    ids=["latency", "jitter", "bandwidth", "single-bytes"],
)
async def test_a_slow_network_loses_and_reorders_nothing(
    server: EchoServer, proxy: FaultProxy, faults: dict[str, Any], count: int, figure: Any
) -> None:
    for name, value in faults.items():
        setattr(proxy.faults, name, value)
    started = time.monotonic()
    async with connect(proxy.url) as connection:
        assert await exchange(connection, count) == list(range(count))
        stats = accounted(connection)
        assert stats["written"] == stats["delivered"] == count
        assert stats["reconnects"] == 0
    assert numbers(server) == list(range(count))
    figure(f"{count} round trips in {time.monotonic() - started:.2f} s")


async def test_a_large_message_crosses_a_narrow_network_in_pieces(server: EchoServer, proxy: FaultProxy) -> None:
    proxy.faults.slice = 1000
    payload = random.Random(1).randbytes(1_000_000)
    async with connect(proxy.url) as connection:
        await connection.send({"n": 1, "image": payload})
        assert (await asyncio.wait_for(connection.recv(), LIMIT))["image"] == payload
        accounted(connection)


# --- losses: what was not written is sent again, once and in order ---


async def test_what_is_sent_during_an_outage_arrives_once_and_in_order(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    async with connect(proxy.url) as connection:
        await connection.request({"n": 0})
        proxy.refuse()
        proxy.reset()
        seen = await until(lambda: connection.state in ("waiting", "connecting"), "the loss")
        for n in range(1, 501):
            await connection.send({"n": n})
        assert accounted(connection)["pending"] == 500
        proxy.listen()
        healed = time.monotonic()
        got = [(await asyncio.wait_for(connection.recv(), LIMIT))["n"] for _ in range(500)]
        figure(f"loss seen after {seen * 1000:.0f} ms, 500 echoes {time.monotonic() - healed:.2f} s after healing")
        assert got == list(range(1, 501))
        stats = accounted(connection)
        assert stats["failed"] == 0
        assert stats["reconnects"] == 1
    assert numbers(server) == list(range(501))


@pytest.mark.parametrize("fault", ["reset", "down_limit", "up_limit"], ids=["reset", "cut-down", "cut-up"])
async def test_losses_under_traffic_duplicate_nothing(
    server: EchoServer, proxy: FaultProxy, fault: str, figure: Any
) -> None:
    """The connection is lost at 20 arbitrary moments, in the middle of frames among them."""
    dice = random.Random(fault)
    async with connect(proxy.url) as connection:
        traffic = asyncio.gather(send_without_end(connection), read_without_end(connection))
        for losses in range(1, 21):
            if fault == "reset":
                await asyncio.sleep(dice.uniform(0.005, 0.03))
                proxy.reset()
            else:
                # Holds for the open connection: what has passed counts.
                setattr(proxy.faults, fault, dice.randrange(1_000, 400_000))

                def was_cut(least: int = losses) -> bool:
                    return connection.state != "active" or connection.stats()["reconnects"] >= least

                await until(was_cut, "the cut")
                setattr(proxy.faults, fault, None)
            await until(lambda least=losses: connection.stats()["reconnects"] >= least, "the reconnect")
            accounted(connection)
        traffic.cancel()
        # It says so if messages were torn.
        with contextlib.suppress(ConnectionClosedError):
            await asyncio.wait_for(connection.drain(), LIMIT)
        await connection.request({"n": 10**9})
        stats = accounted(connection)
        assert stats["pending"] == 0
    arrived = numbers(server)
    once_and_in_order(arrived)
    # What was written into a socket that then broke may be lost on the way, and nothing else.
    assert len(arrived) <= stats["written"] + stats["failed"] == stats["accepted"]
    figure(
        f"{stats['accepted']} accepted, {stats['written']} written, {stats['failed']} failed, "
        f"{len(arrived)} arrived, {stats['reconnects']} reconnects, none twice"
    )


async def send_without_end(connection: Any) -> None:
    body = b"x" * 3000
    for n in itertools.count():
        await connection.send({"n": n, "body": body})
        await asyncio.sleep(0)


async def read_without_end(connection: Any) -> None:
    while True:
        # Each loss is told once.
        with contextlib.suppress(ConnectionLostError):
            await connection.recv()


async def test_of_a_stuck_socket_only_the_message_that_was_torn_fails(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    """Nothing is read at the other end until the socket's buffers are full; then the connection is reset."""
    body = b"x" * 1_000_000
    count = 60  # more than Linux lets the buffers of a socket grow to, and less than wait here
    async with connect(proxy.url) as connection:
        await connection.request({"n": 0})
        proxy.freeze()
        for n in range(1, count + 1):
            await connection.send({"n": n, "body": body, "silent": True})
        await settled(lambda: connection.stats()["written"])
        stuck = accounted(connection)
        assert 0 < stuck["pending"] < count
        proxy.thaw_after_reset()
        torn = 0
        try:
            await asyncio.wait_for(connection.drain(), LIMIT)
        except ConnectionClosedError as error:
            assert "1 input was not written" in str(error)  # noqa: PT017 - it need not be raised
            torn = 1
        # What TLS holds may end where a message does.
        assert torn or server.scheme == "wss"
        await connection.request({"n": count + 1})
        stats = accounted(connection)
        assert (stats["written"], stats["failed"]) == (count + 2 - torn, torn)
    arrived = numbers(server)
    once_and_in_order(arrived)
    unsent = stuck["pending"] - torn
    assert arrived[-unsent - 1 :] == list(range(count + 1 - unsent, count + 2))
    figure(
        f"{stuck['written'] - 1} of {count} MB were in the buffers, {torn} was torn, {unsent} came after the reconnect"
    )


async def settled(value: Callable[[], object]) -> None:
    """Wait until the value has been the same for a second."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 1.0:
        await asyncio.sleep(0.01)
        if value() != last:
            last, since = value(), time.monotonic()


async def test_a_request_under_way_fails_when_the_connection_is_lost(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    async with connect(proxy.url) as connection:
        request = asyncio.ensure_future(connection.request({"n": 1, "silent": True}))
        await until(lambda: server.received, "the request")
        started = time.monotonic()
        proxy.reset()
        with pytest.raises(ConnectionClosedError, match="reset") as raised:
            await asyncio.wait_for(request, LIMIT)
        figure(f"after {(time.monotonic() - started) * 1000:.0f} ms: {raised.value}")
        assert raised.value.code == 1006
        assert (await connection.request({"n": 2}))["n"] == 2
        accounted(connection)


async def test_without_a_policy_a_loss_ends_the_connection(server: EchoServer, proxy: FaultProxy) -> None:
    async with connect(proxy.url, reconnect=None) as connection:
        await connection.request({"n": 1})
        proxy.reset()
        with pytest.raises(ConnectionClosedError) as raised:
            await asyncio.wait_for(connection.recv(), LIMIT)
        assert raised.value.code == 1006
        with pytest.raises(ConnectionClosedError):
            await connection.send({"n": 2})
        accounted(connection)


async def test_a_policy_with_a_last_attempt_gives_up_and_fails_what_was_not_sent(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    policy = ReconnectPolicy(initial_delay=0.2, max_delay=0.5, max_attempts=4)
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.request({"n": 1})
        proxy.refuse()
        proxy.reset()
        started = time.monotonic()
        await until(lambda: connection.state != "active", "the loss")
        await connection.send({"n": 2})
        with pytest.raises(HandshakeError, match="refused") as raised:
            await asyncio.wait_for(connection.recv(), LIMIT)
        figure(f"after {time.monotonic() - started:.2f} s: {raised.value}")
        stats = accounted(connection)
        assert (stats["written"], stats["failed"], stats["pending"]) == (1, 1, 0)


async def test_frames_are_whole_or_nothing(server: EchoServer, proxy: FaultProxy) -> None:
    """A message from the server that was cut is not a result."""
    packed = len(msgpack.packb({"n": 1, "body": b"x" * 5000}))
    async with connect(proxy.url) as connection:
        proxy.faults.down_limit = 400 + packed // 2
        await connection.send({"n": 1, "body": b"x" * 5000})
        await until(lambda: connection.stats()["reconnects"] or connection.state != "active", "the cut")
        proxy.faults.down_limit = None
        assert (await connection.request({"n": 2}))["n"] == 2
        assert accounted(connection)["received"] == 1
