"""Why: logging, attributes and causes say what went wrong, and the server's wishes are heard."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import pickle
import socket
import threading
import time

import pytest
from support import LIMIT, Answer, Log, Peer, Records, Session, gather, result_of, until

from fal_realtime import (
    ApiError,
    AuthenticationError,
    BufferFullError,
    ConnectionClosedError,
    ConnectionLostError,
    FalRealtimeError,
    HandshakeError,
    RealtimeError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)


def busy(session: Session) -> None:
    session.refuse(429, "slow down", {"Retry-After": "7", "x-fal-request-id": "request-1"})


def break_down(session: Session) -> None:
    session.send(session.recv())
    session.close(1011, "GPU out of memory")


async def test_losses_attempts_and_ends_are_logged_and_no_secret_is():
    logger, records = logging.getLogger("fal_realtime"), Records()
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    try:
        with Peer(break_down, lambda session: session.refuse(503), Session.echo) as peer:
            async with peer.client().connect(APP, reconnect=AT_ONCE) as connection:
                await connection.request({"number": 0}, timeout=LIMIT)
                await peer.until(lambda: len(peer.sessions) == 3)
                await records.log.until(
                    lambda lines: sum("open" in line and "opened" not in line for line in lines) >= 2
                )
        text = "\n".join(records.log)
        assert "the session ended: the connection is closed (code 1011: GPU out of memory)" in text
        assert "status 503" in text
        assert "trying again in" in text
        # The logger is everybody's: what an earlier test left may be told now.
        own = [line for line in records.log if APP in line]
        assert len(own) >= 3
        assert all(line.startswith(f"{APP}/realtime: ") for line in own)
        for secret in ("token-1", "key-secret"):
            assert secret not in text
    finally:
        logger.removeHandler(records)
        logger.setLevel(logging.NOTSET)


async def test_attributes_say_how_the_last_session_ended_and_why():
    states = Log()
    with Peer(break_down, Session.echo) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE, on_state_change=states)
        assert (connection.last_error, connection.close_code, connection.close_reason) == (None, None, None)
        async with connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            await states.until(lambda states: states.count("active") == 2)
            assert (connection.close_code, connection.close_reason) == (1011, "GPU out of memory")
            assert isinstance(connection.last_error, ConnectionClosedError)
            assert "GPU out of memory" in str(connection.last_error)


def test_they_do_so_for_the_blocking_client_too():
    with Peer(lambda session: session.refuse(404)) as peer:
        connection = peer.sync_client().connect(APP)
        with pytest.raises(HandshakeError):
            connection.open()
        assert connection.last_error.status == 404
        assert connection.close_code is None


async def test_a_request_that_times_out_says_why_the_connection_is_not_open():
    with Peer(break_down, lambda session: session.refuse(503, "down")) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE, close_timeout=0.1) as connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            await peer.until(lambda: len(peer.sessions) > 2)
            with pytest.raises(RequestTimeoutError, match=r"not open: .* status 503") as raised:
                await connection.request({"number": 1}, timeout=0.1)
            assert isinstance(raised.value.__cause__, HandshakeError)
            assert raised.value.__cause__.status == 503
            assert raised.value.retryable


def down(nobody: int, what: str) -> dict[str, str]:
    """The options of a client for whom this part of the peer does not listen."""
    parts = {"server": ("base_url", "ws"), "token endpoint": ("rest_url", "http"), "proxy": ("proxy", "http")}
    name, scheme = parts[what]
    return {name: f"{scheme}://127.0.0.1:{nobody}"}


def check_refused(error: RequestTimeoutError) -> None:
    """It says so, and its cause is that."""
    assert "while the connection was not open: " in str(error)
    assert "refused" in str(error)
    assert isinstance(error.__cause__, FalRealtimeError)
    assert "refused" in str(error.__cause__)


@pytest.mark.parametrize("what", ["server", "token endpoint", "proxy"])
@pytest.mark.parametrize("how", ["recv", "latest", "finish"])
async def test_whatever_times_out_says_why_the_connection_is_not_open(what, how, nobody):
    with Peer() as peer:
        connection = peer.client(**down(nobody, what)).connect(APP, reconnect=AT_ONCE)
        connection.send_nowait({})
        with pytest.raises(RequestTimeoutError) as raised:
            await getattr(connection, how)(timeout=0.5)
        check_refused(raised.value)
        await connection.aclose()


@pytest.mark.parametrize("what", ["server", "token endpoint", "proxy"])
@pytest.mark.parametrize("how", ["recv", "latest", "finish", "drain", "send"])
def test_whatever_times_out_of_the_blocking_client_says_it_too(what, how, nobody):
    with Peer() as peer:
        connection = peer.sync_client(**down(nobody, what)).connect(APP, reconnect=AT_ONCE, throttle_interval=0)
        with contextlib.suppress(BufferFullError):
            while True:
                connection.send_nowait({})
        with pytest.raises(RequestTimeoutError) as raised:
            getattr(connection, how)(*[{}] * (how == "send"), timeout=0.5)
        check_refused(raised.value)
        connection.close()


async def test_what_times_out_while_the_connection_is_open_has_no_such_cause():
    with Peer(break_down, lambda session: session.wait_closed()) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE, close_timeout=0.1) as connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            await peer.until(lambda: len(peer.sessions) > 1)
            await connection.open()
            assert connection.last_error is not None
            with pytest.raises(RequestTimeoutError, match=r"no result came within 0\.05 s$") as raised:
                await connection.recv(timeout=0.05)
            assert raised.value.__cause__ is None


async def test_connections_that_wait_for_a_token_together_all_know_why_there_is_none():
    def provide(_: str) -> str:
        message = "the vault is down"
        raise OSError(message)

    with Peer() as peer:
        client = peer.client()
        # The more failed, the longer the next one waits before it asks.
        for _ in range(5):
            connection = client.connect(APP, token_provider=provide, open_timeout=1)
            with pytest.raises(FalRealtimeError, match="the vault is down") as raised:
                await connection.open()
            if isinstance(raised.value, RequestTimeoutError):
                assert isinstance(raised.value.__cause__, AuthenticationError)


async def test_a_new_connection_knows_that_the_token_endpoint_wants_to_be_left_alone():
    with Peer(tokens=(Answer(503, "busy", (("Retry-After", "30"),)),)) as peer:
        client = peer.client()
        with pytest.raises(FalRealtimeError, match="status 503"):
            await client.connect(APP, open_timeout=0.5)
        for use in (lambda new: new.request({}, timeout=0.5), lambda new: new.recv(timeout=0.5)):
            connection = client.connect(APP)
            connection.send_nowait({})
            with pytest.raises(
                RequestTimeoutError, match=r"while the connection was not open: .* status 503"
            ) as raised:
                await use(connection)
            assert isinstance(raised.value.__cause__, ApiError)
            assert raised.value.__cause__.retry_after == pytest.approx(30, abs=1)
            await connection.aclose()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("use_jwt", [True, False])
async def test_a_proxy_that_does_not_answer_is_named_and_its_login_is_not(scheme, use_jwt):
    with socket.create_server(("127.0.0.1", 0)) as silent, Peer() as peer:
        port = silent.getsockname()[1]
        client = peer.client(proxy=f"{scheme}://user:pass-secret@127.0.0.1:{port}")
        connection = client.connect(APP, use_jwt=use_jwt, open_timeout=0.5)
        expected = rf"proxy 127\.0\.0\.1:{port} with a login did not answer the request for a tunnel to 127\.0\.0\.1:"
        with pytest.raises(RequestTimeoutError, match=expected) as raised:
            await connection.open()
        assert isinstance(raised.value.__cause__, ApiError if use_jwt else HandshakeError)
        assert "pass-secret" not in f"{raised.value!r} {raised.value.__cause__!r}"


async def test_an_opening_that_times_out_says_what_the_token_request_came_to():
    with Peer(tokens=(Answer(503, "busy"),)) as peer:
        with pytest.raises(RequestTimeoutError, match=r"the last attempt: .* status 503") as raised:
            await peer.client().connect(APP, open_timeout=0.5)
        assert isinstance(raised.value.__cause__, ApiError)
        assert raised.value.__cause__.status == 503


async def test_a_refused_handshake_says_when_to_come_back_and_which_request_it_was():
    with Peer(busy) as peer:
        with pytest.raises(HandshakeError) as raised:
            await peer.client().connect(APP, open_timeout=6)
        error = raised.value
        assert len(peer.sessions) == 1, "seven seconds are more than it may take"
        assert (error.status, error.retry_after, error.request_id, error.retryable) == (429, 7.0, "request-1", True)
        assert error.body == "slow down"
        assert error.headers.items() >= {"retry-after": "7", "x-fal-request-id": "request-1"}.items()


REFUSED = (("x-fal-request-id", "request-2"), ("Location", "/there?code=theirs"), ("Set-Cookie", "a=theirs"))


async def test_a_refused_token_request_carries_what_the_answer_said_and_nothing_that_is_secret():
    kept = {"x-fal-request-id": "request-2", "location": "/there"}
    for status, kind in ((400, ApiError), (403, AuthenticationError)):
        body = {"detail": [1, "key-id:key-secret"]}
        with Peer(tokens=(Answer(status, body, REFUSED),)) as peer, pytest.raises(kind) as raised:
            await peer.client().connect(APP)
        for error in (raised.value, pickle.loads(pickle.dumps(raised.value))):
            assert error.body == {"detail": [1, "***"]}
            assert error.request_id == "request-2"
            assert error.headers.items() >= kept.items()
            assert "theirs" not in repr(vars(error))


async def test_a_refusal_of_the_session_says_what_the_handshakes_answer_said():
    def refuse(session: Session) -> None:
        session.refuse(401, '{"detail": "expired"}', {"x-fal-request-id": "request-3"})

    with Peer(refuse) as peer:
        with pytest.raises(AuthenticationError) as raised:
            await peer.client().connect(APP, reconnect=AT_ONCE)
        error = raised.value
        assert (error.body, error.request_id) == ({"detail": "expired"}, "request-3")
        assert error.headers["x-fal-request-id"] == "request-3"


async def test_a_server_is_not_asked_again_before_the_time_that_it_named():
    times = []

    def busy_for_a_second(session: Session) -> None:
        times.append(time.monotonic())
        session.refuse(503, "", {"Retry-After": "1"})

    def note(session: Session) -> None:
        times.append(time.monotonic())
        session.echo()

    with Peer(busy_for_a_second, note) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        connection.send_nowait({"number": 0})
        assert await result_of(connection.recv()) == {"number": 0}
        await connection.aclose()
        assert times[1] - times[0] >= 1


def busy_for_a_second(session: Session) -> None:
    session.refuse(429, "slow down", {"Retry-After": "1"})


async def test_who_waits_for_an_opening_waits_as_long_as_the_server_says():
    states, times = Log(), []

    def busy(session: Session) -> None:
        times.append(time.monotonic())
        busy_for_a_second(session)

    with Peer(busy, busy, Session.echo) as peer:
        async with peer.client().connect(APP, on_state_change=lambda state, reason: states((state, reason))):
            times.append(time.monotonic())
        assert [later - earlier >= 1 for earlier, later in itertools.pairwise(times)] == [True, True]
        reasons = [reason for state, reason in states if state == "waiting"]
        assert [(type(reason), reason.status) for reason in reasons] == [(HandshakeError, 429)] * 2


def test_the_blocking_client_waits_likewise():
    with Peer(busy_for_a_second, Session.echo) as peer, peer.sync_client().connect(APP) as connection:
        assert connection.request({"number": 1}, timeout=LIMIT)["number"] == 1
        assert len(peer.sessions) == 2


async def test_without_a_policy_nobody_waits():
    with Peer(busy_for_a_second) as peer:
        with pytest.raises(HandshakeError, match="429"):
            await peer.client().connect(APP, reconnect=None)
        assert len(peer.sessions) == 1


class TestWhoIsToldOfAnOpening:
    """What the call raises that waits for it goes to no callback, and nothing else is lost."""

    @staticmethod
    def refuse(session: Session) -> None:
        session.refuse(404, "no such app")

    async def test_it_is_the_call_that_waits_for_it(self) -> None:
        errors, contexts = Log(), Log()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts(context))
        with Peer(self.refuse) as peer:
            for callbacks in ({"on_error": errors}, {"on_result": print}, {"on_error": errors, "on_result": print}):
                connection = peer.client().connect(APP, **callbacks)
                with pytest.raises(HandshakeError, match="no such app"):
                    await connection
                await connection.aclose()
                del connection
                gc.collect()
        assert (errors, contexts) == ([], [])

    def test_it_is_the_blocking_call_that_waits_for_it(self) -> None:
        errors = Log()
        with Peer(self.refuse) as peer:
            connection = peer.sync_client().connect(APP, on_error=errors, on_result=print)
            with pytest.raises(HandshakeError, match="no such app"):
                connection.open()
            connection.close()
        assert errors == []

    async def test_it_is_the_request_that_caused_it(self) -> None:
        errors = Log()
        with Peer(self.refuse) as peer:
            connection = peer.client().connect(APP, on_error=errors)
            with pytest.raises(HandshakeError, match="no such app"):
                await connection.request({"number": 1}, timeout=LIMIT)
            await connection.aclose()
        assert errors == []

    async def test_it_is_on_error_where_whoever_waited_has_given_up(self) -> None:
        errors = Log()
        with Peer(self.refuse) as peer:
            connection = peer.client().connect(APP, on_error=errors)
            opening = asyncio.ensure_future(connection.open())
            await asyncio.sleep(0)
            while connection.state != "closed":
                time.sleep(0.001)  # noqa: ASYNC251 - the loop is not to hear of the failure before
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert [str(error) for error in await errors.has(1)] == [str(connection.last_error)]

    async def test_it_is_on_error_where_nobody_waits(self) -> None:
        errors = Log()
        with Peer(self.refuse) as peer:
            connection = peer.client().connect(APP, on_error=errors)
            await connection.send({"number": 1})
            [error] = await errors.has(1)
            assert isinstance(error, HandshakeError)


async def test_a_token_endpoint_is_not_asked_again_before_the_time_that_it_named():
    tokens = (Answer(429, "slow down", (("Retry-After", "2"),)), Answer(body="second"))
    with Peer(tokens=tokens) as peer:
        began = time.monotonic()
        async with peer.client().connect(APP):
            assert time.monotonic() - began >= 2
        assert len(peer.mints) == 2


async def test_who_would_wait_for_a_token_endpoint_longer_than_he_wants_to_is_told_at_once():
    wishes = (("Retry-After", "600"), ("x-fal-request-id", "request-1"))
    with Peer(tokens=(Answer(429, "slow down", wishes),)) as peer:
        client = peer.client()
        for asked in range(3):
            with pytest.raises(ApiError, match="status 429") as raised:
                await client.connect(APP, open_timeout=LIMIT)
            error = raised.value
            assert (error.status, error.retryable, error.request_id) == (429, True, "request-1")
            assert error.retry_after == pytest.approx(600, abs=LIMIT), asked
        assert len(peer.mints) == 1


async def test_an_opening_that_takes_too_long_carries_what_the_token_endpoint_said():
    wishes = (("Retry-After", "4"), ("x-fal-request-id", "request-1"))
    with Peer(tokens=(Answer(503, "busy", wishes),)) as peer:
        with pytest.raises(RequestTimeoutError, match=r"open_timeout.*status 503") as raised:
            await peer.client().connect(APP, open_timeout=2)
        assert (raised.value.retry_after, raised.value.request_id) == (4.0, "request-1")


async def test_a_timeout_does_not_name_why_an_earlier_session_was_lost():
    asked = threading.Event()
    with Peer(break_down, Session.echo, lambda session: asked.wait(LIMIT)) as peer:
        options = {"reconnect": AT_ONCE, "idle_close": 0.02, "close_timeout": 0.1}
        async with peer.client().connect(APP, **options) as connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            await peer.until(lambda: len(peer.sessions) == 2)
            await connection.request({"number": 1}, timeout=LIMIT)
            assert "GPU out of memory" in str(connection.last_error)
            await until(lambda: connection.state == "idle", "the end of the session that is not used")
            with pytest.raises(RequestTimeoutError) as raised:
                await connection.request({"number": 2}, timeout=0.1)
            asked.set()
            assert "GPU out of memory" not in f"{raised.value} {raised.value.__cause__}"


async def test_nor_how_the_last_session_ended():
    asked = threading.Event()
    with Peer(raise_after(1), lambda session: asked.wait(LIMIT)) as peer:
        async with peer.client().connect(APP, close_timeout=0.1) as connection:
            with pytest.raises(RealtimeError, match="it raised"):
                await connection.request({"number": 0}, timeout=LIMIT)
            with pytest.raises(RequestTimeoutError) as raised:
                await connection.request({"number": 1}, timeout=0.3)
            asked.set()
            assert "it raised" not in f"{raised.value} {raised.value.__cause__}"


async def test_without_on_error_the_loop_hears_of_what_nobody_takes():
    contexts = Log()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts(context))
    with Peer(lambda session: session.refuse(404, "no such app")) as peer:
        connection = peer.client().connect(APP, on_result=lambda _: None)
        connection.send_nowait({"number": 0})
        [context] = await contexts.has(1)
        assert isinstance(context["exception"], HandshakeError)
        assert "there is no on_error" in context["message"]


# --- an end that nobody is told of ---


async def _fail_with(take, **options) -> list[str]:
    """What the loop's exception handler hears of a connection that fails, is taken, and dropped."""
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    with Peer(lambda session: session.refuse(404, "no such app")) as peer:
        connection = peer.client().connect(APP, **options)
        connection.send_nowait({"number": 0})
        await result_of(connection.wait_closed())
        await take(connection)
        del connection
        gc.collect()
    return [f"{context['message']}: {type(context['exception']).__name__}" for context in contexts]


