"""Each fault of the existing clients that `PROTOCOL.md` lists, as a test that fails on the client that has it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest
from support import LIMIT, Answer, Log, Peer, Session, SessionEnded, gather, result_of

from fal_realtime import (
    AuthenticationError,
    BufferFullError,
    ConnectionClosedError,
    HandshakeError,
    RealtimeError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.01)


async def prove_alive(peer):
    """A round trip of another connection: what the first one wanted to do, it would have done by now."""
    async with peer.client().connect(APP, path="/alive") as connection:
        await connection.request({"alive": True}, timeout=LIMIT)


def sessions_of(peer, path="/fal-ai/fast-lcm-diffusion/realtime"):
    return [session for session in peer.sessions if session.path == path]


# --- @fal-ai/client: sending ---


async def test_five_messages_sent_before_the_socket_opens_all_arrive_in_order():
    with Peer() as peer:
        connection = peer.client().connect(APP, throttle_interval=0)
        for number in range(5):
            connection.send_nowait({"number": number})
        results = [(await result_of(connection.recv()))["number"] for _ in range(5)]
        await connection.aclose()
        assert results == [0, 1, 2, 3, 4]
        assert peer.inputs == [{"number": number} for number in range(5)]


async def test_the_trailing_call_of_300_of_300_bursts_is_delivered():
    bursts, connections = 30, 10

    async def burst(client, name):
        async with client.connect(APP, throttle_interval=20) as connection:
            delivered = 0
            for number in range(bursts):
                for step in ("leading", "middle", "trailing"):
                    await connection.send({"name": name, "number": number, "step": step})
                while await result_of(connection.recv()) != {"name": name, "number": number, "step": "trailing"}:
                    pass
                delivered += 1
            return delivered

    with Peer() as peer:
        client = peer.client()
        assert sum(await gather(*(burst(client, name) for name in range(connections)))) == 300


async def test_a_throttled_send_does_not_reopen_a_closed_connection():
    with Peer() as peer:
        connection = peer.client().connect(APP, throttle_interval=10)
        await connection.send({"number": 0})
        await result_of(connection.recv())
        await connection.send({"number": 1})
        await connection.aclose()
        with pytest.raises(ConnectionClosedError):
            await connection.send({"number": 2})
        async with peer.client().connect(APP, path="/alive", throttle_interval=10) as later:
            # The other throttle has let two messages through: the first one's time is long over.
            for number in (10, 11):
                await later.send({"number": number})
            for _ in range(2):
                await result_of(later.recv())
        assert len(sessions_of(peer)) == 1
        assert connection.state == "closed"
        stats = connection.stats()
        assert stats["accepted"] == stats["written"] + stats["failed"]


async def test_a_send_that_races_the_servers_close_is_sent_after_reopening():
    over = threading.Event()
    sent = threading.Event()

    def end_the_session(session: Session) -> None:
        session.send(session.recv())
        session.send_timeout()
        session.fence()
        over.set()
        assert sent.wait(LIMIT)
        session.close(1000)

    with Peer(end_the_session, Session.echo) as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"number": 0}
            assert await asyncio.to_thread(over.wait, LIMIT)
            await connection.send({"number": 1})
            await connection.send({"number": 2})
            sent.set()
            assert [await result_of(connection.recv()) for _ in range(2)] == [{"number": 1}, {"number": 2}]
        assert [len(session.messages) for session in peer.sessions] == [1, 2]


# --- @fal-ai/client: closing ---


async def test_close_while_the_token_is_fetched_opens_no_socket():
    asked, answer = threading.Event(), threading.Event()

    def hold() -> None:
        asked.set()
        assert answer.wait(LIMIT)

    with Peer(tokens=(Answer(body="late", before=hold), Answer())) as peer:
        connection = peer.client().connect(APP)
        connection.send_nowait({"prompt": "a cat"})
        assert await asyncio.to_thread(asked.wait, LIMIT)
        await connection.aclose()
        answer.set()
        await prove_alive(peer)
        assert sessions_of(peer) == []
        assert peer.accepted == 1


async def test_close_while_connecting_leaves_no_socket_open():
    let_in = threading.Event()
    ended = Log()
    loop = asyncio.get_running_loop()

    def let_in_late(session: Session) -> None:
        assert let_in.wait(LIMIT)
        session.wait_closed()
        loop.call_soon_threadsafe(ended, session.messages)

    with Peer(let_in_late) as peer:
        connection = peer.client().connect(APP)
        connection.send_nowait({"prompt": "a cat"})
        await peer.until(lambda: peer.sessions)
        assert connection.state == "connecting"
        connection.close()
        await result_of(connection.wait_closed())
        let_in.set()
        # The client has gone away from the handshake: no message came through that socket.
        assert await ended.has(1) == [[]]
        assert len(peer.sessions) == 1


async def test_cancelling_the_opening_leaves_no_socket_open():
    let_in = threading.Event()
    with Peer(lambda _: let_in.wait(LIMIT)) as peer:

        async def enter(connection):
            async with connection:
                pytest.fail("the server has not answered the handshake")

        connection = peer.client().connect(APP)
        opening = asyncio.ensure_future(enter(connection))
        await peer.until(lambda: peer.sessions)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await result_of(opening)
        await result_of(connection.wait_closed())
        assert connection.state == "closed"
        let_in.set()


async def test_a_normal_close_reports_no_error_and_sends_code_1000():
    errors, states = Log(), Log()
    with Peer() as peer:
        connection = peer.client().connect(APP, on_result=Log(), on_error=errors, on_state_change=states)
        await connection
        connection.close()
        await states.until(lambda states: "closed" in states)
        await peer.until(lambda: peer.sessions[0].close_code)
        assert peer.sessions[0].close_code == 1000
        assert errors == []


async def test_a_close_by_the_server_with_code_1000_reports_no_error():
    errors, states = Log(), Log()
    with Peer(lambda session: session.close(1000)) as peer:
        connection = peer.client().connect(APP, on_result=Log(), on_error=errors, on_state_change=states)
        await connection
        await states.until(lambda states: "idle" in states)
        await connection.aclose()
        assert errors == []


# --- @fal-ai/client: tokens ---


async def test_a_failing_token_provider_is_not_silent():
    def fail(app_path):
        message = "the vault is sealed"
        raise PermissionError(message)

    errors = Log()
    with Peer() as peer:
        connection = peer.client().connect(APP, token_provider=fail, on_result=Log(), on_error=errors)
        connection.send_nowait({"prompt": "a cat"})
        [told] = await errors.has(1)
        with pytest.raises(AuthenticationError, match="PermissionError: the vault is sealed"):
            await peer.client().connect(APP, token_provider=fail)
        assert "the vault is sealed" in str(told)


async def test_a_failed_handshake_does_not_keep_the_bad_token():
    with Peer(lambda session: session.refuse(401), Session.echo) as peer:
        async with peer.client().connect(APP) as connection:
            assert await connection.request({"prompt": "a cat"}, timeout=LIMIT)
        assert [session.token for session in peer.sessions] == ["token-1", "token-2"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_handshake_refused_twice_mints_once_more_and_then_is_an_authentication_error(status):
    with Peer(lambda session: session.refuse(status)) as peer:
        with pytest.raises(AuthenticationError):
            await peer.client().connect(APP)
        assert [session.token for session in peer.sessions] == ["token-1", "token-2"]
        assert len(peer.mints) == 2


async def test_the_refresh_timer_does_not_outlive_a_socket_that_never_opened():
    asked = {"closed": Log(), "alive": Log()}

    def provider(name):
        async def provide(app_path):
            asked[name](app_path)
            return "token"

        return provide

    def never_open(session: Session) -> None:
        if session.path.endswith("/never"):
            session.interrupt()
        session.wait_closed()

    with Peer(never_open) as peer:
        client = peer.client()
        with pytest.raises(HandshakeError):
            await client.connect(APP, path="/never", token_provider=provider("closed"), token_expiration_seconds=1)
        # A connection that lives has its token refreshed twice meanwhile.
        async with client.connect(APP, token_provider=provider("alive"), token_expiration_seconds=1):
            await asked["alive"].has(3)
        assert len(asked["closed"]) == 1


async def test_no_token_is_minted_after_close():
    asked = {"closed": Log(), "alive": Log()}

    def provider(name):
        async def provide(app_path):
            asked[name](app_path)
            return "token"

        return provide

    with Peer() as peer:
        client = peer.client()
        async with client.connect(APP, token_provider=provider("closed"), token_expiration_seconds=1):
            pass
        async with client.connect(APP, token_provider=provider("alive"), token_expiration_seconds=1):
            await asked["alive"].has(3)
        assert len(asked["closed"]) == 1


async def test_the_close_of_an_old_socket_does_not_touch_the_new_one():
    second_is_open = threading.Event()
    first_is_closed = Log()
    loop = asyncio.get_running_loop()

    def refuse_in_band_and_close_late(session: Session) -> None:
        session.recv()
        session.send_json(status="error", error="Unauthorized")
        assert second_is_open.wait(LIMIT)
        with contextlib.suppress(SessionEnded):
            session.close(1011, "late")
        session.drop()
        loop.call_soon_threadsafe(first_is_closed, True)

    def echo(session: Session) -> None:
        session.accept()
        second_is_open.set()
        session.echo()

    errors = Log()
    with Peer(refuse_in_band_and_close_late, echo) as peer:
        connection = peer.client().connect(APP, on_error=errors, throttle_interval=0)
        await connection
        await connection.send({"number": 0})
        await first_is_closed.has(1)
        await connection.send({"number": 1})
        # What the first one had refused was sent again.
        assert [await result_of(connection.recv()) for _ in range(2)] == [{"number": 0}, {"number": 1}]
        assert connection.state == "active"
        await connection.aclose()
        assert len(peer.sessions) == 2
        assert errors == []


# --- @fal-ai/client: connection_key ---


async def test_a_connection_key_is_scoped_by_app():
    with Peer() as peer:
        client = peer.client()
        first = client.connect("fal-ai/first", connection_key="key")
        second = client.connect("fal-ai/second", connection_key="key")
        assert first is not second
        await gather(first, second)
        assert {session.path for session in peer.sessions} == {"/fal-ai/first/realtime", "/fal-ai/second/realtime"}
        await gather(first.aclose(), second.aclose())


async def test_a_second_connect_with_the_same_key_has_its_own_callbacks():
    old, new = Log(), Log()
    with Peer() as peer:
        client = peer.client()
        first = client.connect(APP, connection_key="key", on_result=old, throttle_interval=0)
        first.send_nowait({"number": 0})
        await old.has(1)
        second = client.connect(APP, connection_key="key", on_result=new)
        assert second is first
        second.send_nowait({"number": 1})
        assert await new.has(1) == [{"number": 1}]
        assert old == [{"number": 0}]
        assert len(peer.sessions) == 1
        await second.aclose()


async def test_a_second_connect_with_the_same_key_does_not_silently_keep_the_first_ones_options():
    with Peer() as peer:
        client = peer.client()
        connection = client.connect(APP, connection_key="key", throttle_interval=64)
        with pytest.raises(ValueError, match="throttle_interval=64, which cannot become 32"):
            client.connect(APP, connection_key="key", throttle_interval=32)
        connection.close()


async def test_closed_connections_leave_the_cache():
    with Peer() as peer:
        client = peer.client()
        connection = client.connect(APP, connection_key="key")
        await connection
        await connection.aclose()
        again = client.connect(APP, connection_key="key")
        assert again is not connection
        again.close()
        gone = [weakref.ref(connection), weakref.ref(again)]
        del connection, again
        # The loop may still hold the last wake of the connection.
        await prove_alive(peer)
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


# --- @fal-ai/client: results and errors ---


async def test_a_result_with_status_error_is_delivered():
    answer = {"status": "error", "error": "the prompt is empty", "request_id": "r"}

    def answer_with_error(session: Session) -> None:
        session.recv()
        session.send(answer)
        session.send_json(**answer)
        session.wait_closed()

    results, errors = Log(), Log()
    with Peer(answer_with_error) as peer:
        connection = peer.client().connect(APP, on_result=results, on_error=errors)
        connection.send_nowait({"prompt": ""})
        assert await results.has(2) == [answer, answer]
        await connection.aclose()
        assert errors == []


async def test_an_exception_in_on_result_goes_to_the_loops_exception_handler_and_delivery_goes_on():
    reported, errors, results = Log(), Log(), Log()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported(context))

    def on_result(result):
        results(result)
        if result["number"] == 0:
            raise ZeroDivisionError(result)

    with Peer() as peer:
        connection = peer.client().connect(APP, on_result=on_result, on_error=errors, throttle_interval=0)
        connection.send_nowait({"number": 0})
        connection.send_nowait({"number": 1})
        await results.has(2)
        await connection.aclose()
        assert results == [{"number": 0}, {"number": 1}]
        assert errors == []
        [context] = reported
        assert isinstance(context["exception"], ZeroDivisionError)
        assert context["exception"].__traceback__.tb_frame.f_code.co_name == "on_result"


async def test_the_end_of_a_stream_ends_the_iteration():
    def stream(session: Session) -> None:
        session.recv()
        for number in range(3):
            session.send({"number": number})
        session.send_timeout()
        session.close(1000)

    with Peer(stream) as peer:
        async with peer.client().connect(APP, streaming=True) as connection:
            await connection.send({"prompt": "count"})

            async def iterate():
                return [result["number"] async for result in connection]

            assert await result_of(iterate()) == [0, 1, 2]


async def test_pings_are_sent():
    with Peer() as peer:
        async with peer.client().connect(APP, ping_interval=0.05):
            await peer.until(lambda: peer.sessions and peer.sessions[0].pings >= 3)


async def test_a_server_that_never_answers_the_handshake_is_given_up_after_open_timeout():
    release = threading.Event()
    with Peer(lambda _: release.wait(LIMIT)) as peer:
        connection = peer.client().connect(APP, open_timeout=0.2)
        with pytest.raises(RequestTimeoutError, match="open_timeout"):
            await result_of(connection)
        assert connection.state == "closed"
        release.set()


async def test_a_server_that_does_not_read_makes_send_wait():
    release = threading.Event()

    def read_late(session: Session) -> None:
        session.accept()
        assert release.wait(LIMIT)
        session.wait_closed()

    with Peer(read_late) as peer:
        async with peer.client().connect(APP, throttle_interval=0, ping_interval=None) as connection:
            message = {"image_bytes": bytes(1 << 20)}
            # More than the sockets' buffers hold, and than the queue's 64 MiB.
            stuck = 0
            while stuck < 5:  # a busy machine may be slow for a while
                fill(connection, message)
                written = connection.stats()["written"]
                await prove_alive_elsewhere()
                stuck = stuck + 1 if connection.stats()["written"] == written else 0
            waiting = asyncio.ensure_future(connection.send(message))
            await prove_alive_elsewhere()
            assert not waiting.done()
            release.set()
            await result_of(waiting)
            await result_of(connection.drain())


def fill(connection, message):
    """Send until there is no room."""
    for _ in range(200):
        try:
            connection.send_nowait(message)
        except BufferFullError:  # noqa: PERF203
            return
    pytest.fail("the queue never was full")


async def prove_alive_elsewhere():
    with Peer() as other:
        await prove_alive(other)


# --- fal-client ---


async def test_recv_goes_on_waiting_when_the_server_idles():
    def idle_after_each(session: Session) -> None:
        session.send(session.recv())
        session.send_timeout()
        session.close(1000)

    with Peer(idle_after_each) as peer:
        states = Log()
        async with peer.client().connect(APP, on_state_change=states) as connection:
            for number in range(3):
                receiving = asyncio.ensure_future(connection.recv())
                await connection.send({"number": number})
                assert await result_of(receiving) == {"number": number}
                receiving = asyncio.ensure_future(connection.recv())
                await states.until(lambda states, seen=number: states.count("idle") > seen)
                assert not receiving.done()
                receiving.cancel()
        assert len(peer.sessions) == 3


async def test_recv_at_the_normal_end_of_a_stream_says_closed_with_1000_and_not_timeout():
    def stream(session: Session) -> None:
        session.send(session.recv())
        session.send_timeout()
        session.close(1000)

    with Peer(stream) as peer:
        async with peer.client().connect(APP, streaming=True) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"number": 0}
            with pytest.raises(ConnectionClosedError) as ended:
                await result_of(connection.recv())
            assert ended.value.code == 1000


async def test_json_text_that_is_no_object_is_a_result():
    def send_list(session: Session) -> None:
        session.send_raw("[1, 2]")
        session.echo()

    with Peer(send_list) as peer:
        async with peer.client().connect(APP) as connection:
            assert await result_of(connection.recv()) == [1, 2]


async def test_an_error_encoded_as_msgpack_is_an_error_and_not_a_result():
    def fail_in_msgpack(session: Session) -> None:
        session.recv()
        session.send({"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "out of memory"})
        session.close(1000)

    with Peer(fail_in_msgpack) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({"prompt": "a cat"})
            with pytest.raises(RealtimeError) as raised:
                await result_of(connection.recv())
            assert (raised.value.error, raised.value.reason) == ("INTERNAL_ERROR", "out of memory")
            assert raised.value.payload["type"] == "x-fal-error"


async def test_an_app_id_that_ends_in_realtime_is_dialled_as_it_is():
    with Peer() as peer:
        async with peer.client().connect("fal-ai/flux-2/klein/realtime"):
            assert peer.sessions[0].path == "/fal-ai/flux-2/klein/realtime"


async def test_there_is_a_throttle_a_reconnect_a_callback_an_iteration_a_timeout_and_a_statistic():
    def drop_the_first(session: Session) -> None:
        session.accept()
        session.drop()

    with Peer(drop_the_first, lambda session: session.send(session.recv()) or session.wait_closed()) as peer:
        states = Log()
        client = peer.client()
        async with client.connect(APP, reconnect=AT_ONCE, on_state_change=states, throttle_interval=20) as connection:
            await states.until(lambda states: states.count("active") == 2)
            await connection.send({"number": 0})
            async for result in connection:
                assert result == {"number": 0}
                break
            with pytest.raises(RequestTimeoutError) as raised:
                await connection.request({"never": "answered"}, timeout=0.05)
            assert isinstance(raised.value, TimeoutError)
            await connection.send({"number": 1})
            await connection.send({"number": 2})
            stats = connection.stats()
            assert (stats["reconnects"], stats["delivered"]) == (1, 1)
            assert stats["accepted"] == sum(
                stats[name] for name in ("written", "coalesced", "dropped", "failed", "pending")
            )
