"""Arguments of single calls: what is wrong with one is said in this package's words, and nothing is sent."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support import Peer, Session, result_of

from fal_realtime import MessageTooLargeError, RequestTimeoutError, ws_run

APP = "fal-ai/fast-lcm-diffusion"

ACCEPTED = "timeout must be a number of seconds of at least 0, or None"
TIMEOUTS: list[tuple[Any, type[Exception], str]] = [
    ("1", TypeError, f"^{ACCEPTED}, not str$"),
    (b"1", TypeError, f"^{ACCEPTED}, not bytes$"),
    (True, TypeError, f"^{ACCEPTED}, not bool$"),
    ([1], TypeError, f"^{ACCEPTED}, not list$"),
    (1j, TypeError, f"^{ACCEPTED}, not complex$"),
    (-1, ValueError, f"^{ACCEPTED}, not -1$"),
    (-0.5, ValueError, f"^{ACCEPTED}, not -0.5$"),
    (float("nan"), ValueError, f"^{ACCEPTED}, not nan$"),
    (float("inf"), ValueError, f"^{ACCEPTED}, not inf$"),
    (10**400, ValueError, f"^{ACCEPTED}, and at most 1.79"),
]
WITH_TIMEOUT = {
    "recv": ((), "timeout"),
    "latest": ((), "timeout"),
    "request": (({},), "timeout"),
    "finish": ((), "timeout"),
}
OF_REQUESTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"retries": 1.5}, TypeError, "^retries must be an int, not float$"),
    ({"retries": 0.0}, TypeError, "^retries must be an int, not float$"),
    ({"retries": "1"}, TypeError, "^retries must be an int, not str$"),
    ({"retries": None}, TypeError, "^retries must be an int, not NoneType$"),
    ({"retries": False}, TypeError, "^retries must be an int, not bool$"),
    ({"retries": -1}, ValueError, "^retries must be at least 0, not -1$"),
    ({"retries": -(10**5000)}, ValueError, "^retries must be at least 0, not an int of 16610 bits$"),
    ({"idempotent": 1}, TypeError, "^idempotent must be True or False, not int$"),
    ({"idempotent": None}, TypeError, "^idempotent must be True or False, not NoneType$"),
    ({"retries": 1, "idempotent": "yes"}, TypeError, "^idempotent must be True or False, not str$"),
    ({"retries": 1, "timeout": "1"}, TypeError, f"^{ACCEPTED}, not str$"),
]


async def encode(message: object) -> bytes:
    return b"\xc0"


async def yields(message: object) -> AsyncIterator[object]:
    yield message


@pytest.mark.parametrize(("value", "error", "words"), TIMEOUTS)
@pytest.mark.parametrize("name", WITH_TIMEOUT)
@pytest.mark.parametrize("encode_message", [None, encode], ids=["plain", "async encoder"])
async def test_a_timeout_that_is_none(encode_message, name, value, error, words):
    arguments, keyword = WITH_TIMEOUT[name]
    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=encode_message)
        call = getattr(connection, name)(*arguments, **{keyword: value})  # raised where it is awaited
        with pytest.raises(error, match=words):
            await call
        assert connection.state == "idle"
        assert connection.stats()["accepted"] == 0


@pytest.mark.parametrize(("value", "error", "words"), TIMEOUTS)
@pytest.mark.parametrize("name", [*WITH_TIMEOUT, "send", "drain"])
def test_a_timeout_that_is_none_in_the_blocking_client(name, value, error, words):
    arguments, keyword = WITH_TIMEOUT.get(name, (({},) if name == "send" else (), "timeout"))
    with Peer() as peer:
        connection = peer.sync_client().connect(APP)
        with pytest.raises(error, match=words):
            getattr(connection, name)(*arguments, **{keyword: value})
        assert connection.state == "idle"
        assert connection.stats()["accepted"] == 0


@pytest.mark.parametrize(("given", "error", "words"), OF_REQUESTS)
@pytest.mark.parametrize("encode_message", [None, encode], ids=["plain", "async encoder"])
async def test_how_a_request_is_repeated(encode_message, given, error, words):
    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=encode_message)
        call = connection.request({}, **given)
        with pytest.raises(error, match=words):
            await call
        assert connection.state == "idle"
        async with peer.client().pool(APP, size=1, prewarm=0) as pool:
            with pytest.raises(error, match=words):
                await pool.request({}, **given)
            assert pool.stats()["requests"] == 0


@pytest.mark.parametrize(("given", "error", "words"), OF_REQUESTS)
def test_how_a_request_is_repeated_in_the_blocking_client(given, error, words):
    with Peer() as peer:
        connection = peer.sync_client().connect(APP)
        with pytest.raises(error, match=words):
            connection.request({}, **given)
        assert connection.state == "idle"


@pytest.mark.parametrize("timeout", [1e300, 10**300, 2**63, 5, 5.5, None])
async def test_a_long_timeout_is_one(timeout):
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            assert await result_of(connection.request({"n": 1}, timeout=timeout))
            await connection.send({"n": 2})
            assert await result_of(connection.recv(timeout=timeout)) == {"n": 2}
            await connection.send({"n": 3})
            assert await result_of(connection.latest(timeout=timeout)) == {"n": 3}
            await result_of(connection.finish(timeout))
        connection = peer.sync_client().connect(APP, throttle_interval=0)
        connection.send({"n": 2}, timeout)
        assert connection.recv(timeout) == {"n": 2}
        assert connection.request({"n": 1}, timeout)
        connection.drain(timeout)
        connection.finish(timeout)


async def test_zero_is_a_timeout_too():
    with Peer(Session.wait_closed) as peer:
        async with peer.client().connect(APP) as connection:
            for call in (connection.recv(timeout=0), connection.latest(timeout=0), connection.request({}, timeout=0)):
                with pytest.raises(RequestTimeoutError):
                    await result_of(call)


@pytest.mark.parametrize("name", ["on_result", "on_error", "on_timings", "on_state_change"])
async def test_a_callback_that_cannot_be_called(name):
    none = dict.fromkeys(("on_result", "on_error", "on_timings", "on_state_change"))
    with Peer() as peer:
        for connection in (peer.client().connect(APP), peer.sync_client().connect(APP)):
            with pytest.raises(TypeError, match=f"^{name} must be callable or None, not int$"):
                connection.set_callbacks(**{**none, name: 1})
            with pytest.raises(TypeError, match=f"^{name} is a generator function"):
                connection.set_callbacks(**{**none, name: yields})
        with pytest.raises(TypeError, match=f"{name} is a coroutine function"):
            connection.set_callbacks(**{**none, name: encode})


def test_ws_run_takes_and_refuses_the_same():
    with Peer() as peer:
        endpoint = ws_run.connect(peer.sync_client(), APP)
        for value, error, words in TIMEOUTS:
            with pytest.raises(error, match=words):
                endpoint.run({}, timeout=value)


async def test_the_signatures_say_what_they_take():
    with Peer() as peer:
        for client in (peer.client(), peer.sync_client()):
            request = inspect.signature(client.connect(APP).request)
            assert "retries: 'int' = 0, idempotent: 'bool' = False" in str(request)


async def test_what_is_wrong_with_the_input_is_still_said():
    with Peer() as peer:
        connection = peer.client().connect(APP, max_message_size=10)
        with pytest.raises(MessageTooLargeError):
            await connection.request({"n": "x" * 100}, timeout=1)