async def test_without_any_callback_the_loop_hears_of_an_end_that_no_call_raised():
    async def nothing(_) -> None:
        pass

    [heard] = await _fail_with(nothing)
    assert heard.startswith(f"{APP}/realtime: ")
    assert "status 404" in heard
    assert "nobody was told" in heard
    assert heard.endswith("HandshakeError")
    assert await _fail_with(nothing, on_error=Log()) == []
    assert await _fail_with(nothing, on_state_change=lambda state, reason: None) == []


@pytest.mark.parametrize("name", ["recv", "send", "send_nowait", "request", "open", "drain"])
async def test_what_a_call_has_raised_is_told(name):
    async def call(connection) -> None:
        arguments = ({"number": 1},) if "send" in name or name == "request" else ()
        with pytest.raises((HandshakeError, ConnectionClosedError)):
            await getattr(connection, name)(*arguments)

    assert await _fail_with(call) == []


# --- nobody listens ---


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_does_not_listen_is_named_as_the_proxy(scheme, nobody):
    words = rf"(?i){scheme} proxy 127.0.0.1:{nobody}.* cannot be reached"
    with Peer() as peer:
        client = peer.client(proxy=f"{scheme}://user:pass-secret@127.0.0.1:{nobody}")
        with pytest.raises(HandshakeError, match=words) as raised:
            await client.connect(APP, use_jwt=False)
        assert raised.value.retryable
        assert "pass-secret" not in str(raised.value)
        # The token request goes through it as well.
        with pytest.raises(ApiError, match=words):
            await client.connect(APP)


