"""Openings that fail or stall, at the server or at the token endpoint: what is raised, how soon, and the accounts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Any

import pytest
from checks import FAST, connect
from support import KEY, LIMIT, accounted, until
from support.echo import EchoServer
from support.fault_proxy import FaultProxy, http_answer

from fal_realtime import ApiError, FalRealtimeError, HandshakeError, RealtimeClient, RequestTimeoutError


async def failed_opening(connection: Any, expected: type[FalRealtimeError], words: str) -> tuple[Any, float]:
    """Open; the error, and after how many seconds it came."""
    started = time.monotonic()
    with pytest.raises(expected, match=words) as raised:
        await asyncio.wait_for(connection._open_or_close(), LIMIT)
    took = time.monotonic() - started
    assert connection.state == "closed"
    accounted(connection)
    return raised.value, took


# --- openings that fail ---


async def test_a_refused_opening_says_so_at_once(server: EchoServer, proxy: FaultProxy, figure: Any) -> None:
    proxy.refuse()
    error, took = await failed_opening(connect(proxy.url), HandshakeError, "refused")
    assert error.status is None
    figure(f"after {took * 1000:.0f} ms: {error}")


@pytest.mark.parametrize("status", [200, 302, 400, 404, 429, 500, 503])
async def test_a_wrong_status_is_named(server: EchoServer, proxy: FaultProxy, status: int, figure: Any) -> None:
    proxy.faults.answer = http_answer(status, "not today")
    error, took = await failed_opening(connect(proxy.url), HandshakeError, "not today")
    assert error.status == status
    figure(f"after {took * 1000:.0f} ms: {error}")


@pytest.mark.parametrize("scheme", ["ws", "wss"], ids=["handshake", "tls"])
async def test_a_stalled_opening_ends_with_open_timeout(
    server: EchoServer, proxy: FaultProxy, scheme: str, figure: Any
) -> None:
    proxy.faults.answer = "stall"
    connection = connect(proxy.url.replace("ws", scheme), open_timeout=0.5)
    error, took = await failed_opening(connection, RequestTimeoutError, "open_timeout")
    assert 0.5 <= took < LIMIT
    figure(f"open_timeout 0.5 s, after {took:.2f} s: {error}")
    await until(lambda: proxy.open_connections == 0, "the socket of the failed opening is gone")


ANSWERS = {
    "400": http_answer(400),
    "503": http_answer(503),
    "hung up": b"",
    "no HTTP": b"nonsense\r\n\r\n",
    "stalled": "stall",
    "refused": None,
}


@pytest.mark.parametrize("endpoint", ["server", "token"])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_what_waits_for_an_opening_that_fails_is_failed(
    server: EchoServer, proxy: FaultProxy, endpoint: str, answer: str, figure: Any
) -> None:
    """Nobody awaits the opening: it is tried for `open_timeout` where that may help, then whoever receives is told."""
    make = connect if endpoint == "server" else partial(with_tokens, server)
    connection = make(proxy.url, open_timeout=0.5)
    # Nothing is answered before all have been accepted.
    proxy.freeze()
    if answer == "refused":
        proxy.refuse()
    else:
        proxy.faults.answer = ANSWERS[answer]
    started = time.monotonic()
    for n in range(10):
        connection.send_nowait({"n": n})
    assert accounted(connection)["accepted"] == 10
    proxy.thaw()
    with pytest.raises(FalRealtimeError) as raised:
        await asyncio.wait_for(connection.recv(), LIMIT)
    took = time.monotonic() - started
    assert took < LIMIT
    await until(lambda: connection.state == "closed", "the end")
    stats = accounted(connection)
    assert (stats["failed"], stats["written"], stats["pending"]) == (10, 0, 0)
    figure(f"after {took:.3f} s, {len(proxy.attempts)} attempts seen: {type(raised.value).__name__}: {raised.value}")


async def test_a_stalled_reconnect_is_given_up_and_tried_again(server: EchoServer, proxy: FaultProxy) -> None:
    async with connect(proxy.url, open_timeout=1.0) as connection:
        await connection.request({"n": 0})
        proxy.faults.answer = "stall"
        proxy.reset()
        await connection.send({"n": 1})
        await until(lambda: len(proxy.attempts) >= 3, "a second attempt to reconnect")
        proxy.faults.answer = "forward"
        assert (await asyncio.wait_for(connection.recv(), LIMIT))["n"] == 1
        accounted(connection)
    assert [message["n"] for message in server.received] == [0, 1]


async def test_closing_does_not_wait_for_a_stalled_opening(server: EchoServer, proxy: FaultProxy) -> None:
    proxy.faults.answer = "stall"
    connection = connect(proxy.url)
    connection.send_nowait({"n": 1})
    await until(lambda: proxy.attempts, "the attempt")
    started = time.monotonic()
    await asyncio.wait_for(connection.aclose(), LIMIT)
    assert time.monotonic() - started < LIMIT
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
    assert took < LIMIT
    accounted(connection)
    figure(f"close_timeout 0.4 s, closed after {took:.2f} s")
    proxy.thaw()


# --- the token endpoint ---


def with_tokens(server: EchoServer, endpoint: str, **options: Any) -> Any:
    """A connection that asks for its token at the endpoint, and then goes to the server directly."""
    rest_url = endpoint.replace("ws", "http")
    client = RealtimeClient(KEY, base_url=server.url, rest_url=rest_url, trust_env=False)
    return client.connect("local/echo", **{"throttle_interval": 0, "reconnect": FAST, **options})


async def test_a_slow_token_endpoint_delays_and_loses_nothing(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    proxy.faults.answer = http_answer(200, '"a-slow-token"')
    proxy.faults.answer_delay = 0.5
    connection = with_tokens(server, proxy.url)
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
    error, took = await failed_opening(with_tokens(server, proxy.url), ApiError, "500")
    assert error.status == 500
    assert error.body == {"detail": "out of order"}
    figure(f"after {took * 1000:.0f} ms: {error}")


async def test_a_token_endpoint_that_stalls_is_bounded_by_open_timeout(
    server: EchoServer, proxy: FaultProxy, figure: Any
) -> None:
    proxy.faults.answer = "stall"
    error, took = await failed_opening(
        with_tokens(server, proxy.url, open_timeout=0.6), RequestTimeoutError, "no token"
    )
    assert 0.6 <= took < LIMIT
    figure(f"open_timeout 0.6 s, after {took:.2f} s: {error}")


async def test_an_answer_of_the_token_endpoint_that_breaks_off_is_retried(
    server: EchoServer, proxy: FaultProxy
) -> None:
    proxy.faults.answer = b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"half a to'
    async with contextlib.aclosing(with_tokens(server, proxy.url)) as connection:
        connection.send_nowait({"n": 1})
        await until(lambda: proxy.attempts, "the first request")
        proxy.faults.answer = http_answer(200, '"a-token"')
        assert (await asyncio.wait_for(connection.recv(), LIMIT))["n"] == 1
        assert len(proxy.attempts) >= 2
    accounted(connection)
