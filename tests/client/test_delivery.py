"""What is sent again, what is told, and what is nobody's: nothing is lost without a word."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading

import pytest
from support import LIMIT, Log, Peer, Session, result_of, until

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    ConnectionLostError,
    RealtimeError,
    ReconnectPolicy,
    RequestTimeoutError,
    Stats,
    StreamEndedError,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)
ALL = {"throttle_interval": 0, "reconnect": AT_ONCE}


def balanced(stats: Stats) -> Stats:
    ways_out = ("written", "coalesced", "dropped", "failed", "withdrawn", "pending")
    ways_in = ("delivered", "received_dropped", "late", "received_pending")
    assert stats["accepted"] == sum(stats[way] for way in ways_out), stats
    assert stats["received"] == sum(stats[way] for way in ways_in), stats
    assert stats["unanswered"] <= stats["written"], stats
    return stats


def refuse_in_band(session: Session) -> None:
    """Take one message, and refuse the session for it."""
    session.recv()
    session.send_json(status="error", error="Unauthorized")
    session.wait_closed()


def refuse_by_code(session: Session) -> None:
    session.recv()
    session.close(1008, "token expired")


REFUSALS = pytest.mark.parametrize("refuse", [refuse_in_band, refuse_by_code])


# --- what was refused is sent again ---


@REFUSALS
async def test_a_message_that_was_refused_with_its_session_is_sent_again_with_the_new_token(refuse):
    errors, results = Log(), Log()
    with Peer(refuse, Session.echo) as peer:
        connection = peer.client().connect(APP, on_error=errors, on_result=results, **ALL)
        connection.send_nowait({"number": 0})
        assert await results.has(1) == [{"number": 0}]
        stats = balanced(connection.stats())
        await connection.aclose()
        assert (stats["accepted"], stats["written"], stats["unanswered"]) == (1, 1, 0)
        assert errors == []
        assert [session.token for session in peer.sessions] == ["token-1", "token-2"]


@REFUSALS
async def test_a_request_that_was_refused_with_its_session_is_answered_by_the_next(refuse):
    with Peer(refuse, Session.echo) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            assert (await connection.request({"number": 0}, timeout=LIMIT))["number"] == 0
            balanced(connection.stats())


@REFUSALS
async def test_a_second_refusal_is_told_to_whoever_waits(refuse):
    with Peer(refuse) as peer:
        connection = peer.client().connect(APP, **ALL)
        with pytest.raises(AuthenticationError):
            await connection.request({"number": 0}, timeout=LIMIT)
        assert len(peer.sessions) == 2
        assert balanced(connection.stats())["pending"] == 0

        errors = Log()
        connection = peer.client().connect(APP, on_error=errors, **ALL)
        connection.send_nowait({"number": 0})
        [error] = await errors.has(1)
        assert isinstance(error, AuthenticationError)
        stats = balanced(connection.stats())
        assert (stats["written"], stats["unanswered"], stats["failed"]) == (1, 1, 0)


async def test_what_was_refused_keeps_its_place_before_what_was_sent_later():
    def refuse_the_third(session: Session) -> None:
        for _ in range(3):
            session.recv()
        session.send_json(status="error", error="Unauthorized")
        session.wait_closed()

    with Peer(refuse_the_third, Session.echo) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            for number in range(20):
                await connection.send({"number": number})
            received = [(await result_of(connection.recv()))["number"] for _ in range(20)]
            assert received == list(range(20))
            assert balanced(connection.stats())["written"] == 20


async def test_after_a_word_of_the_server_nothing_is_sent_again():
    def answer_and_refuse(session: Session) -> None:
        session.send(session.recv())
        session.recv()
        session.close(1008)

    with Peer(answer_and_refuse, Session.echo) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"number": 0}
            await connection.send({"number": 1})
            with pytest.raises(ConnectionLostError) as raised:
                await result_of(connection.recv())
            assert (raised.value.code, raised.value.unanswered) == (1008, 1)
            assert await connection.request({"number": 2}, timeout=LIMIT)
            assert [message["number"] for message in peer.inputs] == [0, 1, 2]


def timings(session: Session) -> None:
    session.send_json(type="x-fal-message", action="timings", timing=0.5)


def unauthorized(session: Session) -> None:
    session.send_json(status="error", error="Unauthorized")
    session.wait_closed()


@pytest.mark.parametrize("options", [{}, {"on_timings": lambda _: None}, {"streaming": True}], ids=str)
@pytest.mark.parametrize("refuse", [lambda session: session.close(1008), unauthorized], ids=["1008", "in band"])
@pytest.mark.parametrize("word", [timings, Session.send_timeout])
async def test_nor_is_it_after_any_other_word(word, refuse, options):
    def speak_and_refuse(session: Session) -> None:
        session.recv()
        session.recv()
        word(session)
        session.fence()
        refuse(session)

    errors = Log()
    with Peer(speak_and_refuse, Session.echo) as peer:
        async with peer.client().connect(APP, on_error=errors, **ALL, **options) as connection:
            connection.send_nowait({"number": 0})
            connection.send_nowait({"number": 1})
            [error] = await errors.has(1)
            assert isinstance(error, ConnectionLostError)
            assert error.unanswered == 2
            if word is Session.send_timeout and options.get("streaming"):
                assert [result async for result in connection] == [], "the end of the stream"
            await connection.request({"number": 2}, timeout=LIMIT)
            assert [message["number"] for message in peer.inputs] == [0, 1, 2]
        assert balanced(connection.stats())["unanswered"] == 2


# --- what is told ---


def leave_after(count: int, code: int | None) -> object:
    """A script that takes so many messages, answers none, and is gone."""

    def script(session: Session) -> None:
        for _ in range(count):
            session.recv()
        if code is None:
            session.drop()
        else:
            session.close(code, "so it is")

    return script


CODES = pytest.mark.parametrize("code", [None, 1000, 1001, 1009, 1011, 1012, 4000])


@CODES
async def test_messages_whose_session_ended_without_an_answer_are_told_once_and_the_connection_goes_on(code):
    with Peer(leave_after(3, code), Session.echo) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            for number in range(3):
                await connection.send({"number": number})
            with pytest.raises(ConnectionLostError) as raised:
                await result_of(connection.recv())
            error = raised.value
            assert (error.code, error.unanswered, error.retryable) == (code or 1006, 3, True)
            assert error.reason
            assert isinstance(error, ConnectionClosedError)
            again = pickle.loads(pickle.dumps(error))
            assert (str(again), again.unanswered, again.retryable) == (str(error), 3, True)
            await connection.send({"number": 3})
            assert await result_of(connection.recv()) == {"number": 3}
            assert balanced(connection.stats())["unanswered"] == 3


@CODES
async def test_on_error_is_told_of_them_too(code):
    errors = Log()
    with Peer(leave_after(3, code), Session.echo) as peer:
        connection = peer.client().connect(APP, on_error=errors, **ALL)
        for number in range(3):
            connection.send_nowait({"number": number})
        [error] = await errors.has(1)
        assert (type(error), error.unanswered) == (ConnectionLostError, 3)
        await connection.aclose()
        assert errors == [error]


def test_an_iteration_of_the_blocking_client_is_told_of_them_too():
    with Peer(leave_after(3, 1000), Session.echo) as peer, peer.sync_client().connect(APP, **ALL) as connection:
        for number in range(3):
            connection.send({"number": number})
        with pytest.raises(ConnectionLostError):
            next(iter(connection))
        connection.send({"number": 3})
        assert next(iter(connection)) == {"number": 3}


async def test_an_idle_session_with_everything_answered_ends_in_silence():
    def answer_and_idle(session: Session) -> None:
        session.send(session.recv())
        session.send_timeout()
        session.close(1000)

    errors, states = Log(), Log()
    with Peer(answer_and_idle) as peer:
        connection = peer.client().connect(APP, on_error=errors, on_state_change=states, **ALL)
        for number in range(3):
            connection.send_nowait({"number": number})
            await states.until(lambda states, number=number: states.count("idle") > number)
        await connection.aclose()
        assert errors == []
        assert balanced(connection.stats())["unanswered"] == 0


async def test_messages_sent_into_a_session_that_times_out_are_told():
    def time_out(session: Session) -> None:
        for _ in range(5):
            session.recv()
        session.send_timeout()
        session.close(1000)

    with Peer(time_out, Session.echo) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            for number in range(5):
                connection.send_nowait({"number": number})
            with pytest.raises(ConnectionLostError) as raised:
                await result_of(connection.recv())
            assert raised.value.unanswered == 5


async def test_a_request_whose_session_is_lost_raises_what_says_that_the_connection_goes_on():
    with Peer(leave_after(1, None), Session.echo) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            with pytest.raises(ConnectionLostError, match="being opened again") as raised:
                await connection.request({"number": 0}, timeout=LIMIT)
            assert raised.value.retryable
            assert raised.value.unanswered == 1
            assert await connection.request({"number": 1}, timeout=LIMIT)
            assert balanced(connection.stats())["unanswered"] == 1


async def test_an_error_that_ends_the_session_tells_of_its_messages_by_itself():
    def fail(session: Session) -> None:
        session.recv()
        session.recv()
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="out of memory")
        session.close(1000)

    errors, results = Log(), Log()
    with Peer(fail, Session.echo) as peer:
        connection = peer.client().connect(APP, on_error=errors, on_result=results, **ALL)
        for number in range(2):
            connection.send_nowait({"number": number})
        [error] = await errors.has(1)
        assert isinstance(error, RealtimeError)
        connection.send_nowait({"number": 2})
        assert await results.has(1) == [{"number": 2}]
        await connection.aclose()
        assert errors == [error]
        assert balanced(connection.stats())["unanswered"] == 2


# --- requests that end early ---


async def test_the_answer_to_a_request_that_timed_out_is_nobodys():
    hold = threading.Event()

    def answer_late(session: Session) -> None:
        first = session.recv()
        assert hold.wait(LIMIT)
        session.send(first)
        session.echo()

    with Peer(answer_late) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            asking = asyncio.ensure_future(connection.request({"number": 0}, timeout=0.05))
            await peer.until(lambda: peer.inputs)
            with pytest.raises(RequestTimeoutError):
                await asking
            hold.set()
            await connection.send({"number": 1})
            assert await result_of(connection.recv()) == {"number": 1}
            stats = balanced(connection.stats())
            assert (stats["received"], stats["delivered"], stats["late"]) == (2, 1, 1)


async def test_thousands_of_late_answers_do_not_keep_a_request_from_its_own():
    with Peer() as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            for _ in range(30):
                asking = (connection.request({"number": 0}, timeout=0.000001) for _ in range(100))
                outcomes = await result_of(asyncio.gather(*asking, return_exceptions=True))
                assert all(isinstance(outcome, (dict, RequestTimeoutError)) for outcome in outcomes)
            assert (await connection.request({"number": 1}, timeout=LIMIT))["number"] == 1
            stats = balanced(connection.stats())
            assert stats["received_pending"] == 0
            assert stats["withdrawn"] + stats["written"] == stats["accepted"]


async def test_a_request_that_ends_before_it_was_written_is_withdrawn():
    again = threading.Event()

    def let_in_late(session: Session) -> None:
        assert again.wait(LIMIT)
        session.echo()

    with Peer(let_in_late) as peer:
        connection = peer.client().connect(APP, **ALL)
        with pytest.raises(RequestTimeoutError):
            await connection.request({"number": 0}, timeout=0.05)
        stats = balanced(connection.stats())
        assert (stats["accepted"], stats["withdrawn"], stats["pending"]) == (1, 1, 0)
        again.set()
        assert (await connection.request({"number": 1}, timeout=LIMIT))["number"] == 1
        await connection.aclose()
        assert [message["number"] for message in peer.inputs] == [1]


# --- strays ---


async def test_a_request_gets_its_answer_however_many_results_nobody_takes():
    def flood_and_answer(session: Session) -> None:
        while True:
            request = session.recv()
            for number in range(3000):
                session.send({"stray": number})
            session.send(request)

    with Peer(flood_and_answer) as peer:
        async with peer.client().connect(APP, **ALL) as connection:
            for number in range(3):
                assert (await connection.request({"number": number}, timeout=LIMIT))["number"] == number
            stats = balanced(connection.stats())
            assert stats["received_dropped"] == 9000 - 1024
            assert stats["received_pending"] == 1024
            # The newest stay, and from now on nothing is dropped.
            assert await result_of(connection.recv()) == {"stray": 3000 - 1024}


async def test_that_strays_are_dropped_is_logged_once_and_that_others_are_taken_is_not(caplog):
    def burst(session: Session) -> None:
        while True:
            session.recv()
            for number in range(2000):
                session.send({"stray": number})
            session.fence()
            session.send_json(type="x-fal-message", action="timings", timing=1)

    done = Log()
    with Peer(burst) as peer, caplog.at_level(logging.WARNING, "fal_realtime"):
        # Results that go to a callback, are taken, or are dropped because freshness was asked for.
        for options in ({"on_result": lambda _: None}, {"max_buffering": 3}, {}):
            async with peer.client().connect(APP, on_timings=done, **options, **ALL) as connection:
                if not options:
                    with pytest.raises(RequestTimeoutError):
                        await connection.recv(timeout=0)
                await connection.send({})
                await done.has(1)
                done.clear()
        async with peer.client().connect(APP, on_timings=done, **ALL) as connection:
            for count in (1, 2):
                await connection.send({})
                await done.has(count)
            await until(lambda: caplog.records, "the record")
            assert connection.stats()["received_dropped"] == 4000 - 1024
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{APP}/realtime: results are dropped, since nobody has called recv")
    assert "the newest 1024 are kept" in record.getMessage()


async def test_errors_that_nobody_is_told_of_are_counted():
    def complain(session: Session) -> None:
        session.recv()
        for number in range(3000):
            session.send_json(type="x-fal-error", error="ODD", reason=str(number))
        session.fence()
        session.send({"done": True})
        session.wait_closed()

    told = []
    with Peer(complain) as peer:
        async with peer.client().connect(APP, on_error=told.append, **ALL) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"done": True}
        assert len(told) + connection.stats()["errors_dropped"] == 3000


# --- errors in band ---


async def test_an_error_that_ends_no_session_fails_the_only_request():
    def refuse_the_input(session: Session) -> None:
        session.recv()
        session.send_json(type="x-fal-error", error="INVALID_INPUT", reason="no prompt")
        session.echo()

    errors = Log()
    with Peer(refuse_the_input) as peer:
        async with peer.client().connect(APP, on_error=errors, **ALL) as connection:
            with pytest.raises(RealtimeError, match="no prompt"):
                await connection.request({"number": 0}, timeout=LIMIT)
            assert (await connection.request({"number": 1}, timeout=LIMIT))["number"] == 1
        assert errors == []
        assert len(peer.sessions) == 1


async def test_an_error_that_may_be_about_another_input_says_so_and_is_worth_another_try():
    def refuse_one(session: Session) -> None:
        session.recv()
        session.recv()
        session.send_json(type="x-fal-error", error="INVALID_INPUT", reason="no prompt")
        session.echo()

    errors = Log()
    with Peer(refuse_one) as peer:
        async with peer.client().connect(APP, on_error=errors, **ALL) as connection:
            connection.send_nowait({"number": 0})
            with pytest.raises(RealtimeError, match=r"no prompt \(2 inputs, or less, were under way") as raised:
                await connection.request({"number": 1}, timeout=LIMIT)
            assert raised.value.retryable
        assert errors == []


async def test_an_error_that_may_be_about_several_requests_is_told_and_fails_none():
    def refuse_one(session: Session) -> None:
        first, second = session.recv(), session.recv()
        session.send_json(type="x-fal-error", error="INVALID_INPUT", reason="no prompt")
        session.send(first)
        session.send(second)
        session.wait_closed()

    errors = Log()
    with Peer(refuse_one) as peer:
        async with peer.client().connect(APP, on_error=errors, **ALL) as connection:
            asking = (connection.request({"number": number}, timeout=LIMIT) for number in range(2))
            answers = await result_of(asyncio.gather(*asking))
            assert [answer["number"] for answer in answers] == [0, 1]
            [error] = await errors.has(1)
            assert error.error == "INVALID_INPUT"


async def test_an_error_that_names_its_request_fails_that_one_alone():
    def refuse_the_second(session: Session) -> None:
        first, second, third = session.recv(), session.recv(), session.recv()
        session.send_json(
            type="x-fal-error", error="INVALID_INPUT", reason="no prompt", request_id=second["request_id"]
        )
        session.send(third)
        session.send(first)
        session.echo()

    errors = Log()
    with Peer(refuse_the_second) as peer:
        async with peer.client().connect(APP, on_error=errors, **ALL) as connection:
            asking = (connection.request({"number": number}, timeout=LIMIT) for number in range(3))
            first, second, third = await result_of(asyncio.gather(*asking, return_exceptions=True))
            assert (first["number"], third["number"]) == (0, 2)
            assert isinstance(second, RealtimeError)
            assert (second.error, second.reason, second.retryable) == ("INVALID_INPUT", "no prompt", False)
            assert (await connection.request({"number": 3}, timeout=LIMIT))["number"] == 3
        assert errors == []
        assert balanced(connection.stats())["unanswered"] == 0


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("request_id", ["somebody else's", 7])
async def test_an_error_that_names_another_input_fails_no_request(request_id, before):
    def refuse_another(session: Session) -> None:
        for _ in range(before):
            session.recv()
        asked = session.recv()
        session.send_json(type="x-fal-error", error="INVALID_INPUT", reason="no prompt", request_id=request_id)
        session.send(asked)
        session.wait_closed()

    errors = Log()
    with Peer(refuse_another) as peer:
        async with peer.client().connect(APP, on_error=errors, **ALL) as connection:
            for _ in range(before):
                connection.send_nowait({"request_id": request_id})
            assert (await connection.request({"number": 1}, timeout=LIMIT))["number"] == 1
            [error] = await errors.has(1)
            assert error.payload["request_id"] == request_id


async def test_an_error_that_names_its_request_and_ends_the_session_says_so_to_the_others():
    def fail(session: Session) -> None:
        first, _ = session.recv(), session.recv()
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="NaN", request_id=first["request_id"])
        session.close(1000)

    errors = Log()
    with Peer(fail, Session.echo) as peer:
        async with peer.client().connect(APP, on_error=errors, **ALL) as connection:
            asking = (connection.request({"number": number}, timeout=LIMIT) for number in range(2))
            first, second = await result_of(asyncio.gather(*asking, return_exceptions=True))
            assert (str(first), first.retryable) == ("INTERNAL_ERROR: NaN", False)
            assert (str(second), second.retryable) == ("INTERNAL_ERROR: NaN (it is about another input)", True)
        assert errors == []
        balanced(connection.stats())


# --- the throttle in an outage ---


async def test_after_an_outage_one_fresh_input_goes_out():
    again = threading.Event()

    def leave(session: Session) -> None:
        session.send(session.recv())
        session.fence()
        session.drop()

    def let_in_late(session: Session) -> None:
        assert again.wait(LIMIT)
        session.echo()

    states, results = Log(), Log()
    with Peer(leave, let_in_late) as peer:
        options = {"reconnect": AT_ONCE, "on_state_change": states, "on_result": results, "throttle_interval": 20}
        connection = peer.client().connect(APP, **options)
        connection.send_nowait({"number": 0})
        await states.until(lambda states: states.count("connecting") == 2)
        for number in range(1, 100):
            connection.send_nowait({"number": number})
            await asyncio.sleep(0)
        again.set()
        await results.until(lambda results: {"number": 99} in results)
        await connection.aclose()
        assert [message["number"] for message in peer.inputs] == [0, 99]
        assert balanced(connection.stats())["coalesced"] == 98


# --- streams ---


async def test_an_input_behind_the_end_of_its_stream_is_refused_until_that_end_was_taken():
    def stream(session: Session) -> None:
        session.send({"of": session.recv()["number"]})
        session.send_timeout()
        session.close(1000)

    states = Log()
    with Peer(stream) as peer:
        options = {"streaming": True, "on_state_change": states, "throttle_interval": 0}
        async with peer.client().connect(APP, **options) as connection:
            await connection.send({"number": 0})
            await states.until(lambda states: "idle" in states)
            with pytest.raises(StreamEndedError, match="recv"):
                await connection.send({"number": 1})
            with pytest.raises(StreamEndedError):
                connection.send_nowait({"number": 1})
            assert [result async for result in connection] == [{"of": 0}]
            await connection.send({"number": 2})
            assert [result async for result in connection] == [{"of": 2}]
        assert [message["number"] for message in peer.inputs] == [0, 2]


async def test_an_input_between_the_end_of_its_stream_and_the_close_of_the_session_is_refused_too():
    close = threading.Event()

    def stream(session: Session) -> None:
        session.send({"of": session.recv()["number"]})
        session.send_timeout()
        session.send_json(type="x-fal-message", action="timings", timing=0.5)
        close.wait(LIMIT)
        session.close(1000)

    timings = Log()
    with Peer(stream, Session.echo) as peer:
        options = {"streaming": True, "throttle_interval": 0, "on_timings": timings}
        async with peer.client().connect(APP, **options) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"of": 0}
            await timings.has(1)
            assert connection.state == "active"
            with pytest.raises(StreamEndedError):
                await connection.send({"number": 1})
            close.set()
            assert [result async for result in connection] == []
            await connection.send({"number": 2})
            assert await result_of(connection.recv()) == {"number": 2}
        assert [message["number"] for message in peer.inputs] == [0, 2]


async def test_a_stream_ends_though_the_server_does_not_close_its_session():
    def stream(session: Session) -> None:
        session.send({"of": session.recv()["number"]})
        session.send_timeout()
        assert session.wait_closed() == 1000

    with Peer(stream, Session.echo) as peer:
        async with peer.client().connect(APP, streaming=True, throttle_interval=0) as connection:

            async def results() -> list[object]:
                return [result async for result in connection]

            await connection.send({"number": 0})
            assert await result_of(results()) == [{"of": 0}]
            await connection.send({"number": 1})
            assert await result_of(connection.recv()) == {"number": 1}
        assert len(peer.sessions) == 2


async def test_what_follows_the_end_of_the_input_is_told():
    def take_none_as_the_end(session: Session) -> None:
        while session.recv() is not None:
            pass
        session.recv()
        session.send_timeout()
        session.close(1000)

    with Peer(take_none_as_the_end) as peer:
        async with peer.client().connect(APP, streaming=True, throttle_interval=0) as connection:
            for value in (1, None, 2):
                await connection.send(value)
            with pytest.raises(ConnectionLostError) as raised:
                await result_of(connection.recv())
            # The end of the inputs was answered by the end of the stream.
            assert raised.value.unanswered == 2


@pytest.mark.parametrize("end", [None, b"\xc0"])
async def test_the_end_of_the_inputs_asks_for_nothing_but_the_end_of_the_stream(end):
    def answer_up_to_the_end(session: Session) -> None:
        session.send({"of": session.recv()})
        session.recv()
        session.send_timeout()
        session.close(1000)

    with Peer(answer_up_to_the_end) as peer:
        async with peer.client().connect(APP, streaming=True, throttle_interval=0) as connection:
            await connection.send(1)
            assert await result_of(connection.recv()) == {"of": 1}
            await connection.send(end)
            assert [result async for result in connection] == []
            assert balanced(connection.stats())["unanswered"] == 0


async def test_the_end_of_the_inputs_is_unanswered_where_the_stream_is_cut():
    def leave_at_the_end(session: Session) -> None:
        session.send({"of": session.recv()})
        session.recv()
        session.close(1011)

    with Peer(leave_at_the_end) as peer:
        async with peer.client().connect(APP, streaming=True, throttle_interval=0) as connection:
            await connection.send(1)
            assert await result_of(connection.recv()) == {"of": 1}
            await connection.send(None)
            with pytest.raises(ConnectionLostError) as raised:
                await result_of(connection.recv())
            assert raised.value.unanswered == 2


def cut_in_the_middle(session: Session) -> None:
    for number in (session.recv(), 2, 3):
        session.send({"chunk": number})
    session.fence()
    session.close(1012)


async def test_a_stream_that_is_cut_is_told_though_results_came_behind_its_inputs():
    with Peer(cut_in_the_middle, Session.wait_closed) as peer:
        async with peer.client().connect(APP, streaming=True, reconnect=AT_ONCE) as connection:
            await connection.send(1)
            assert [await result_of(connection.recv()) for _ in range(3)] == [{"chunk": n} for n in (1, 2, 3)]
            with pytest.raises(ConnectionLostError, match="with at most 1 message without an answer") as raised:
                await result_of(connection.__anext__())
            assert (raised.value.code, raised.value.unanswered) == (1012, 1)
            assert balanced(connection.stats())["unanswered"] == 1
            await peer.until(lambda: len(peer.sessions) == 2)


async def test_on_error_hears_once_of_a_stream_that_is_cut():
    results, errors = Log(), Log()
    with Peer(cut_in_the_middle, Session.wait_closed) as peer:
        options = {"streaming": True, "reconnect": AT_ONCE, "on_result": results, "on_error": errors}
        async with peer.client().connect(APP, **options) as connection:
            await connection.send(1)
            [error] = await errors.has(1)
            assert (type(error), error.unanswered, len(results)) == (ConnectionLostError, 1, 3)
        assert len(errors) == 1


def test_the_blocking_client_tells_of_a_stream_that_is_cut():
    options = {"streaming": True, "reconnect": AT_ONCE}
    with (
        Peer(cut_in_the_middle, Session.wait_closed) as peer,
        peer.sync_client().connect(APP, **options) as connection,
    ):
        connection.send(1)
        assert [connection.recv(timeout=LIMIT) for _ in range(3)] == [{"chunk": n} for n in (1, 2, 3)]
        with pytest.raises(ConnectionLostError):
            connection.recv(timeout=LIMIT)


# --- leaving ---


async def test_leaving_normally_sends_what_was_accepted():
    with Peer(lambda session: session.wait_closed()) as peer:
        async with peer.client().connect(APP, throttle_interval=50) as connection:
            connection.send_nowait({"number": 0})
            connection.send_nowait({"number": 1})
        assert [message["number"] for message in peer.inputs] == [0, 1]
        with peer.sync_client().connect(APP, throttle_interval=50) as blocking:
            blocking.send_nowait({"number": 2})
            blocking.send_nowait({"number": 3})
        assert [message["number"] for message in peer.inputs] == [0, 1, 2, 3]
        assert balanced(blocking.stats())["failed"] == 0


async def test_leaving_by_an_exception_closes_at_once():
    with Peer(lambda session: session.wait_closed()) as peer:
        connection = peer.client().connect(APP, throttle_interval=60_000)

        async def leave() -> None:
            async with connection:
                connection.send_nowait({"number": 0})
                connection.send_nowait({"number": 1})
                raise LookupError

        with pytest.raises(LookupError):
            await result_of(leave())
        assert balanced(connection.stats())["failed"] == 1


async def test_leaving_normally_waits_no_longer_than_close_timeout():
    release = threading.Event()

    def leave_and_stay_away(session: Session) -> None:
        if session.number == 1:
            session.accept()
            session.leave()
        else:
            assert release.wait(LIMIT)

    states = Log()
    with Peer(leave_and_stay_away) as peer:
        options = {"close_timeout": 0.2, "on_state_change": states, **ALL}
        async with peer.client().connect(APP, **options) as connection:
            await states.until(lambda states: "waiting" in states)
            await connection.send({"number": 0})
        release.set()
        assert balanced(connection.stats())["failed"] == 1
