"""What a user sees of each fault of the network, within which time, and that no message is unaccounted for."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from checks import FAST, KEY, LIMIT, accounted, connect, once_and_in_order, percentile, until
from echo import EchoServer
from faultproxy import FaultProxy, http_answer

from fal_realtime import (
    ApiError,
    ConnectionClosedError,
    HandshakeError,
    RealtimeClient,
    ReconnectPolicy,
    RequestTimeoutError,
)


def numbers(server: EchoServer) -> list[int]:
    return [message["n"] for message in server.received]


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
                await until(lambda: connection.state != "active", "the cut")
                setattr(proxy.faults, fault, None)
            await until(lambda least=losses: connection.stats()["reconnects"] >= least, "the reconnect")
            accounted(connection)
        traffic.cancel()
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
        await connection.recv()


async def test_of_a_stuck_socket_only_the_message_that_was_torn_fails(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    """Nothing is read at the other end until the socket's buffers are full; then the connection is reset."""
    body = b"x" * 1_000_000
    async with connect(proxy.url) as connection:
        await connection.request({"n": 0})
        proxy.freeze()
        for n in range(1, 41):
            await connection.send({"n": n, "body": body, "silent": True})
        await settled(lambda: connection.stats()["written"])
        stuck = accounted(connection)
        assert 0 < stuck["pending"] < 40
        proxy.thaw_after_reset()
        await asyncio.wait_for(connection.drain(), LIMIT)
        await connection.request({"n": 41})
        stats = accounted(connection)
        assert stats["failed"] == 1
        assert stats["written"] == 41
    arrived = numbers(server)
    once_and_in_order(arrived)
    unsent = stuck["pending"] - 1
    assert arrived[-unsent - 1 :] == list(range(41 - unsent, 42))
    figure(f"{stuck['written'] - 1} of 40 MB were in the buffers, 1 was torn, {unsent} came after the reconnect")


