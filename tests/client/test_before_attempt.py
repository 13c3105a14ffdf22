"""`before_attempt`: asked before each attempt to open, it may change what is sent, or stop."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest
from support import LIMIT, Log, Peer, Session, result_of, until

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    HandshakeError,
    ReconnectPolicy,
    RequestTimeoutError,
)
from fal_realtime.testing import LocalServer

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)


def busy(session: Session) -> None:
    session.refuse(503)


def answer_and_break(session: Session) -> None:
    session.send(session.recv())
    session.drop()


@pytest.mark.parametrize("is_async", [True, False])
async def test_each_attempt_is_asked_for_and_sent_as_it_was_changed(is_async):
    attempts = []

    def change(attempt):
        attempts.append((attempt.number, type(attempt.error)))
        assert (attempt.headers, attempt.query) == ({"X-Own": "first"}, {"region": "eu"})
        attempt.headers["X-Own"] = f"number {len(attempts)}"
        attempt.headers["traceparent"] = "00-1"
        attempt.query = {"attempt": str(len(attempts))}

    async def change_later(attempt):
        await asyncio.sleep(0)
        change(attempt)

    options = {"headers": {"X-Own": "first"}, "query": {"region": "eu"}, "reconnect": AT_ONCE}
    with Peer(busy, answer_and_break, Session.echo) as peer:
        connection = peer.client().connect(APP, before_attempt=change_later if is_async else change, **options)
        connection.send_nowait({"number": 1})
        assert await result_of(connection.recv()) == {"number": 1}
        await peer.until(lambda: len(peer.sessions) == 3)
        await connection.request({"number": 2}, timeout=LIMIT)
        await connection.aclose()
        assert attempts == [(1, type(None)), (2, HandshakeError), (1, ConnectionClosedError)]
        for number, session in enumerate(peer.sessions, 1):
            assert session.headers["x-own"] == f"number {number}"
            assert session.headers["traceparent"] == "00-1"
            assert session.query == {"attempt": str(number), "fal_jwt_token": session.token}


async def test_a_token_of_the_hooks_own_is_used_and_a_refused_one_replaced_by_it():
    def refuse(session: Session) -> None:
        session.refuse(401, "expired: token/of-mine-1")

    asked = []

    def give(attempt):
        asked.append(attempt.error)
        attempt.token = f"token/of-mine-{len(asked)}"

    with Peer(refuse, Session.echo) as peer:
        async with peer.client().connect(APP, before_attempt=give, reconnect=AT_ONCE) as connection:
            await connection.request({"number": 1}, timeout=LIMIT)
        assert [session.token for session in peer.sessions] == ["token/of-mine-1", "token/of-mine-2"]
        assert peer.mints == []
        assert asked[0] is None
        assert asked[1].status == 401
        assert "of-mine" not in str(asked[1]) + repr(vars(asked[1]))


async def test_without_a_token_of_its_own_the_usual_one_is_fetched():
    with Peer() as peer:
        async with peer.client().connect(APP, before_attempt=lambda attempt: attempt.headers.clear()):
            assert len(peer.mints) == 1
            assert peer.sessions[0].token == "token-1"


@pytest.mark.parametrize("use_jwt", [True, False])
async def test_a_hook_may_stop_the_first_attempt(use_jwt):
    def stop(attempt):
        attempt.stop("the budget is spent")

    with Peer() as peer:
        with pytest.raises(HandshakeError, match="before_attempt stopped the opening: the budget is spent") as raised:
            await peer.client().connect(APP, before_attempt=stop, use_jwt=use_jwt)
        assert not raised.value.retryable
        assert (peer.accepted, peer.mints) == (0, [])


async def test_a_hook_may_stop_a_reconnect():
    def stop(attempt):
        if isinstance(attempt.error, ConnectionClosedError):
            attempt.stop()

    errors = Log()
    with Peer(answer_and_break) as peer:
        connection = peer.client().connect(APP, before_attempt=stop, reconnect=AT_ONCE, on_error=errors)
        await connection.request({"number": 1}, timeout=LIMIT)
        await result_of(connection.wait_closed())
        assert str((await errors.has(1))[-1]) == "before_attempt stopped the opening"
        assert len(peer.sessions) == 1


async def test_a_hook_that_raises_fails_the_attempt_and_a_later_one_is_made_again():
    asked = []

    def fail_once(attempt):
        asked.append(attempt.error)
        if len(asked) == 2:
            message = "no vault"
            raise OSError(message)

    with Peer(answer_and_break, Session.echo) as peer:
        async with peer.client().connect(APP, before_attempt=fail_once, reconnect=AT_ONCE) as connection:
            await connection.request({"number": 1}, timeout=LIMIT)
            await peer.until(lambda: len(peer.sessions) == 2)
        assert str(asked[2]) == "before_attempt raised OSError: no vault"

    def fail(_):
        message = "no vault"
        raise OSError(message)

    with Peer() as peer:
        with pytest.raises(HandshakeError, match="before_attempt raised OSError: no vault"):
            await peer.client().connect(APP, before_attempt=fail)
        assert peer.accepted == 0


def change_host(attempt):
    attempt.headers["Host"] = "hidden"


def change_value(attempt):
    attempt.headers["X-Own"] = "hidden\n"


def change_query(attempt):
    attempt.query["fal_jwt_token"] = "hidden"


def change_token(attempt):
    attempt.token = ["hidden"]


def lengthen_token(attempt):
    attempt.token = "hidden" * 10_000


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (change_host, "must not hold 'Host': it belongs to the handshake"),
        (change_value, r"headers\['X-Own'\] must consist of printable ASCII"),
        (change_query, "the token goes there"),
        (change_token, "attempt.token must be a str of printable ASCII characters, or None, not list"),
        (lengthen_token, "attempt.token has 60000 characters; at most 16384 fit an address"),
    ],
)
async def test_changes_that_are_not_acceptable_say_so(hook, text):
    with Peer() as peer:
        with pytest.raises(HandshakeError, match=text) as raised:
            await peer.client().connect(APP, before_attempt=hook)
        assert "hidden" not in str(raised.value)
        assert peer.accepted == 0


async def test_a_hook_that_does_not_end_ends_with_open_timeout_and_is_cancelled():
    cancelled = asyncio.Event()

    async def hang(_):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with Peer() as peer:
        with pytest.raises(RequestTimeoutError, match=r"before_attempt was not done after .* \(open_timeout\)"):
            await peer.client().connect(APP, before_attempt=hang, open_timeout=0.2)
        await result_of(cancelled.wait())
        assert peer.accepted == 0


async def test_a_plain_hook_that_hangs_is_not_called_in_ever_more_threads():
    calls, answer = [], threading.Event()

    def hang(attempt):
        calls.append(attempt.number)
        if attempt.error is not None:
            answer.wait(LIMIT)

    with Peer(answer_and_break) as peer:
        connection = peer.client().connect(APP, before_attempt=hang, open_timeout=1, reconnect=AT_ONCE)
        async with connection:
            await connection.request({"n": 1}, timeout=LIMIT)
            await until(lambda: "4 earlier calls of it have not returned" in str(connection.last_error), "given up")
            assert len(calls) == 5
            answer.set()
            assert (await connection.request({"n": 2}, timeout=LIMIT))["n"] == 2


def test_a_blocking_connection_asks_too_and_refuses_a_coroutine_function():
    attempts = []

    def change(attempt):
        attempts.append(attempt.number)
        attempt.headers["X-Own"] = "changed"

    async def coroutine_function(_):
        pass

    with Peer() as peer:
        with peer.sync_client().connect(APP, before_attempt=change) as connection:
            connection.request({"number": 1}, timeout=LIMIT)
        assert peer.sessions[0].headers["x-own"] == "changed"
        assert attempts == [1]
        with pytest.raises(TypeError, match="before_attempt is a coroutine function"):
            peer.sync_client().connect(APP, before_attempt=coroutine_function)


async def test_a_raw_connection_asks_too():
    def change(attempt):
        attempt.headers["Authorization"] = "Bearer hidden-bearer"
        attempt.query["n"] = str(attempt.number)

    def refuse(session: Session) -> None:
        session.refuse(403, "hidden-bearer")

    with Peer(Session.echo, refuse) as peer:
        url = f"{peer.base_url}/path?a=b"
        async with peer.client().connect_raw(url, query={"own": "1"}, before_attempt=change):
            assert peer.sessions[0].headers["authorization"] == "Bearer hidden-bearer"
            assert peer.sessions[0].query == {"a": "b", "own": "1", "n": "1"}
        with pytest.raises(AuthenticationError) as raised:
            await peer.client().connect_raw(url, before_attempt=change)
        assert "hidden" not in str(raised.value) + repr(vars(raised.value))
        with pytest.raises(HandshakeError, match=r"attempt\.token has no use"):
            await peer.client().connect_raw(
                f"{peer.base_url}/", before_attempt=lambda attempt: setattr(attempt, "token", "token")
            )


async def test_the_repr_of_an_attempt_shows_nothing_that_it_sends():
    shown = []

    def show(attempt):
        attempt.token = "hidden-token"
        attempt.headers["X-Own"] = "hidden-header"
        attempt.query["own"] = "hidden-query"
        shown.append(repr(attempt))

    with Peer() as peer:
        async with peer.client().connect(APP, before_attempt=show):
            pass
    assert shown == ["<Attempt 1 after None>"]


async def test_a_hook_that_refers_to_its_connection_does_not_keep_it():
    class Owner:
        def __init__(self, client):
            self.connection = client.connect(APP, before_attempt=self.ask)

        def ask(self, attempt):
            assert attempt.number == 1

    with Peer() as peer:
        owner = Owner(peer.client())
        async with owner.connection:
            pass
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        assert gone() is None


async def test_none_is_no_headers_and_no_parameters_of_your_own():
    def clear(attempt: Any) -> None:
        attempt.headers = attempt.query = None

    with LocalServer() as server:
        server.serve_builtin("local/echo", "echo")
        own = {"headers": {"traceparent": "00-1-1-01"}, "query": {"region": "eu"}}
        async with server.client().connect("local/echo", before_attempt=clear, **own):
            pass
        assert "traceparent" not in server.requests[0].headers
        assert "region" not in server.requests[0].query
