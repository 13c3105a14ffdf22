"""Loss, back-off, idling, and what becomes of the messages meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from itertools import pairwise

import msgpack
import pytest
from support import LIMIT, Answer, Log, Peer, Session, result_of

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    ConnectionLostError,
    HandshakeError,
    RealtimeError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.01)


def drop(session: Session) -> None:
    """Accept, then reset the connection."""
    session.accept()
    session.drop()


def take_and_drop(session: Session) -> None:
    """Take one message, then reset the connection."""
    session.recv()
    session.drop()


def refuse(session: Session) -> None:
    """Refuse the handshake with something that may pass."""
    session.refuse(503)


# --- messages across a loss ---


@pytest.mark.parametrize("read", [1, 3, 7])
async def test_unsent_messages_are_sent_in_order_after_a_loss_and_none_twice(read):
    count = 100
    again = threading.Event()

    def read_some_then_drop(session: Session) -> None:
        for _ in range(read):
            session.recv()
        session.drop()

    def let_in_late(session: Session) -> None:
        assert again.wait(LIMIT)
        session.echo()

    with Peer(read_some_then_drop, let_in_late) as peer:
        async with peer.client().connect(APP, throttle_interval=0, reconnect=AT_ONCE) as connection:
            for number in range(count):
                await connection.send({"number": number})
                if number == count // 2:
                    await peer.until(lambda: len(peer.sessions) == 2)
            again.set()
            await result_of(connection.drain())
            last = None
            while last != count - 1:
                with contextlib.suppress(ConnectionLostError):  # of what the first session had
                    last = (await result_of(connection.recv()))["number"]
            stats = connection.stats()
        first, second = ([message["number"] for message in inputs] for inputs in inputs_of(peer))
        assert first == list(range(len(first)))
        # What was sent while there was no socket is all there; what the lost one had taken over is not sent again.
        assert second == list(range(second[0], count))
        assert read <= len(first) <= second[0] <= count // 2 + 1
        assert stats["written"] + stats["failed"] == count


async def test_messages_accepted_while_waiting_for_the_reconnect_are_all_sent():
    with Peer(drop, refuse, refuse, Session.echo) as peer:
        states = Log()
        policy = ReconnectPolicy(initial_delay=0.05, max_delay=0.05)
        connection = peer.client().connect(APP, throttle_interval=0, reconnect=policy, on_state_change=states)
        async with connection:
            await states.until(lambda states: "waiting" in states)
            for number in range(20):
                connection.send_nowait({"number": number})
            assert [(await result_of(connection.recv()))["number"] for _ in range(20)] == list(range(20))
        assert [message["number"] for message in peer.inputs] == list(range(20))


async def test_a_request_under_way_when_the_socket_is_lost_raises_and_is_not_sent_again():
    with Peer(take_and_drop, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE) as connection:
            with pytest.raises(ConnectionClosedError) as raised:
                await connection.request({"number": 0}, timeout=LIMIT)
            assert raised.value.code == 1006
            assert (await connection.request({"number": 1}, timeout=LIMIT))["number"] == 1
        assert [message["number"] for message in peer.inputs] == [0, 1]


async def test_a_request_that_was_not_sent_yet_survives_the_loss():
    again = threading.Event()

    def let_in_late(session: Session) -> None:
        assert again.wait(LIMIT)
        session.echo()

    states = Log()
    with Peer(drop, let_in_late) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE, on_state_change=states) as connection:
            await states.until(lambda states: "waiting" in states)
            asking = asyncio.ensure_future(connection.request({"number": 0}, timeout=LIMIT))
            await asyncio.sleep(0)
            again.set()
            assert (await result_of(asking))["number"] == 0


async def test_an_error_that_ends_the_session_fails_the_requests_it_had_and_the_next_one_reopens():
    def fail(session: Session) -> None:
        session.recv()
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="out of memory")
        session.close(1000)

    with Peer(fail, Session.echo) as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(RealtimeError, match="INTERNAL_ERROR: out of memory"):
                await connection.request({"number": 0}, timeout=LIMIT)
            assert await connection.request({"number": 1}, timeout=LIMIT)
        assert len(peer.sessions) == 2


# --- back-off ---


async def test_a_loss_is_followed_by_a_reconnect_which_is_counted():
    states = Log()
    with Peer(drop, drop, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE, on_state_change=states) as connection:
            await states.until(lambda states: states.count("active") == 3)
            assert await connection.request({"number": 0}, timeout=LIMIT)
            assert connection.stats()["reconnects"] == 2
        assert [session.number for session in peer.sessions] == [1, 2, 3]


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 4000])
async def test_an_abnormal_close_code_is_followed_by_a_reconnect(code):
    def close(session: Session) -> None:
        if code == 1006:
            session.accept()
            session.leave()
        else:
            session.close(code)

    with Peer(close, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE):
            await peer.until(lambda: len(peer.sessions) == 2)


async def test_the_delays_are_taken_at_random():
    times = []
    policy = ReconnectPolicy(initial_delay=0.02, max_delay=0.08, factor=2)

    def refuse_and_note(session: Session) -> None:
        times.append(time.monotonic())
        session.refuse(503)

    with Peer(drop, *[refuse_and_note] * 8, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=policy) as connection:
            await peer.until(lambda: len(peer.sessions) == 10)
            assert await connection.request({"number": 0}, timeout=LIMIT)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        # Full jitter: that seven delays up to 80 ms are all below 2 ms does not happen.
        assert sum(gaps) > 0.014


async def test_after_max_attempts_the_connection_closes_with_the_last_error():
    errors = Log()
    policy = ReconnectPolicy(initial_delay=0.001, max_attempts=3)
    with Peer(take_and_drop, refuse) as peer:
        connection = peer.client().connect(APP, reconnect=policy, on_error=errors)
        connection.send_nowait({"number": 0})
        await result_of(connection.wait_closed())
        with pytest.raises(HandshakeError) as raised:
            await result_of(connection.recv())
        assert raised.value.status == 503
        assert connection.state == "closed"
        await errors.has(2)
        assert isinstance(errors[0], ConnectionLostError)
        assert errors[1].status == 503
        assert len(peer.sessions) == 4
        with pytest.raises(HandshakeError, match="503"):
            connection.send_nowait({"number": 0})


async def test_a_server_that_accepts_and_drops_is_not_dialled_at_full_speed():
    policy = ReconnectPolicy(initial_delay=0.001, factor=10, max_fruitless=4)
    with Peer(drop) as peer:
        connection = peer.client().connect(APP, reconnect=policy)
        connection.send_nowait({"number": 0})
        await result_of(connection.wait_closed())
        with pytest.raises(ConnectionClosedError, match="given up after 4 sessions in a row without a result"):
            await connection.send({"number": 1})
        assert connection.state == "closed"
        assert len(peer.sessions) == 4


async def test_a_session_that_lived_for_stable_after_is_not_fruitless():
    policy = ReconnectPolicy(initial_delay=0.001, stable_after=0, max_fruitless=1)
    states = Log()
    with Peer(drop, drop, drop, drop, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=policy, on_state_change=states) as connection:
            await states.until(lambda states: states.count("active") == 5)
            assert connection.stats()["reconnects"] == 4


async def test_without_reconnect_a_loss_ends_the_connection():
    errors, states = Log(), Log()
    with Peer(take_and_drop) as peer:
        connection = peer.client().connect(APP, reconnect=None, on_error=errors, on_state_change=states)
        connection.send_nowait({"number": 0})
        with pytest.raises(ConnectionClosedError) as raised:
            await result_of(connection.recv())
        assert raised.value.code == 1006
        assert connection.state == "closed"
        await states.until(lambda states: "closed" in states)
        assert states == ["authenticating", "connecting", "active", "closed"]
        assert [error.code for error in errors] == [1006]
        assert len(peer.sessions) == 1


async def test_without_reconnect_the_iteration_raises_after_a_loss():
    def send_and_drop(session: Session) -> None:
        session.send(session.recv())
        session.close(1011, "broken")

    with Peer(send_and_drop) as peer:
        async with peer.client().connect(APP, reconnect=None) as connection:
            await connection.send({"number": 0})
            assert await result_of(anext(connection)) == {"number": 0}
            with pytest.raises(ConnectionClosedError, match="broken"):
                await result_of(anext(connection))


async def test_a_policy_violation_mints_once_more_and_then_is_an_authentication_error():
    with Peer(lambda session: session.close(1008, "token expired")) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        connection.send_nowait({"number": 0})
        with pytest.raises(AuthenticationError, match="token expired"):
            await result_of(connection.recv())
        assert [session.token for session in peer.sessions] == ["token-1", "token-2"]


async def test_a_half_open_peer_is_detected_within_ping_interval_and_ping_timeout():
    silent = threading.Event()
    lost = Log()
    began = time.monotonic()
    loop = asyncio.get_running_loop()

    def say_nothing(session: Session) -> None:
        session.accept()
        loop.call_soon_threadsafe(lost, time.monotonic())
        assert silent.wait(LIMIT)  # without reading, no ping is answered

    def note(session: Session) -> None:
        loop.call_soon_threadsafe(lost, time.monotonic())
        session.echo()

    with Peer(say_nothing, note) as peer:
        async with peer.client().connect(APP, ping_interval=0.2, ping_timeout=0.2, reconnect=AT_ONCE):
            _, reopened = await lost.has(2)
            silent.set()
        assert reopened >= began + 0.4


async def test_a_peer_that_answers_pings_is_not_taken_for_lost():
    with Peer() as peer:
        async with peer.client().connect(APP, ping_interval=0.05, ping_timeout=0.05) as connection:
            await peer.until(lambda: peer.sessions[0].pings >= 6)
            assert connection.state == "active"
            assert connection.stats()["reconnects"] == 0


# --- opening ---


async def test_an_eager_opening_that_fails_raises_at_once():
    with Peer(refuse, Session.echo) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        with pytest.raises(HandshakeError) as raised:
            await connection
        assert raised.value.status == 503
        assert connection.state == "closed"
        assert len(peer.sessions) == 1


async def test_a_lazy_opening_that_fails_is_tried_again():
    with Peer(refuse, refuse, Session.echo) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        connection.send_nowait({"number": 0})
        assert await result_of(connection.recv()) == {"number": 0}
        await connection.aclose()
        assert len(peer.sessions) == 3


async def test_a_lazy_opening_is_tried_until_open_timeout_is_over():
    errors = Log()
    with Peer(refuse) as peer:
        policy = ReconnectPolicy(initial_delay=0.02, max_delay=0.02)
        connection = peer.client().connect(APP, reconnect=policy, open_timeout=0.3, on_error=errors)
        began = time.monotonic()
        connection.send_nowait({"number": 0})
        [error] = await errors.has(1)
        assert isinstance(error, HandshakeError)
        assert 0.3 <= time.monotonic() - began < LIMIT
        assert connection.state == "closed"
        assert connection.stats()["failed"] == 1


async def test_a_refusal_that_will_not_pass_is_not_tried_again():
    errors = Log()
    with Peer(lambda session: session.refuse(404, "no such app")) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE, on_error=errors)
        connection.send_nowait({"number": 0})
        [error] = await errors.has(1)
        assert error.status == 404
        assert len(peer.sessions) == 1


async def test_a_slow_opening_within_open_timeout_succeeds():
    def start_cold(session: Session) -> None:
        time.sleep(0.3)
        session.echo()

    with Peer(start_cold) as peer:
        async with peer.client().connect(APP, open_timeout=5) as connection:
            assert connection.state == "active"


@pytest.mark.parametrize("loop_is_blocked", [True, False])
async def test_an_opening_that_the_server_ends_at_once_is_an_opening(loop_is_blocked):
    ended = threading.Event()

    def end_at_once(session: Session) -> None:
        session.accept()
        session.close(1000)
        ended.set()

    with Peer(end_at_once) as peer:
        connection = peer.client().connect(APP)
        opening = asyncio.ensure_future(opened(connection))
        await asyncio.sleep(0)
        if loop_is_blocked:
            assert ended.wait(LIMIT)
        await result_of(opening)
        assert connection.state in ("active", "idle")
        await connection.aclose()


def test_a_blocking_opening_that_the_server_ends_at_once_is_an_opening():
    with Peer(lambda session: session.close(1000)) as peer:
        # Each opening that finds the one before it over waits for the back-off, which grows.
        policy = ReconnectPolicy(initial_delay=0.001, max_delay=0.01)
        connection = peer.sync_client().connect(APP, reconnect=policy)
        for _ in range(20):
            connection.open()
        connection.close()


async def test_many_who_open_at_once_share_one_socket():
    with Peer() as peer:
        connection = peer.client().connect(APP, throttle_interval=0)
        await result_of(asyncio.gather(*(opened(connection) for _ in range(5)), sent(connection)))
        assert await result_of(connection.recv()) == {"number": 0}
        assert len(peer.sessions) == 1
        await connection.aclose()


async def opened(connection):
    return await connection


async def sent(connection):
    await connection.send({"number": 0})


# --- the normal close ---


@pytest.mark.parametrize("says_timeout", [True, False], ids=["after TIMEOUT", "without a word"])
async def test_after_a_normal_close_the_connection_idles_and_the_next_send_reopens_it(says_timeout):
    def idle(session: Session) -> None:
        session.send(session.recv())
        if says_timeout:
            session.send_timeout()
        session.close(1000)

    states, errors, results = Log(), Log(), Log()
    with Peer(idle) as peer:
        options = {"on_state_change": states, "on_error": errors, "on_result": results}
        connection = peer.client().connect(APP, throttle_interval=0, **options)
        for number in range(3):
            connection.send_nowait({"number": number})
            await states.until(lambda states, seen=number: states.count("idle") > seen)
        await connection.aclose()
        await states.until(lambda states: "closed" in states)
        assert results == [{"number": 0}, {"number": 1}, {"number": 2}]
        assert errors == []
        assert states == ["authenticating", "connecting", "active", "idle"] * 3 + ["closed"]
        assert connection.stats()["reconnects"] == 2
        # The token has not expired meanwhile, but nobody kept it.
        assert 1 <= len(peer.mints) <= 3


async def test_an_idle_connection_keeps_no_token_fresh():
    asked = {"idle": Log(), "alive": Log()}

    def provider(name):
        async def provide(_):
            asked[name](True)
            return name

        return provide

    def idle_or_live(session: Session) -> None:
        if session.token == "idle":
            session.send_timeout()
            session.close(1000)
        session.wait_closed()

    states = Log()
    with Peer(idle_or_live) as peer:
        client = peer.client()
        options = {"token_expiration_seconds": 1}
        idle = client.connect(APP, token_provider=provider("idle"), on_state_change=states, **options)
        async with idle, client.connect(APP, token_provider=provider("alive"), **options):
            await states.until(lambda states: "idle" in states)
            await asked["alive"].has(2)
        assert len(asked["idle"]) == 1


async def test_a_streaming_connection_can_stream_again_after_its_end():
    def stream(session: Session) -> None:
        name = session.recv()["name"]
        for number in range(3):
            session.send({"name": name, "number": number})
        session.send_timeout()
        session.close(1000)

    with Peer(stream) as peer:
        async with peer.client().connect(APP, streaming=True, throttle_interval=0) as connection:
            for name in ("first", "second"):
                await connection.send({"name": name})
                streamed = [result["number"] async for result in connection]
                assert streamed == [0, 1, 2]
        assert len(peer.sessions) == 2


async def test_closing_sends_what_was_written_before_it_and_fails_what_was_not():
    with Peer(lambda session: session.wait_closed()) as peer:
        connection = peer.client().connect(APP, throttle_interval=0)
        await connection
        for number in range(50):
            await connection.send({"number": number})
        await connection.aclose()
        stats = connection.stats()
        assert (stats["written"], stats["failed"], stats["pending"]) == (50, 0, 0)
        await peer.until(lambda: peer.sessions[0].close_code == 1000)
        assert [message["number"] for message in peer.inputs] == list(range(50))


async def test_a_server_that_does_not_answer_the_close_is_left_after_close_timeout():
    release = threading.Event()

    def ignore(session: Session) -> None:
        session.accept()
        assert release.wait(LIMIT)

    with Peer(ignore) as peer:
        connection = peer.client().connect(APP, close_timeout=0.2)
        await connection
        began = time.monotonic()
        await result_of(connection.aclose())
        assert 0.15 < time.monotonic() - began < LIMIT
        assert connection.state == "closed"
        release.set()


async def test_a_server_that_says_timeout_and_does_not_close_is_left_and_the_next_send_reopens():
    release = threading.Event()

    def stay(session: Session) -> None:
        session.send_timeout()
        assert release.wait(LIMIT)

    states = Log()
    with Peer(stay, Session.echo) as peer:
        options = {"close_timeout": 0.1, "throttle_interval": 0, "on_state_change": states}
        async with peer.client().connect(APP, **options) as connection:
            await states.until(lambda states: "idle" in states)
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"number": 0}
            release.set()


async def test_close_is_idempotent_and_final():
    with Peer() as peer:
        connection = peer.client().connect(APP)
        await connection
        for _ in range(3):
            connection.close()
            await result_of(connection.aclose())
        for use in (connection.send, connection.request):
            with pytest.raises(ConnectionClosedError):
                await use({"number": 0})
        with pytest.raises(ConnectionClosedError):
            await connection
        assert connection.state == "closed"


async def test_a_connection_that_was_never_opened_can_be_closed():
    with Peer() as peer:
        connection = peer.client().connect(APP)
        await result_of(connection.aclose())
        assert connection.state == "closed"
        assert (peer.accepted, peer.mints) == (0, [])


async def test_drain_raises_when_the_connection_closes_before_all_is_written():
    release = threading.Event()
    with Peer(lambda _: release.wait(LIMIT)) as peer:
        connection = peer.client().connect(APP)
        connection.send_nowait({"number": 0})
        draining = asyncio.ensure_future(connection.drain())
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(ConnectionClosedError):
            await result_of(draining)
        release.set()


async def test_a_token_request_that_fails_during_a_reconnect_is_tried_again():
    def until_told(session: Session) -> None:
        session.recv()
        session.close(1008)

    tokens = (Answer(body="first"), Answer(500, "a bad moment"), Answer(body="second"))
    with Peer(until_told, Session.echo, tokens=tokens) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE, throttle_interval=0) as connection:
            await connection.send({"number": 0})
            await peer.until(lambda: len(peer.sessions) == 2)
            assert await connection.request({"number": 1}, timeout=LIMIT)
        assert [session.token for session in peer.sessions] == ["first", "second"]


async def test_a_request_times_out_while_the_connection_is_not_open():
    release = threading.Event()
    with Peer(lambda _: release.wait(LIMIT)) as peer:
        connection = peer.client().connect(APP)
        with pytest.raises(RequestTimeoutError):
            await connection.request({"number": 0}, timeout=0.05)
        connection.close()
        release.set()
        await result_of(connection.wait_closed())


def inputs_of(peer):
    """The decoded messages of each connection."""
    return [[msgpack.unpackb(message) for message in session.messages] for session in peer.sessions]