async def test_an_awaited_opening_does_not_wait_long_for_a_token_endpoint_that_does_not_listen(nobody):
    with Peer() as peer:
        client = peer.client(rest_url=f"http://127.0.0.1:{nobody}")
        # Not by its limit, and with the reason itself.
        with pytest.raises(ApiError, match="refused") as raised:
            await client.connect(APP, open_timeout=4)
        assert (raised.value.status, raised.value.retryable) == (0, True)


# --- an input that fails with others under way ---


def raise_after(count: int, *, answered: int = 0):
    """Take so many inputs, answer the first of them, and end like an app that raised."""

    def script(session: Session) -> None:
        inputs = [session.recv() for _ in range(count)]
        for message in inputs[:answered]:
            session.send(message)
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="it raised")
        session.close(1000)

    return script


async def test_requests_that_fail_together_say_how_many_were_under_way_and_are_worth_another_try():
    with Peer(raise_after(10, answered=2)) as peer:
        async with peer.client().connect(APP) as connection:
            requests = (connection.request({"number": number}, timeout=LIMIT) for number in range(10))
            outcomes = await gather(*(_outcome(request) for request in requests))
        assert [outcome["number"] for outcome in outcomes[:2]] == [0, 1]
        for error in outcomes[2:]:
            assert isinstance(error, RealtimeError)
            assert str(error).startswith("INTERNAL_ERROR: it raised (8 inputs, or less, were under way")
            assert (error.error, error.reason, error.retryable) == ("INTERNAL_ERROR", "it raised", True)