async def settled(value: Callable[[], object]) -> None:
    """Wait until the value has been the same for 0.2 s."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.2:
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
    policy = ReconnectPolicy(initial_delay=0.02, max_delay=0.05, max_attempts=4)
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.request({"n": 1})
        proxy.refuse()
        proxy.reset()
        started = time.monotonic()
        await until(lambda: connection.state == "waiting", "the loss")
        await connection.send({"n": 2})
        with pytest.raises(HandshakeError, match="refused") as raised:
            await asyncio.wait_for(connection.recv(), LIMIT)
        figure(f"after {time.monotonic() - started:.2f} s: {raised.value}")
        stats = accounted(connection)
        assert (stats["written"], stats["failed"], stats["pending"]) == (1, 1, 0)


# --- half-open peers, and how fast it comes back ---


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "sending"])
async def test_a_half_open_peer_is_detected(server: EchoServer, proxy: FaultProxy, busy: bool, figure: Any) -> None:
    interval = timeout = 0.25
    times = []
    for _ in range(4):
        async with connect(proxy.url, ping_interval=interval, ping_timeout=timeout) as connection:
            await connection.request({"n": 0})
            proxy.freeze()
            frozen = time.monotonic()
            while connection.state == "active":
                assert time.monotonic() - frozen < LIMIT
                if busy:
                    await connection.send({"n": 1, "silent": True})
                await asyncio.sleep(0.005)
            times.append(time.monotonic() - frozen)
            accounted(connection)
            proxy.thaw()
    assert max(times) < interval + timeout + 1
    figure(f"interval + timeout = {interval + timeout} s: detected after {min(times):.2f} to {max(times):.2f} s")


async def test_a_slow_peer_that_answers_is_not_given_up(server: EchoServer, proxy: FaultProxy) -> None:
    proxy.faults.latency = 0.1
    async with connect(proxy.url, ping_interval=0.1, ping_timeout=0.4) as connection:
        await connection.request({"n": 0})
        await asyncio.sleep(1.5)
        assert connection.state == "active"
        assert connection.stats()["reconnects"] == 0


async def test_after_healing_it_reconnects_within_the_cap(server: EchoServer, proxy: FaultProxy, figure: Any) -> None:
    policy = ReconnectPolicy(initial_delay=0.02, max_delay=0.2, stable_after=60)
    dice = random.Random(2)
    times = []
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.open()
        for _ in range(50):
            proxy.refuse()
            proxy.reset()
            await until(lambda: connection.state != "active", "the loss")
            await asyncio.sleep(dice.uniform(0.0, 0.1))
            proxy.listen()
            times.append(await until(lambda: connection.state == "active", "the reconnect"))
        accounted(connection)
    assert percentile(times, 99) < policy.max_delay + 1
    figure(
        f"cap {policy.max_delay} s, 50 outages: p50 {percentile(times, 50):.3f} s, p99 {percentile(times, 99):.3f} s"
    )


# --- a server that is down is not hammered ---


async def test_a_server_that_is_down_is_not_hammered(server: EchoServer, proxy: FaultProxy, figure: Any) -> None:
    """The default policy for 6 s; the proxy resets what it accepts, so that each attempt is seen."""
    async with connect(proxy.url, reconnect=ReconnectPolicy()) as connection:
        await connection.request({"n": 0})
        proxy.faults.answer = b""
        first = len(proxy.attempts)
        proxy.reset()
        await connection.send({"n": 1})
        await asyncio.sleep(6)
        attempts = [attempt - proxy.attempts[0] for attempt in proxy.attempts[first:]]
        # With delays of half their bound on average the expected time of attempt n is 0.25 * (2 ** n - 1) s: 4 or 5.
        assert 1 <= len(attempts) <= 20
        assert connection.state in ("waiting", "connecting")
        assert accounted(connection)["pending"] + accounted(connection)["written"] == 2
    figure(f"{len(attempts)} attempts in 6 s of outage")


async def test_a_server_that_accepts_and_drops_is_not_hammered(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    """A successful handshake does not set the delays back; only a connection that lives for `stable_after` does."""
    policy = ReconnectPolicy(initial_delay=0.05, max_delay=30, stable_after=10)
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.request({"n": 0})
        proxy.faults.down_limit = 200
        proxy.reset()
        await asyncio.sleep(3)
        attempts = len(proxy.attempts) - 1
        assert 1 <= attempts <= 20
    figure(f"{attempts} attempts in 3 s with a first delay of at most 0.05 s")


async def test_every_delay_keeps_to_the_schedule(server: EchoServer, proxy: FaultProxy, figure: Any) -> None:
    policy = ReconnectPolicy(initial_delay=0.05, max_delay=0.4, factor=2, max_attempts=12)
    async with connect(proxy.url, reconnect=policy) as connection:
        await connection.request({"n": 0})
        proxy.faults.answer = http_answer(503)
        proxy.reset()
        lost = time.monotonic()
        with pytest.raises(HandshakeError) as raised:
            await asyncio.wait_for(connection.recv(), LIMIT)
        assert raised.value.status == 503
    moments = [lost, *proxy.attempts[1:]]
    delays = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(delays) == 12
    for n, delay in enumerate(delays):
        assert delay <= min(0.4, 0.05 * 2**n) + 0.1, delays
    figure(f"delays of {', '.join(f'{delay:.2f}' for delay in delays)} s")


# --- openings that fail ---


async def test_a_refused_opening_says_so_at_once(server: EchoServer, proxy: FaultProxy, figure: Any) -> None:
    proxy.refuse()
    started = time.monotonic()
    with pytest.raises(HandshakeError, match="refused") as raised:
        await connect(proxy.url)
    assert raised.value.status is None
    figure(f"after {(time.monotonic() - started) * 1000:.0f} ms: {raised.value}")


@pytest.mark.parametrize("status", [200, 302, 400, 404, 429, 500, 503])
async def test_a_wrong_status_is_named(server: EchoServer, proxy: FaultProxy, status: int, figure: Any) -> None:
    proxy.faults.answer = http_answer(status, "not today")
    started = time.monotonic()
    with pytest.raises(HandshakeError, match="not today") as raised:
        await connect(proxy.url)
    assert raised.value.status == status
    figure(f"after {(time.monotonic() - started) * 1000:.0f} ms: {raised.value}")


@pytest.mark.parametrize("scheme", ["ws", "wss"], ids=["handshake", "tls"])
async def test_a_stalled_opening_ends_with_open_timeout(
    server: EchoServer, proxy: FaultProxy, scheme: str, figure: Any
) -> None:
    proxy.faults.answer = "stall"
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError, match="open_timeout") as raised:
        await connect(proxy.url.replace("ws", scheme), open_timeout=0.5)
    took = time.monotonic() - started
    assert 0.5 <= took < 1.5
    figure(f"open_timeout 0.5 s, after {took:.2f} s: {raised.value}")
    await until(lambda: proxy.open_connections == 0, "the socket of the failed opening is gone")


async def test_a_stalled_reconnect_is_given_up_and_tried_again(server: EchoServer, proxy: FaultProxy) -> None:
    async with connect(proxy.url, open_timeout=0.3) as connection:
        await connection.request({"n": 0})
        proxy.faults.answer = "stall"
        proxy.reset()
        await connection.send({"n": 1})
        await until(lambda: len(proxy.attempts) >= 3, "a second attempt to reconnect")
        proxy.faults.answer = "forward"
        assert (await asyncio.wait_for(connection.recv(), LIMIT))["n"] == 1
        accounted(connection)
    assert numbers(server) == [0, 1]


async def test_closing_does_not_wait_for_a_stalled_opening(server: EchoServer, proxy: FaultProxy) -> None:
    proxy.faults.answer = "stall"
    connection = connect(proxy.url)
    connection.send_nowait({"n": 1})
    await until(lambda: proxy.attempts, "the attempt")
    started = time.monotonic()
    await asyncio.wait_for(connection.aclose(), LIMIT)
    assert time.monotonic() - started < 0.5
    assert accounted(connection)["failed"] == 1


async def test_closing_a_half_open_connection_takes_close_timeout(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    connection = await connect(proxy.url, close_timeout=0.4)
    await connection.request({"n": 0})
    proxy.freeze()
    started = time.monotonic()
    await asyncio.wait_for(connection.aclose(), LIMIT)
    took = time.monotonic() - started
    assert took < 1.4
    figure(f"close_timeout 0.4 s, closed after {took:.2f} s")
    proxy.thaw()


# --- the token endpoint ---


def with_tokens(server: EchoServer, endpoint: FaultProxy, **options: Any) -> Any:
    """A connection that asks for its token at the proxy, and then goes to the server directly."""
    rest_url = endpoint.url.replace("ws", "http")
    client = RealtimeClient(KEY, base_url=server.url, rest_url=rest_url, trust_env=False)
    return client.connect("local/echo", **{"throttle_interval": 0, "reconnect": FAST, **options})


async def test_a_slow_token_endpoint_delays_and_loses_nothing(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    proxy.faults.answer = http_answer(200, '"a-slow-token"')
    proxy.faults.answer_delay = 0.5
    connection = with_tokens(server, proxy)
    started = time.monotonic()
    for n in range(100):
        connection.send_nowait({"n": n})
    assert [(await asyncio.wait_for(connection.recv(), LIMIT))["n"] for _ in range(100)] == list(range(100))
    figure(f"token after 0.5 s, all 100 echoes after {time.monotonic() - started:.2f} s")
    accounted(connection)
    await connection.aclose()
    assert "fal_jwt_token=a-slow-token" in server.headers[0][":path"]


async def test_a_token_endpoint_that_is_down_ends_the_opening_with_its_status(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    proxy.faults.answer = http_answer(500, '{"detail": "out of order"}')
    started = time.monotonic()
    with pytest.raises(ApiError, match="500") as raised:
        await with_tokens(server, proxy)
    assert raised.value.status == 500
    assert raised.value.body == {"detail": "out of order"}
    figure(f"after {(time.monotonic() - started) * 1000:.0f} ms: {raised.value}")


async def test_a_token_endpoint_that_stalls_is_bounded_by_open_timeout(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    proxy.faults.answer = "stall"
    started = time.monotonic()
    with pytest.raises((RequestTimeoutError, ApiError)) as raised:
        await asyncio.wait_for(with_tokens(server, proxy, open_timeout=0.6)._open_or_close(), LIMIT)
    took = time.monotonic() - started
    assert took < 1.6
    figure(f"open_timeout 0.6 s, after {took:.2f} s: {type(raised.value).__name__}: {raised.value}")


async def test_an_answer_of_the_token_endpoint_that_breaks_off_is_retried(
    server: EchoServer, proxy: FaultProxy
) -> None:
    proxy.faults.answer = b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"half a to'
    connection = with_tokens(server, proxy)
    connection.send_nowait({"n": 1})
    await until(lambda: proxy.attempts, "the first request")
    proxy.faults.answer = http_answer(200, '"a-token"')
    assert (await asyncio.wait_for(connection.recv(), LIMIT))["n"] == 1
    assert len(proxy.attempts) == 2
    await connection.aclose()


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
