"""`on_open`: what it sends goes out before all that waits, in every session."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref

import msgpack
import pytest
from support import LIMIT, Log, Peer, Session, gather, result_of
from support.waiting import Changes

from fal_realtime import (
    ConnectionClosedError,
    ConnectionLostError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)


def names(session: Session) -> list[str]:
    """The messages of a session, by their `name`."""
    return [msgpack.unpackb(message)["name"] for message in session.messages]


def break_after(count: int):
    """Answers so many messages, then resets."""

    def script(session: Session) -> None:
        for _ in range(count):
            session.send(session.recv())
        session.drop()

    return script


async def greet_by_nowait(connection):
    connection.send_nowait({"name": "first"})
    connection.send_nowait({"name": "second"})


def greet_plainly(connection):
    connection.send_nowait({"name": "first"})
    connection.send_nowait({"name": "second"})


async def greet_by_send(connection):
    await connection.send({"name": "first"})
    await asyncio.sleep(0.01)
    await connection.send({"name": "second"})


async def greet_by_request(connection):
    assert (await connection.request({"name": "first"}, timeout=LIMIT))["name"] == "first"
    assert connection.state == "connecting"
    assert (await connection.request({"name": "second"}, timeout=LIMIT))["name"] == "second"


async def greet_in_a_task(connection):
    await asyncio.gather(asyncio.create_task(connection.send({"name": "first"})))
    await asyncio.create_task(connection.send({"name": "second"}))


@pytest.mark.parametrize("greet", [greet_by_nowait, greet_plainly, greet_by_send, greet_by_request, greet_in_a_task])
async def test_what_it_sends_goes_before_what_waits_in_each_session(greet):
    received = Log()
    with Peer(break_after(5), Session.echo) as peer:
        connection = peer.client().connect(
            APP, on_open=greet, on_result=received, throttle_interval=0, reconnect=AT_ONCE
        )
        for name in "abc":
            connection.send_nowait({"name": name})
        await received.until(lambda results: any(result["name"] == "c" for result in results))
        await peer.until(lambda: len(peer.sessions) == 2)
        connection.send_nowait({"name": "d"})
        await received.until(lambda results: any(result["name"] == "d" for result in results))
        assert names(peer.sessions[0]) == ["first", "second", "a", "b", "c"]
        assert names(peer.sessions[1]) == ["first", "second", "d"]
        stats = connection.stats()
        assert (stats["accepted"], stats["written"], stats["pending"]) == (8, 8, 0)
        await connection.aclose()


@pytest.mark.parametrize("kind", ["nowait", "send", "request"])
async def test_what_others_send_meanwhile_waits_until_it_is_done(kind):
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def greet(connection):
        await connection.send({"name": "first"})
        inside.set()
        await go_on.wait()
        await connection.send({"name": "second"})

    with Peer() as peer:
        connection = peer.client().connect(APP, on_open=greet, throttle_interval=0)
        opening = asyncio.ensure_future(connection.open())
        await result_of(inside.wait())
        await peer.until(lambda: peer.inputs)
        if kind == "nowait":
            connection.send_nowait({"name": "other"})
            sent = None
        else:
            sent = asyncio.ensure_future(getattr(connection, kind)({"name": "other"}))
        await asyncio.sleep(0.02)
        assert names(peer.sessions[0]) == ["first"]
        assert not opening.done()
        go_on.set()
        await result_of(opening)
        assert connection.state == "active"
        if sent is not None:
            await result_of(sent)
        await peer.until(lambda: len(peer.inputs) == 3)
        assert names(peer.sessions[0]) == ["first", "second", "other"]
        await connection.aclose()


async def test_it_is_done_before_the_state_is_active_and_runs_beside_other_callbacks():
    """An asynchronous callback may wait for the very opening."""
    events, answers = [], Log()

    async def greet(connection):
        events.append("greeting")
        await connection.send({"name": "first"})

    async def ask_again(result):
        while result["name"] == "question" and not answers:
            # That the session is over may not be known yet.
            with contextlib.suppress(ConnectionLostError):
                answers((await connection.request({"name": "late"}, timeout=LIMIT))["name"])

    def break_at_once(session: Session) -> None:
        session.recv()
        session.send(session.recv())
        session.drop()

    with Peer(break_at_once, Session.echo) as peer:
        options = {"on_result": ask_again, "on_state_change": events.append, "reconnect": AT_ONCE}
        connection = peer.client().connect(APP, on_open=greet, on_error=lambda error: None, **options)
        await connection.send({"name": "question"})
        assert await answers.has(1) == ["late"]
        await connection.aclose()
    until_open = events[: events.index("active")]
    assert until_open == ["authenticating", "connecting", "greeting"]


async def test_what_it_raises_is_reported_and_the_queue_goes_on():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    async def greet(connection):
        await connection.send({"name": "first"})
        message = "no"
        raise LookupError(message)

    with Peer() as peer:
        async with peer.client().connect(APP, on_open=greet) as connection:
            await connection.request({"name": "other"}, timeout=LIMIT)
            assert names(peer.sessions[0]) == ["first", "other"]
    assert [type(context["exception"]) for context in contexts] == [LookupError]
    assert contexts[0]["exception"].__traceback__ is not None
    assert "on_open" in contexts[0]["message"]


async def test_one_that_does_not_end_ends_the_opening_with_a_reason():
    cancelled = asyncio.Event()

    async def hang(connection):
        try:
            await connection.drain()  # which waits for it
        finally:
            cancelled.set()

    with Peer() as peer:
        connection = peer.client().connect(APP, on_open=hang, open_timeout=0.2)
        connection.send_nowait({"name": "other"})
        with pytest.raises(RequestTimeoutError, match=r"on_open was not done after .* \(open_timeout\)"):
            await connection
        await result_of(cancelled.wait())
        assert peer.inputs == []
        assert connection.stats()["failed"] == 1
        await peer.until(lambda: peer.sessions[0].close_code is not None)


async def test_one_that_never_ends_is_not_opened_for_ever():
    """Each of these sessions costs."""
    errors = Log()
    with Peer(break_after(1), Session.wait_closed) as peer:

        async def hang_later(connection):
            if peer.sessions[-1].number > 1:
                await asyncio.Event().wait()

        policy = ReconnectPolicy(initial_delay=0.001, max_delay=0.002, max_fruitless=3)
        connection = peer.client().connect(APP, on_open=hang_later, open_timeout=0.1, reconnect=policy, on_error=errors)
        await connection.request({"name": "question"}, timeout=LIMIT)
        await result_of(connection.wait_closed())
        assert "given up after 3 sessions" in str((await errors.has(1))[-1])
        assert "on_open was not done" in str(errors[-1])
        assert len(peer.sessions) <= 5


async def test_what_it_sent_is_sent_in_no_other_session():
    """It is called again there."""
    calls = []

    async def greet(connection):
        calls.append(connection)
        with contextlib.suppress(ConnectionLostError):
            await connection.request({"name": f"greeting {len(calls)}"}, timeout=LIMIT)

    def refuse(session: Session) -> None:
        session.recv()
        session.send_json(status="error", error="Unauthorized")
        session.wait_closed()

    with Peer(refuse, Session.echo) as peer:
        connection = peer.client().connect(APP, on_open=greet, throttle_interval=0, reconnect=AT_ONCE)
        connection.send_nowait({"name": "other"})
        assert (await result_of(connection.recv()))["name"] == "other"
        assert [names(session) for session in peer.sessions] == [["greeting 1"], ["greeting 2", "other"]]
        stats = connection.stats()
        assert stats["accepted"] == stats["written"] + stats["failed"]
        await connection.aclose()


async def test_a_loss_in_the_opening_is_told_to_whoever_waits_for_it():
    async def greet(connection):
        await connection.send({"name": "first"})
        await asyncio.Event().wait()

    def bye(session: Session) -> None:
        session.recv()
        session.close(1011, "no GPU")

    with Peer(bye) as peer:
        with pytest.raises(Exception, match="no GPU"):
            await peer.client().connect(APP, on_open=greet)
        assert len(peer.sessions) == 1


async def test_closing_in_the_opening_cancels_it():
    inside, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(connection):
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with Peer() as peer:
        connection = peer.client().connect(APP, on_open=hang)
        connection.send_nowait({"name": "other"})
        await result_of(inside.wait())
        await result_of(connection.aclose())
        await result_of(cancelled.wait())
        assert connection.state == "closed"
        await peer.until(lambda: peer.sessions[0].close_code is not None)
        assert peer.inputs == []


async def test_with_an_asynchronous_encoder_too():
    async def encode(message):
        await asyncio.sleep(0.001)
        return msgpack.packb(message)

    async def greet(connection):
        connection.send_nowait({"name": "first"})
        await connection.send({"name": "second"})
        connection.send_nowait({"name": "third"})

    with Peer() as peer:
        connection = peer.client().connect(APP, on_open=greet, encode_message=encode, throttle_interval=0)
        async with connection:
            await gather(*(connection.send({"name": name}) for name in "ab"))
            await peer.until(lambda: len(peer.inputs) == 5)
        assert names(peer.sessions[0]) == ["first", "second", "third", "a", "b"]


async def test_behind_a_full_queue_too():
    async def greet(connection):
        await connection.send({"name": "first"})
        connection.send_nowait({"name": "second"})

    with Peer() as peer:
        connection = peer.client().connect(APP, on_open=greet, throttle_interval=0)
        received = Log()
        connection.set_callbacks(on_result=received, on_error=None, on_timings=None, on_state_change=None)
        await gather(*(connection.send({"name": str(number)}) for number in range(1_500)))
        await received.until(lambda results: len(results) == 1_502)
        assert names(peer.sessions[0])[:2] == ["first", "second"]
        assert set(names(peer.sessions[0])[2:]) == set(map(str, range(1_500)))
        await connection.aclose()


def test_in_the_blocking_client_too():
    changes, calls = Changes(), []

    def greet(connection):
        assert connection.request({"name": "first"}, timeout=LIMIT)["name"] == "first"
        connection.send({"name": "second"})
        connection.send_nowait({"name": "third"})
        changes.note(lambda: calls.append(threading.current_thread()))

    with Peer(break_after(4), Session.echo) as peer:
        client = peer.sync_client()
        with client.connect(APP, on_open=greet, throttle_interval=0, reconnect=AT_ONCE) as connection:
            connection.send({"name": "other"})
            changes.wait(lambda: len(calls) == 2)
            connection.request({"name": "later"}, timeout=LIMIT)
        assert names(peer.sessions[0]) == ["first", "second", "third", "other"]
        assert names(peer.sessions[1]) == ["first", "second", "third", "later"]
        assert threading.main_thread() not in calls

        async def coroutine_function(_):
            pass

        with pytest.raises(TypeError, match="on_open is a coroutine function"):
            client.connect(APP, on_open=coroutine_function)


class Own(BaseException):
    pass


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt, Own])
def test_a_blocking_one_that_raises_is_reported(error, monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def greet(connection):
        raise error(connection.app)

    with Peer() as peer, peer.sync_client().connect(APP, on_open=greet) as connection:
        connection.request({"name": "other"}, timeout=LIMIT)
    assert [entry.exc_type for entry in reported] == [error]
    assert reported[0].exc_traceback is not None


WAITS = {
    "request": lambda connection: connection.request({"name": "first"}),
    "recv": lambda connection: connection.recv(),
}


@pytest.mark.parametrize("wait", WAITS)
async def test_closing_while_it_waits_is_an_ordinary_end(wait):
    contexts, told, inside = [], Log(), asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    async def greet(connection):
        inside.set()
        try:
            await WAITS[wait](connection)
        except BaseException as error:
            told(error)
            raise

    with Peer(Session.wait_closed) as peer:
        connection = peer.client().connect(APP, on_open=greet)
        opening = asyncio.ensure_future(connection.open())
        await result_of(inside.wait())
        await peer.until(lambda: peer.sessions)
        await connection.close(4000, "why")
        with pytest.raises(ConnectionClosedError) as raised:
            await opening
        assert (raised.value.code, raised.value.reason) == (4000, "why")
        [error] = await told.has(1)
        assert isinstance(error, ConnectionClosedError | asyncio.CancelledError)
        await asyncio.sleep(0)
    assert contexts == []


@pytest.mark.parametrize("wait", WAITS)
def test_closing_while_a_blocking_one_waits_is_an_ordinary_end(wait, monkeypatch):
    reported, told, changes = [], [], Changes()
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def greet(connection):
        changes.note(lambda: threads.append(threading.current_thread()))
        try:
            WAITS[wait](connection)
        except BaseException as error:
            told.append(error)
            raise

    threads = []
    with Peer(Session.wait_closed) as peer:
        connection = peer.sync_client().connect(APP, on_open=greet)
        connection.send_nowait({"name": "other"})
        changes.wait(lambda: threads)
        peer.wait(lambda: wait == "recv" or peer.sessions[0].messages)
        connection.close(4000, "why")
        threads[0].join(LIMIT)
    assert [(error.code, error.reason) for error in told] == [(4000, "why")]
    assert reported == []


async def test_an_error_of_its_own_is_reported_though_the_connection_was_closed():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    async def greet(connection):
        connection.close()
        raise LookupError

    with Peer(Session.wait_closed) as peer:
        connection = peer.client().connect(APP, on_open=greet)
        connection.send_nowait({"name": "other"})
        await result_of(connection.wait_closed())
    assert [type(context["exception"]) for context in contexts] == [LookupError]


async def test_a_raw_connection_says_first_who_it_is():
    async def greet(connection):
        await connection.send("login")

    with Peer() as peer:
        connection = peer.client().connect_raw(f"{peer.base_url}/", on_open=greet)
        await connection.send("text")
        await peer.until(lambda: len(peer.sessions) == 1 and len(peer.sessions[0].messages) == 2)
        assert peer.sessions[0].messages == ["login", "text"]
        await connection.aclose()


async def test_a_hook_that_refers_to_its_connection_does_not_keep_it():
    class Owner:
        def __init__(self, client):
            self.connection = client.connect(APP, on_open=self.greet)

        async def greet(self, connection):
            assert connection is self.connection
            await connection.send({"name": "first"})

    with Peer() as peer:
        owner = Owner(peer.client())
        async with owner.connection:
            await peer.until(lambda: peer.inputs)
        gone = weakref.ref(owner)
        del owner
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None