async def _outcome(request):
    try:
        return await request
    except RealtimeError as error:
        return error


async def test_an_opening_that_fails_names_the_error_that_its_session_ended_with():
    def fail_at_once(session: Session) -> None:
        session.accept()
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="no GPU")
        session.close(1000)

    async def never(_) -> None:
        await asyncio.Event().wait()

    with Peer(fail_at_once) as peer:
        connection = peer.client().connect(APP, on_open=never, on_error=lambda _: None)
        with pytest.raises(
            ConnectionClosedError, match=r"code 1000.*; the server said: INTERNAL_ERROR: no GPU"
        ) as raised:
            await connection.open()
        assert isinstance(raised.value.__cause__, RealtimeError)
        assert str(connection.last_error) == str(raised.value)


async def test_a_request_that_fails_alone_was_the_one():
    with Peer(raise_after(1)) as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(RealtimeError) as raised:
                await connection.request({"number": 0}, timeout=LIMIT)
        assert (str(raised.value), raised.value.retryable) == ("INTERNAL_ERROR: it raised", False)


def test_inputs_that_are_nobodys_request_count_as_under_way():
    with Peer(raise_after(3)) as peer, peer.sync_client().connect(APP) as connection:
        for number in range(2):
            connection.send({"number": number})
        with pytest.raises(RealtimeError, match="3 inputs, or less, were under way") as raised:
            connection.request({"number": 2}, timeout=LIMIT)
        assert raised.value.retryable
        with pytest.raises(ConnectionLostError, match="2 messages without an answer"):
            connection.recv(timeout=LIMIT)


