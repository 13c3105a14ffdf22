"""No server can make a client open sessions or ask for tokens without bound, and what is final is final."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

import pytest
from support import LIMIT, Answer, Log, Peer, Records, Session, result_of, until

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    HandshakeError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)


def refuse_by_code(session: Session) -> None:
    session.close(1008, "no")


def refuse_in_band(session: Session) -> None:
    session.send_json(status="error", error="Unauthorized")
    session.wait_closed()


async def all_of(connection):
    """Receive until that raises."""
    while True:
        await result_of(connection.recv())


# --- storms ---


@pytest.mark.parametrize("refuse", [refuse_by_code, refuse_in_band])
async def test_a_greeting_before_a_refusal_earns_no_further_token(refuse):
    def greet_and_refuse(session: Session) -> None:
        session.send({"hello": 1})
        refuse(session)

    with Peer(greet_and_refuse) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        await connection
        with pytest.raises(AuthenticationError):
            await all_of(connection)
        assert connection.state == "closed"
        assert [session.token for session in peer.sessions] == ["token-1", "token-2"]
        assert len(peer.mints) == 2


async def test_a_greeting_before_a_normal_close_does_not_make_a_message_be_offered_for_ever():
    def greet_and_close(session: Session) -> None:
        session.send({"hello": 1})
        session.close(1000)

    with Peer(greet_and_close) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE, throttle_interval=0)
        await connection
        # Each is written to a session that is ending, or waits for the next one.
        with contextlib.suppress(ConnectionClosedError):
            for number in range(100):
                await connection.send({"number": number})
                await asyncio.wait_for(connection.drain(), LIMIT)
        await connection.aclose()
        stats = connection.stats()
        # Five for each message at most.
        assert len(peer.sessions) <= 1 + 5 * (stats["written"] + stats["failed"] + 1)
        assert len(peer.mints) <= len(peer.sessions)


async def test_sessions_without_a_result_are_limited_and_then_the_last_reason_is_raised():
    def close(session: Session) -> None:
        session.accept()
        session.close(1011, "GPU out of memory")

    errors = Log()
    with Peer(close) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE, on_error=errors)
        connection.send_nowait({"number": 0})
        await result_of(connection.wait_closed())
        *_, error = await errors.has(1)
        assert (error.code, error.reason) == (1011, "GPU out of memory")
        assert "5 sessions in a row without a result" in str(error)
        assert len(peer.sessions) == 5


# --- a gateway that accepts, and then says that the app would not have it ---

GATEWAY = "Error while forwarding the request"


def refuse_as_the_gateway_does(session: Session) -> None:
    session.accept()
    session.close(1011, GATEWAY)


def say_so_first(session: Session) -> None:
    session.accept()
    session.send_json(error=GATEWAY)
    session.close(1011, GATEWAY)


@pytest.mark.parametrize("refuse", [refuse_as_the_gateway_does, say_so_first])
async def test_a_gateway_that_refuses_after_accepting_is_named_and_given_up(refuse, request):
    logger, records = logging.getLogger("fal_realtime"), Records()
    request.addfinalizer(lambda: (logger.removeHandler(records), logger.setLevel(logging.NOTSET)))
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    errors = Log()
    with Peer(refuse) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE, on_error=errors, on_result=Log())
        await connection.send({"number": 0})
        await result_of(connection.wait_closed())
        assert len(peer.sessions) == 5
        assert (connection.close_code, connection.close_reason) == (1011, GATEWAY)
        assert "fal's gateway says so when the app behind it refuses the handshake" in str(connection.last_error)
        assert "given up after 5 sessions in a row without a result" in str(connection.last_error)
        await errors.until(lambda errors: any(str(error) == str(connection.last_error) for error in errors))
        await records.log.until(lambda lines: sum(GATEWAY in line for line in lines) >= 5)
        assert connection.stats()["unanswered"] + connection.stats()["failed"] == 1
        if refuse is say_so_first:
            assert errors[0].error == "GATEWAY_ERROR"
            assert errors[0].reason == GATEWAY


async def test_a_request_hears_of_the_gateways_refusal():
    def take_and_refuse(session: Session) -> None:
        session.recv()
        session.close(1011, GATEWAY)

    with Peer(take_and_refuse) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        with pytest.raises(ConnectionClosedError, match=GATEWAY):
            await connection.request({"number": 0}, timeout=LIMIT)
        await connection.aclose()


# --- what is final ---


@pytest.mark.parametrize("status", [302, 402, 404, 422])
async def test_a_final_refusal_is_final_after_the_first_opening_too(status):
    def refuse(session: Session) -> None:
        session.refuse(status)

    def leave(session: Session) -> None:
        session.accept()
        session.leave()

    with Peer(leave, refuse) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE)
        await connection
        with pytest.raises(HandshakeError) as raised:
            await result_of(connection.recv())
        assert raised.value.status == status
        assert len(peer.sessions) == 2


async def test_a_policy_says_which_refusals_and_close_codes_are_final():
    def leave(session: Session) -> None:
        session.accept()
        session.leave()

    def refuse(session: Session) -> None:
        session.refuse(404)

    def close(session: Session) -> None:
        session.close(4401, "who are you?")

    policy = ReconnectPolicy(initial_delay=0.001, final_statuses=[410], final_codes=[4401])
    with Peer(leave, refuse, refuse, close) as peer:
        connection = peer.client().connect(APP, reconnect=policy)
        await connection
        with pytest.raises(ConnectionClosedError, match="who are you") as raised:
            await result_of(connection.recv())
        assert raised.value.code == 4401
        assert len(peer.sessions) == 4


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_fruitless": 0}, ValueError),
        ({"final_statuses": [200]}, ValueError),
        ({"final_codes": [1000]}, ValueError),
        ({"final_codes": "4401"}, TypeError),
        ({"final_statuses": 404}, TypeError),
        ({"final_codes": ["4401"]}, TypeError),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        ReconnectPolicy(**options)


async def test_open_waits_for_a_reconnect_no_longer_than_open_timeout():
    def leave(session: Session) -> None:
        session.accept()
        session.leave()

    def refuse(session: Session) -> None:
        session.refuse(503)

    states = Log()
    with Peer(leave, refuse) as peer:
        options = {"reconnect": AT_ONCE, "open_timeout": 0.3, "on_state_change": states}
        connection = peer.client().connect(APP, **options)
        await connection
        await states.until(lambda states: "waiting" in states)
        with pytest.raises(RequestTimeoutError, match=r"not open again within 0\.3 s.*: .*503") as raised:
            await result_of(connection.open())
        assert raised.value.retryable
        assert isinstance(raised.value.__cause__, HandshakeError)
        assert connection.state != "closed"
        await connection.aclose()

        blocking = peer.sync_client().connect(APP, reconnect=AT_ONCE, open_timeout=0.3)
        with pytest.raises(HandshakeError):
            await asyncio.to_thread(blocking.open)


async def test_attempts_that_take_too_long_one_after_another_do_not_quote_each_other():
    def leave(session: Session) -> None:
        session.accept()
        session.leave()

    over = threading.Event()

    def answer_no_handshake(_: Session) -> None:
        over.wait(LIMIT)

    with Peer(leave, answer_no_handshake) as peer:
        connection = peer.client().connect(APP, reconnect=AT_ONCE, open_timeout=0.1)
        await connection
        await peer.until(lambda: len(peer.sessions) > 6)
        over.set()
        assert str(connection.last_error).count("open_timeout") <= 1
        await connection.aclose()


# --- tokens ---


async def test_the_token_that_took_the_place_of_a_refused_one_is_kept():
    def refuse(session: Session) -> None:
        session.refuse(401)

    def leave(session: Session) -> None:
        session.accept()
        session.leave()

    with Peer(refuse, leave, leave, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE) as connection:
            await peer.until(lambda: len(peer.sessions) == 4)
            assert await connection.request({"number": 0}, timeout=LIMIT)
        assert [session.token for session in peer.sessions] == ["token-1", "token-2", "token-2", "token-2"]


async def test_many_connections_ask_a_failing_endpoint_as_one():
    all_ask = threading.Event()
    with Peer(tokens=(Answer(400, "no", before=lambda: all_ask.wait(LIMIT)),)) as peer:
        client = peer.client()
        connections = [client.connect(APP) for _ in range(50)]
        opening = [asyncio.ensure_future(connection.open()) for connection in connections]
        await until(lambda: all(one.state == "authenticating" for one in connections), "all ask for a token")
        all_ask.set()
        outcomes = await result_of(asyncio.gather(*opening, return_exceptions=True))
        assert {type(outcome).__name__ for outcome in outcomes} == {"ApiError"}
        assert len(peer.mints) == 1


# --- a session that is over, and does not close ---


@pytest.mark.parametrize("error", ["INTERNAL_ERROR", "TIMEOUT"])
async def test_the_next_message_does_not_wait_until_a_session_that_is_over_has_closed(error):
    release = threading.Event()

    def end_and_stay(session: Session) -> None:
        session.send(session.recv())
        session.send_json(type="x-fal-error", error=error, reason="it is over")
        session.fence()
        over.set()
        assert session.wait_closed() == 1000
        release.set()

    over = threading.Event()
    with Peer(end_and_stay, Session.echo) as peer:
        options = {"throttle_interval": 0, "close_timeout": 600, "on_error": lambda _: None}
        async with peer.client().connect(APP, **options) as connection:
            assert await connection.request({"number": 0}, timeout=LIMIT)
            await asyncio.to_thread(over.wait, LIMIT)
            assert await connection.request({"number": 1}, timeout=LIMIT)
            await asyncio.to_thread(release.wait, LIMIT)
            assert release.is_set()
        assert len(peer.sessions) == 2
