"""`client.pool`: which connection a request gets, what becomes of connections that fail, and how a pool ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from support import LIMIT, Answer, Peer, Session, gather, result_of

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    ConnectionLostError,
    HandshakeError,
    ReconnectPolicy,
    RequestTimeoutError,
)
from fal_realtime.testing import LocalServer

APP = "fal-ai/fast-lcm-diffusion"
QUICK = ReconnectPolicy(initial_delay=0.01, max_delay=0.05)


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


@contextlib.contextmanager
def told_to_answer():
    """A script that answers its inputs when it is told to, and what tells it."""
    go = threading.Event()

    def script(session: Session) -> None:
        message = session.recv()
        while not go.wait(0.002):
            session.fence()  # reads what comes
        while True:
            session.send(message)
            message = session.recv()

    try:
        yield script, go
    finally:
        go.set()


def adds_up(pool) -> dict:
    """The statistics, whose equation holds."""
    stats = pool.stats()
    assert stats["requests"] == stats["succeeded"] + stats["failed"] + stats["under_way"] + stats["waiting"], stats
    return stats


async def until(condition) -> None:
    """Wait until the condition holds for what a pool says of itself, which tells nobody when it changes."""

    async def hold() -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    await result_of(hold())


# --- which connection, and when ---


async def test_each_of_many_requests_gets_its_own_result(server):
    async with server.client().pool("local/echo", size=4) as pool:
        results = await gather(*(pool.request({"n": n}, timeout=LIMIT) for n in range(200)))
        assert [result["n"] for result in results] == list(range(200))
        assert adds_up(pool)["succeeded"] == 200
    assert server.connections_total == 4


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_connection_has_no_more_requests_than_its_depth(depth):
    most = []

    def script(session: Session) -> None:
        answered = 0
        while True:
            message = session.recv()
            session.fence()  # the client has had its say
            most.append(len(session.messages) - answered)
            session.send(message)
            answered += 1

    with Peer(script) as peer:
        async with peer.client().pool(APP, size=2, depth=depth) as pool:
            await gather(*(pool.request({"n": n}) for n in range(40)))
    assert max(most) == depth


async def test_the_connection_with_the_fewest_requests_is_taken():
    with told_to_answer() as (script, go), Peer(script) as peer:
        async with peer.client().pool(APP, size=3, depth=3, prewarm=3) as pool:
            requests = [asyncio.create_task(pool.request({"n": n})) for n in range(7)]
            await peer.until(lambda: len(peer.inputs) == 7)
            assert sorted(len(session.messages) for session in peer.sessions) == [2, 2, 3]
            go.set()
            await gather(*requests)


async def test_no_connection_is_opened_that_is_not_needed(server):
    async with server.client().pool("local/echo", size=8) as pool:
        for n in range(20):
            await pool.request({"n": n}, timeout=LIMIT)
    assert server.connections_total == 1


async def test_as_many_as_wanted_are_opened_beforehand(server):
    async with server.client().pool("local/echo", size=8, prewarm=5) as pool:
        assert pool.stats()["open"] == 5
        assert server.connections == 5


async def test_room_is_given_in_the_order_of_the_requests():
    with told_to_answer() as (script, go), Peer(script) as peer:
        async with peer.client().pool(APP, size=1) as pool:
            requests = [asyncio.create_task(pool.request({"n": n})) for n in range(20)]
            await peer.until(lambda: peer.inputs)
            assert adds_up(pool)["waiting"] == 19
            given_up = {4, 5, 11, 19}
            for n in given_up:
                requests[n].cancel()
            await asyncio.wait([requests[n] for n in given_up])
            go.set()
            await gather(*(request for n, request in enumerate(requests) if n not in given_up))
            assert [message["n"] for message in peer.inputs] == [n for n in range(20) if n not in given_up]
            assert adds_up(pool)["failed"] == len(given_up)


async def test_room_that_comes_to_a_request_in_the_moment_of_its_cancellation_is_not_lost(server):
    async with server.client().pool("local/echo", size=1) as pool:

        async def first() -> None:
            await pool.request({"n": 1})
            # The place was given to the second one, which has not run since.
            second.cancel()

        asking = asyncio.create_task(first())
        await asyncio.sleep(0)
        second = asyncio.create_task(pool.request({"n": 2}))
        await asyncio.wait([asking, second])
        assert second.cancelled()
        assert pool.stats()["messages"]["accepted"] == 1
        assert (await pool.request({"n": 3}, timeout=LIMIT))["n"] == 3


async def test_a_request_that_finds_no_room_in_time_was_not_processed():
    with told_to_answer() as (script, go), Peer(script) as peer:
        async with peer.client().pool(APP, size=1) as pool:
            first = asyncio.create_task(pool.request({"n": 1}))
            await peer.until(lambda: peer.inputs)
            with pytest.raises(RequestTimeoutError, match=r"had room within 0\.0\d+ s") as raised:
                await pool.request({"n": 2}, timeout=0.05)
            assert (raised.value.unprocessed, raised.value.retryable) == (True, True)
            go.set()
            await result_of(first)
        assert len(peer.inputs) == 1


# --- requests that end early ---


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
async def test_a_request_that_ended_early_keeps_its_place_until_its_answer_comes(how):
    with told_to_answer() as (script, go), Peer(script) as peer:
        async with peer.client().pool(APP, size=1) as pool:
            request = asyncio.create_task(pool.request({"n": 1}, timeout=0.05 if how == "timeout" else None))
            await peer.until(lambda: peer.inputs)
            if how == "cancelled":
                request.cancel()
            with pytest.raises(RequestTimeoutError if how == "timeout" else asyncio.CancelledError):
                await request
            assert adds_up(pool)["owed"] == 1
            second = asyncio.create_task(pool.request({"n": 2}))
            await asyncio.sleep(0)
            assert adds_up(pool)["waiting"] == 1
            assert len(peer.inputs) == 1
            go.set()
            assert (await result_of(second))["n"] == 2
            assert (pool.stats()["owed"], pool.stats()["messages"]["late"]) == (0, 1)
        assert len(peer.sessions) == 1


async def test_a_connection_that_owes_an_answer_for_too_long_is_replaced(monkeypatch):
    monkeypatch.setattr("fal_realtime.pool._late.LATE_ANSWER_SECONDS", 0.05)

    def never(session: Session) -> None:
        session.wait_closed()

    with Peer(never, Session.echo) as peer:
        async with peer.client().pool(APP, size=1, reconnect=QUICK) as pool:
            with pytest.raises(RequestTimeoutError):
                await pool.request({"n": 1}, timeout=0.05)
            assert (await pool.request({"n": 2}, timeout=LIMIT))["n"] == 2
            assert pool.stats()["retired"] == 1
        assert peer.sessions[0].close_code == 1000


async def test_a_request_that_ended_before_it_was_written_owes_nothing():
    go = threading.Event()

    def late(session: Session) -> None:
        if session.number == 1:
            session.accept()
            session.close(1000)  # idle: the next request opens it again
        go.wait(LIMIT)
        session.echo()

    with Peer(late) as peer:
        async with peer.client().pool(APP, size=1, reconnect=QUICK) as pool:
            await until(lambda: [member.connection.state for member in pool._members.all] == ["idle"])
            with pytest.raises(RequestTimeoutError):
                await pool.request({"n": 1}, timeout=0.05)
            assert (pool.stats()["owed"], pool.stats()["messages"]["withdrawn"]) == (0, 1)
            go.set()
            assert (await pool.request({"n": 2}, timeout=LIMIT))["n"] == 2


# --- connections that fail ---


def loses_first_input(session: Session) -> None:
    session.recv()
    session.drop()


async def test_a_lost_session_costs_its_own_request_alone():
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().pool(APP, size=2, prewarm=2, reconnect=QUICK) as pool:
            outcomes = await asyncio.gather(
                *(pool.request({"n": n}, timeout=LIMIT) for n in range(20)), return_exceptions=True
            )
            errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
            assert [type(error) for error in errors] == [ConnectionLostError]
            assert not errors[0].unprocessed
        assert Counter(message["n"] for message in peer.inputs).most_common(1)[0][1] == 1


async def test_what_may_go_out_twice_is_sent_again_over_another_connection():
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().pool(APP, size=1, reconnect=None) as pool:
            result = await pool.request({"n": 1}, timeout=LIMIT, retries=1, idempotent=True)
            assert result["n"] == 1
            stats = adds_up(pool)
            assert (stats["lost"], stats["opened"], stats["requests"]) == (1, 2, 2)
        assert len(peer.inputs) == 2


async def test_no_request_waits_for_a_connection_that_reconnects_where_another_is_free():
    go = threading.Event()

    def script(session: Session) -> None:
        if session.number == 1:
            loses_first_input(session)
        elif session.number == 2:
            session.echo()
        go.wait(LIMIT)  # the reconnect hangs
        session.echo()

    with Peer(script) as peer:
        async with peer.client().pool(APP, size=2, prewarm=2, reconnect=QUICK) as pool:
            outcomes = await asyncio.gather(*(pool.request({"n": n}) for n in range(2)), return_exceptions=True)
            assert sum(isinstance(outcome, ConnectionLostError) for outcome in outcomes) == 1
            for n in range(10):
                await pool.request({"n": n}, timeout=LIMIT)
            assert pool.stats()["reconnecting"] == 1
            go.set()


async def test_a_refused_key_is_told_and_ends_the_openings(server):
    client = server.client(credentials="wrong:key")
    with pytest.raises(AuthenticationError):
        async with client.pool("local/echo", size=8, prewarm=8):
            pass
    pool = client.pool("local/echo", size=8, prewarm=0)
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            await pool.request({"n": 1}, timeout=LIMIT)
    seen = server.mint_requests
    assert isinstance(pool.failure, AuthenticationError)
    with pytest.raises(AuthenticationError):
        await pool.open()
    assert server.mint_requests == seen
    await pool.close()


async def test_an_app_that_does_not_exist_is_told_to_all_who_wait(server):
    pool = server.client().pool("me/missing", size=2, prewarm=0, use_jwt=False)
    outcomes = await asyncio.gather(*(pool.request({"n": n}, timeout=LIMIT) for n in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {HandshakeError}
    assert outcomes[0] is not outcomes[1]
    assert pool.stats()["waiting"] == 0
    await pool.close()


async def test_an_opening_that_the_server_puts_off_holds_up_the_others_too(server):
    server.refuse(429, retry_after=1)
    async with contextlib.aclosing(server.client()) as client:
        pool = client.pool("local/echo", size=4)
        opening = asyncio.create_task(pool.open())
        await until(lambda: pool.last_error is not None)
        assert (pool.last_error.status, pool.last_error.retry_after) == (429, 1.0)
        requests = [asyncio.create_task(pool.request({"n": n}, timeout=LIMIT)) for n in range(4)]
        await asyncio.sleep(0)
        assert (pool.stats()["waiting"], pool.stats()["opening"]) == (4, 1)
        server.refuse(None)
        assert [result["n"] for result in await gather(*requests)] == list(range(4))
        await opening
        assert (pool.last_error, pool.stats()["opening_failures"]) == (None, 0)
        await pool.close()


async def test_a_key_that_is_refused_later_leaves_the_open_connections_at_work(server):
    async with server.client().pool("local/echo", size=2, prewarm=1, use_jwt=False) as pool:
        server.refuse(403)
        results = await gather(*(pool.request({"n": n}, timeout=LIMIT) for n in range(20)))
        assert len(results) == 20
        await until(lambda: pool.failure is not None)
        assert adds_up(pool)["open"] == 1


@pytest.mark.parametrize("reconnect", [QUICK, None], ids=["reconnecting", "replaced"])
async def test_an_app_that_drops_each_session_does_not_make_it_open_for_ever(monkeypatch, reconnect):
    monkeypatch.setattr("fal_realtime.pool._options.DEFAULT_RECONNECT", QUICK)
    with Peer(loses_first_input) as peer:
        async with peer.client().pool(APP, size=2, reconnect=reconnect) as pool:
            while pool.failure is None or pool.stats()["open"] or pool.stats()["reconnecting"]:
                with pytest.raises(ConnectionClosedError):
                    await pool.request({"n": 1}, timeout=LIMIT)
            opened = len(peer.sessions)
            with pytest.raises(ConnectionClosedError) as raised:
                await pool.request({"n": 1}, timeout=LIMIT)
            assert str(raised.value) == str(pool.failure)
            assert len(peer.sessions) == opened <= 12


@contextlib.contextmanager
def down(server: LocalServer) -> Iterator[None]:
    """Nobody listens at its port, and no other program of this machine takes it meanwhile."""
    server.stop_listening()
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", server.port))
        yield
    server.start_listening()


async def test_a_server_that_is_down_is_waited_for_and_found_again(server):
    pool = server.client().pool("local/echo", size=4, prewarm=0, use_jwt=False, reconnect=QUICK)
    with down(server):
        requests = [asyncio.create_task(pool.request({"n": n})) for n in range(8)]
        await until(lambda: pool.stats()["opening_failures"] >= 3)
        assert pool.stats()["opening"] == 1
        assert isinstance(pool.last_error, HandshakeError)
    assert len(await gather(*requests)) == 8
    assert pool.last_error is None
    await pool.close()


async def test_a_server_that_stays_down_is_told_after_the_time_that_an_opening_may_take(server):
    options = {"use_jwt": False, "reconnect": QUICK, "open_timeout": 0.3}
    pool = server.client().pool("local/echo", size=4, prewarm=0, **options)
    with down(server):
        with pytest.raises(HandshakeError):
            await pool.request({"n": 1})
        assert pool.failure is None
    assert await pool.request({"n": 1}, timeout=LIMIT)
    await pool.close()


async def test_a_timeout_says_why_there_is_no_connection(server):
    pool = server.client().pool("local/echo", size=1, prewarm=0, use_jwt=False, reconnect=QUICK)
    with down(server), pytest.raises(RequestTimeoutError, match="the newest opening failed") as raised:
        await pool.request({"n": 1}, timeout=0.3)
    assert isinstance(raised.value.__cause__, HandshakeError)
    await pool.close()


async def test_one_failed_opening_of_several_does_not_keep_the_pool_from_being_entered():
    def script(session: Session) -> None:
        if session.number == 2:
            session.refuse(503)
        else:
            session.echo()

    with Peer(script) as peer:
        async with peer.client().pool(APP, size=3, prewarm=3, reconnect=QUICK) as pool:
            await gather(*(pool.request({"n": n}) for n in range(30)))
            await until(lambda: pool.stats()["open"] == 3)
            assert pool.stats()["opening_failures"] == 1


async def test_a_token_endpoint_that_refuses_is_told():
    with Peer(tokens=(Answer(403, {"detail": "no"}),)) as peer:
        with pytest.raises(AuthenticationError):
            async with peer.client().pool(APP, size=4, prewarm=4):
                pass
        assert not peer.sessions


# --- age ---


async def test_old_connections_are_replaced_without_losing_a_request(server):
    async with server.client().pool("local/echo", size=3, max_age=0.1) as pool:
        n = 0
        while pool.stats()["retired"] < 9:
            results = await gather(*(pool.request({"n": n + k, "delay": 0.002}) for k in range(10)))
            assert [result["n"] for result in results] == list(range(n, n + 10))
            n += 10
            assert server.connections <= 3 + pool.stats()["closing"]
        stats = adds_up(pool)
        assert (stats["failed"], stats["lost"], stats["succeeded"]) == (0, 0, n)
        assert stats["messages"]["delivered"] == n
    assert stats["messages"]["unanswered"] == 0


async def test_a_request_under_way_outlives_the_age_of_its_connection():
    with told_to_answer() as (script, go), Peer(script, Session.echo) as peer:
        async with peer.client().pool(APP, size=1, max_age=0.05) as pool:
            first = asyncio.create_task(pool.request({"n": 1}))
            await until(lambda: pool.stats()["closing"])
            second = asyncio.create_task(pool.request({"n": 2}))
            go.set()
            assert [(await result_of(each))["n"] for each in (first, second)] == [1, 2]
        assert len(peer.sessions[0].messages) == 1
        assert peer.sessions[0].close_code == 1000


# --- the end ---


async def test_leaving_waits_for_what_is_under_way_and_what_waits(server):
    async with server.client().pool("local/echo", size=2) as pool:
        requests = [asyncio.create_task(pool.request({"n": n, "delay": 0.02})) for n in range(8)]
        await asyncio.sleep(0)
    assert all(request.done() for request in requests)
    assert [request.result()["n"] for request in requests] == list(range(8))
    await server.connections_reach(0)
    with pytest.raises(ConnectionClosedError, match="the pool is closed") as raised:
        await pool.request({"n": 1})
    assert raised.value.unprocessed


async def test_leaving_waits_for_the_next_attempt_of_a_request():
    with Peer(loses_first_input, Session.echo) as peer:
        async with peer.client().pool(APP, size=1, reconnect=QUICK) as pool:
            request = asyncio.create_task(pool.request({"n": 1}, retries=3, idempotent=True))
            await peer.until(lambda: peer.inputs)
        assert request.result()["n"] == 1


async def test_closing_takes_no_longer_than_it_may():
    with told_to_answer() as (script, _), Peer(script) as peer:
        pool = peer.client().pool(APP, size=2, close_timeout=0.1)
        requests = [asyncio.create_task(pool.request({"n": n})) for n in range(4)]
        await peer.until(lambda: len(peer.inputs) == 2)
        with pytest.raises(RequestTimeoutError, match=r"after 0\.05 s 4 requests had no answer"):
            await pool.close(0.05)
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ConnectionClosedError}
        assert adds_up(pool)["failed"] == 4


async def test_leaving_by_an_exception_ends_at_once_and_tells(caplog):
    with told_to_answer() as (script, _), Peer(script) as peer:
        with pytest.raises(KeyError):  # noqa: PT012
            async with peer.client().pool(APP, size=2, close_timeout=0.1) as pool:
                requests = [asyncio.create_task(pool.request({"n": n})) for n in range(4)]
                await peer.until(lambda: len(peer.inputs) == 2)
                raise KeyError
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ConnectionClosedError}
    assert "4 requests under way" in caplog.text


async def test_cancelling_the_end_ends_at_once():
    with told_to_answer() as (script, _), Peer(script) as peer:
        pool = peer.client().pool(APP, size=1, close_timeout=0.1)
        request = asyncio.create_task(pool.request({"n": 1}))
        await peer.until(lambda: peer.inputs)
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await result_of(closing)
        with pytest.raises(ConnectionClosedError):
            await result_of(request)


async def test_nothing_is_left_of_a_pool(server):
    before = asyncio.all_tasks()
    async with server.client().pool("local/echo", size=4, prewarm=4, max_age=60) as pool:
        slow = asyncio.create_task(pool.request({"n": 1, "delay": 60}))
        await asyncio.sleep(0)
        slow.cancel()
        await asyncio.wait([slow])
        await gather(*(pool.request({"n": n}) for n in range(50)))
    await server.connections_reach(0)
    assert asyncio.all_tasks() == before
    stats = adds_up(pool)
    assert (stats["succeeded"], stats["messages"]["delivered"], stats["open"]) == (50, 50, 0)


async def test_closing_the_client_closes_the_pool(server):
    client = server.client()
    async with client.pool("local/echo", size=2, prewarm=2) as pool:
        await pool.request({"n": 1}, timeout=LIMIT)
        await client.aclose()
        with pytest.raises(RuntimeError, match="the client is closed"):
            await pool.request({"n": 1}, timeout=LIMIT)


async def test_results_that_are_nobodys_are_counted_and_not_kept():
    def script(session: Session) -> None:
        while True:
            message = session.recv()
            session.send({"nobody": "asked"})
            session.send(message)

    with Peer(script) as peer:
        async with peer.client().pool(APP, size=1) as pool:
            for n in range(5):
                await pool.request({"n": n}, timeout=LIMIT)
            await until(lambda: pool.stats()["strays"] == 5)
            assert pool.stats()["messages"]["received_pending"] == 0


# --- options ---


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"size": 0}, ValueError, "size must be from 1"),
        ({"size": 1.5}, TypeError, "size must be an int"),
        ({"size": 2, "depth": 0}, ValueError, "depth must be"),
        ({"size": 2, "prewarm": 3}, ValueError, r"prewarm \(3\) must not be more than size"),
        ({"size": 2, "max_age": 0}, ValueError, "None switches it off"),
        ({"size": 2, "drain_timeout": -1}, ValueError, "drain_timeout must not be negative"),
        ({"size": 2, "on_result": print}, ValueError, "each result goes to the request"),
        ({"size": 2, "connection_key": "one"}, ValueError, "connection_key"),
        ({"size": 2, "streaming": True}, ValueError, "streaming"),
        ({"size": 2, "raw": True}, ValueError, "raw"),
        ({"size": 2, "open_timeout": 0}, ValueError, "open_timeout must be"),
        ({"size": 2, "colour": "red"}, TypeError, "colour"),
    ],
)
def test_an_option_that_is_not_accepted_is_refused_at_once(server, options, error, match):
    with pytest.raises(error, match=match):
        server.client().pool("local/echo", **options)


def test_a_pool_shows_no_secret(server):
    assert "test-key" not in repr(server.client().pool("local/echo", size=2))