# --- the reason of a change of state ---


async def test_on_state_change_may_take_the_reason():
    changes = Log()
    with Peer(break_down, Session.echo) as peer:
        options = {"reconnect": AT_ONCE, "use_jwt": False}
        connection = peer.client().connect(
            APP, on_state_change=lambda state, reason: changes((state, reason)), **options
        )
        async with connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            await changes.until(lambda changes: [state for state, _ in changes].count("active") == 2)
        await changes.until(lambda changes: changes[-1][0] == "closed")
        states = ["connecting", "active", "waiting", "connecting", "active", "closing", "closed"]
        assert [state for state, _ in changes] == states
        [(state, reason)] = [(state, reason) for state, reason in changes if reason is not None]
        assert state == "waiting"
        assert isinstance(reason, ConnectionClosedError)
        assert (reason.code, reason.reason) == (1011, "GPU out of memory")


async def test_the_reason_of_the_end_is_what_ended_it():
    changes = Log()

    async def note(state, reason):
        changes((state, reason))

    with Peer(lambda session: session.refuse(404)) as peer:
        with pytest.raises(HandshakeError):
            await peer.client().connect(APP, on_state_change=note)
        await changes.until(lambda changes: changes[-1:] and changes[-1][0] == "closed")
        assert changes[-1][1].status == 404


def test_the_blocking_client_gives_the_reason_too():
    changes, over = [], threading.Event()

    def note(state, reason):
        changes.append((state, reason))
        if state == "closed":
            over.set()

    with Peer(lambda session: session.refuse(404)) as peer:
        connection = peer.sync_client().connect(APP, on_state_change=note)
        with pytest.raises(HandshakeError):
            connection.open()
        assert over.wait(LIMIT)
        assert [state for state, reason in changes if reason is None] == ["authenticating", "connecting"]
        assert changes[-1][1].status == 404


class _Named:
    def __init__(self, log: Log) -> None:
        self.log = log

    def note(self, state, reason=None):
        self.log((state, reason))


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        pytest.param(lambda log: log, "closed", id="one argument"),
        pytest.param(lambda log: lambda state, log=log: log(state), "closed", id="another default"),
        pytest.param(lambda log: lambda *states: log(states), ("closed",), id="any number"),
        pytest.param(lambda log: lambda state, *, reason=0: log((state, reason)), ("closed", 0), id="by keyword"),
        pytest.param(lambda log: lambda state, why: log((state, why)), ("closed", None), id="two arguments"),
        pytest.param(lambda log: _Named(log).note, ("closed", None), id="a default that is called reason"),
    ],
)
@pytest.mark.parametrize("is_set_later", [False, True], ids=["at connect", "later"])
async def test_what_a_callback_is_given_is_decided_by_its_signature(callback, expected, is_set_later):
    log = Log()
    with Peer() as peer:
        options = {} if is_set_later else {"on_state_change": callback(log)}
        connection = peer.client().connect(APP, use_jwt=False, **options)
        if is_set_later:
            connection.set_callbacks(on_result=None, on_error=None, on_timings=None, on_state_change=callback(log))
        await connection
        await connection.aclose()
        await log.until(lambda log: expected in log)


async def test_a_method_of_a_list_takes_the_state():
    states = []
    with Peer() as peer:
        connection = peer.client().connect(APP, on_state_change=states.append)
        await connection
        await connection.aclose()
        assert states[-1] == "closed"


# --- latency ---


async def test_latency_is_the_time_that_the_newest_pong_took():
    with Peer() as peer:
        async with peer.client().connect(APP, ping_interval=0.02) as connection:
            assert connection.latency is None
            # The second ping follows the silence after the first one's pong.
            await peer.until(lambda: peer.sessions[0].pings >= 2)
            assert 0 < connection.latency < LIMIT
        assert connection.latency > 0


async def test_a_pong_that_nobody_asked_for_is_no_latency():
    def pong_then_echo(session: Session) -> None:
        session.send_wire(b"\x8a\x00" + b"\x8a\x04" + bytes(4))
        session.echo()

    with Peer(pong_then_echo) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.request({"number": 0}, timeout=LIMIT)
            assert connection.latency is None


async def test_the_blocking_client_has_latency_too():
    with Peer() as peer:
        connection = peer.sync_client().connect(APP, ping_interval=0.02)
        await asyncio.to_thread(connection.open)
        await peer.until(lambda: peer.sessions[0].pings >= 2)
        assert 0 < connection.latency < LIMIT
        await asyncio.to_thread(connection.close)
