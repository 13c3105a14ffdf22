"""Messages that are not what they should be: a clear error, and the connection survives where the protocol lets it."""

from __future__ import annotations

import asyncio
import json
import math
import random

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from support import LIMIT, Log, Peer, Session, result_of

from fal_realtime import (
    ConnectionClosedError,
    ConnectionLostError,
    DecodeError,
    ExtType,
    HandshakeError,
    MessageTooLargeError,
    RealtimeError,
    ReconnectPolicy,
)

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.01)
LAST = {"last": True}

NOT_DECODABLE = {
    "an empty binary message": (b"", "binary message of 0 bytes"),
    "truncated msgpack": (msgpack.packb({"images": [{"content": bytes(1000)}]})[:-1], "truncated"),
    "msgpack cut in a key": (b"\x81\xa5ima", "truncated"),
    "msgpack with a length far beyond its end": (b"\x81\xa1a\xc6\xff\xff\xff\xff", "truncated"),
    "msgpack with four billion items that are not there": (b"\x81\xa1a\xdd\xff\xff\xff\xff", "truncated"),
    "msgpack with the reserved type": (b"\x81\xa1a\xc1", "reserved"),
    "msgpack followed by more": (msgpack.packb({"a": 1}) + b"\x00", "1 bytes follow"),
    "msgpack nested too deep": (b"\x91" * 5000 + b"\xc0", "nests deeper than 256 levels"),
    "text that is no JSON": ("hello", "not JSON"),
    "truncated JSON": ('{"type":"x-fal-message","action', "not JSON"),
    "an empty text message": ("", "not JSON"),
    "JSON nested too deep": ('{"a":' * 5000 + "1" + "}" * 5000, "nests deeper than 256 levels"),
    "a control message with an unknown action": ('{"type":"x-fal-message","action":"dance"}', "dance"),
    "a control message of an unknown type": ('{"type":"x-fal-greeting"}', "x-fal-greeting"),
    "timings that are no number": ('{"type":"x-fal-message","action":"timings","timing":"soon"}', "timings"),
}


def sends(*messages: bytes | str):
    """A script that sends these and a good result, then echoes."""

    def script(session: Session) -> None:
        for message in messages:
            session.send_raw(message)
        session.send(LAST)
        session.echo()

    return script


ODD = {
    "msgpack text that is not UTF-8": (b"\x81\xa1a\xa2\xff\xfe", {"a": b"\xff\xfe"}),
    "a timestamp beyond datetime": (
        msgpack.packb({"a": msgpack.Timestamp(2**40, 0)}),
        {"a": ExtType(-1, bytes(6) + b"\1" + bytes(5))},
    ),
    "an array as a key": (b"\x81\x91\x01\x02", {(1,): 2}),
    "a JSON list": ("[1, 2]", [1, 2]),
    "a JSON string": ('"hello"', "hello"),
    "a JSON number": ("7", 7),
    "JSON null": ("null", None),
    "infinities in JSON": ('{"loss": [Infinity, -Infinity]}', {"loss": [float("inf"), float("-inf")]}),
    "a refusal in msgpack": (
        msgpack.packb({"status": "error", "error": "Unauthorized"}),
        {"status": "error", "error": "Unauthorized"},
    ),
}


@pytest.mark.parametrize(("message", "result"), ODD.values(), ids=ODD)
async def test_a_message_with_an_odd_value_is_a_result(message, result):
    with Peer(sends(message)) as peer:
        async with peer.client().connect(APP) as connection:
            assert await result_of(connection.recv()) == result
            assert await result_of(connection.recv()) == LAST
        assert len(peer.sessions) == 1


async def test_an_answer_in_json_with_a_nan_reaches_its_request():
    def answer_with_nan(session: Session) -> None:
        answer = {"loss": math.nan, 'why "NaN"': "NaN", "request_id": session.recv()["request_id"]}
        session.send_raw(json.dumps(answer))
        session.echo()

    with Peer(answer_with_nan) as peer:
        async with peer.client().connect(APP) as connection:
            answer = await connection.request({"prompt": "a cat"}, timeout=LIMIT)
    assert math.isnan(answer["loss"])
    assert answer['why "NaN"'] == "NaN"


@pytest.mark.parametrize(("message", "explanation"), NOT_DECODABLE.values(), ids=NOT_DECODABLE)
async def test_recv_raises_a_decode_error_that_says_why_and_the_connection_survives(message, explanation):
    with Peer(sends(message)) as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(DecodeError, match=explanation):
                await result_of(connection.recv())
            assert await result_of(connection.recv()) == LAST
            assert connection.state == "active"
        assert len(peer.sessions) == 1


@pytest.mark.parametrize(("message", "explanation"), NOT_DECODABLE.values(), ids=NOT_DECODABLE)
async def test_on_error_gets_a_decode_error_that_says_why_and_the_connection_survives(message, explanation):
    results, errors = Log(), Log()
    with Peer(sends(message)) as peer:
        async with peer.client().connect(APP, on_result=results, on_error=errors) as connection:
            assert await results.has(1) == [LAST]
            [error] = errors
            assert isinstance(error, DecodeError)
            assert error.status == 400
            with pytest.raises(DecodeError, match=explanation):
                raise error
            assert connection.state == "active"


async def test_the_iteration_raises_the_error_and_goes_on_afterwards():
    with Peer(sends(b"\xc1")) as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(DecodeError):
                await result_of(anext(connection))
            assert await result_of(anext(connection)) == LAST


async def test_a_request_is_not_disturbed_by_messages_that_cannot_be_decoded():
    def garbage_first(session: Session) -> None:
        message = session.recv()
        session.send_raw(b"\x81\xa1a")
        session.send_raw("nonsense")
        session.send(message)
        session.wait_closed()

    with Peer(garbage_first) as peer:
        async with peer.client().connect(APP, on_error=Log()) as connection:
            answer = await connection.request({"prompt": "a cat"}, timeout=LIMIT)
            assert answer["prompt"] == "a cat"


async def test_an_answer_to_a_request_that_is_malformed_inside_is_its_error():
    def answer_badly(session: Session) -> None:
        request_id = session.recv()["request_id"]
        session.send_raw(b"\x82\xaarequest_id" + msgpack.packb(request_id) + b"\xa1a" + b"\x91" * 300 + b"\xc0")
        session.echo()

    with Peer(answer_badly) as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(DecodeError, match="nests deeper"):
                await connection.request({"prompt": "a cat"}, timeout=LIMIT)
            assert await connection.request({"prompt": "a dog"}, timeout=LIMIT)


async def test_each_of_300_random_binary_messages_is_a_result_or_a_decode_error():
    dice = random.Random(20240229)
    blobs = [dice.randbytes(dice.randrange(1, 8)) for _ in range(300)]
    with Peer(sends(*blobs)) as peer:
        async with peer.client().connect(APP) as connection:
            outcomes = {"result": 0, "error": 0}
            for _ in blobs:
                try:
                    await result_of(connection.recv())
                except DecodeError:  # noqa: PERF203
                    outcomes["error"] += 1
                else:
                    outcomes["result"] += 1
            assert await result_of(connection.recv()) == LAST
            assert connection.state == "active"
        assert min(outcomes.values()) > 20


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    blobs=st.lists(
        st.binary(min_size=1, max_size=60)
        | st.text(max_size=60)
        | st.binary(max_size=30).map(lambda tail: b"\x82\xa4type\xabx-fal-error" + tail),
        max_size=10,
    )
)
def test_whatever_comes_the_next_good_result_is_delivered(blobs):
    with Peer(sends(*blobs)) as peer, peer.sync_client().connect(APP) as connection:
        for _ in range(len(blobs) + 1):
            try:
                result = connection.recv(timeout=LIMIT)
            except (DecodeError, RealtimeError):
                continue
            if result == LAST:
                break
        else:
            pytest.fail("the good result did not come")
        assert connection.state == "active"


async def test_an_unknown_error_code_of_the_app_is_reported_and_the_connection_survives():
    with Peer(sends('{"type":"x-fal-error","error":"TEAPOT","reason":"short and stout"}')) as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(RealtimeError, match="TEAPOT: short and stout") as raised:
                await result_of(connection.recv())
            assert raised.value.payload == {"type": "x-fal-error", "error": "TEAPOT", "reason": "short and stout"}
            assert await result_of(connection.recv()) == LAST


async def test_an_error_of_the_app_without_a_code_is_an_unknown_error():
    with Peer(sends('{"type":"x-fal-error"}')) as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(RealtimeError) as raised:
                await result_of(connection.recv())
            assert (raised.value.error, raised.value.reason) == ("UNKNOWN_ERROR", "")


# --- what RFC 6455 does not let a connection survive ---

BROKEN_FRAMES = {
    "text that is not UTF-8": (b"\x81\x02\xff\xfe", 1007),
    "a reserved opcode": (b"\x83\x00", 1002),
    "a reserved bit": (b"\xc2\x00", 1002),
    "a masked frame": (b"\x82\x80\x00\x00\x00\x00", 1002),
    "a continuation of nothing": (b"\x80\x00", 1002),
    "a fragmented ping": (b"\x09\x00", 1002),
    "a close frame of one byte": (b"\x88\x01\x03", 1002),
}


@pytest.mark.parametrize(("wire", "code"), BROKEN_FRAMES.values(), ids=BROKEN_FRAMES)
async def test_a_broken_frame_is_refused_with_its_close_code_and_the_connection_comes_back(wire, code):
    def send_broken(session: Session) -> None:
        session.send_wire(wire)
        session.wait_closed()

    with Peer(send_broken, sends()) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE) as connection:
            with pytest.raises(ConnectionLostError, match="WebSocket protocol") as raised:
                await result_of(connection.recv())
            assert (raised.value.code, raised.value.unanswered, connection.close_code) == (code, 0, code)
            assert "WebSocket protocol" in str(connection.close_reason)
            # It is told once.
            assert await result_of(connection.recv()) == LAST
        await peer.until(lambda: peer.sessions[0].close_code == code)


@pytest.mark.parametrize("asks", ["send", "request"])
async def test_a_broken_frame_is_told_once_to_whoever_waits_for_an_answer(asks):
    def break_the_rules(session: Session) -> None:
        session.recv()
        session.fence()
        session.send_wire(b"\xc2\x01a")
        session.wait_closed()

    with Peer(break_the_rules, Session.echo) as peer:
        async with peer.client().connect(APP, reconnect=AT_ONCE) as connection:
            if asks == "send":
                await connection.send({"number": 0})
            answer = connection.recv() if asks == "send" else connection.request({"number": 0})
            with pytest.raises(ConnectionLostError, match="a reserved bit is set") as raised:
                await result_of(answer)
            assert (raised.value.code, raised.value.unanswered, raised.value.retryable) == (1002, 1, True)
            await connection.send({"number": 1})
            assert (await result_of(connection.recv()))["number"] == 1


async def test_a_broken_frame_without_a_policy_ends_the_connection_and_is_told_once():
    def break_the_rules(session: Session) -> None:
        session.recv()
        session.send_wire(b"\x81\x02\xff\xfe")
        session.wait_closed()

    with Peer(break_the_rules) as peer:
        connection = peer.client().connect(APP, reconnect=None)
        await connection.send({"number": 0})
        for _ in range(2):
            with pytest.raises(ConnectionClosedError, match="UTF-8") as raised:
                await result_of(connection.recv())
            assert type(raised.value) is ConnectionClosedError
            assert raised.value.code == connection.close_code == 1007
        assert connection.state == "closed"


def answers_too_much(session: Session) -> None:
    session.recv()
    session.fence()
    session.send({"image": bytes(1000)})
    session.wait_closed()


async def test_a_request_whose_answer_is_too_large_says_so_and_is_not_paid_for_again():
    with Peer(answers_too_much, Session.echo) as peer:
        async with peer.client().connect(APP, max_message_size=500, reconnect=AT_ONCE) as connection:
            with pytest.raises(MessageTooLargeError, match=r"at least 1\d\d\d bytes") as raised:
                await result_of(connection.request({"number": 0}, retries=3, idempotent=True))
            assert "max_message_size (500 bytes)" in str(raised.value)
            assert not raised.value.retryable
            assert connection.close_code == 1009
            # Nobody else is told.
            await connection.send({"number": 1})
            assert (await result_of(connection.recv()))["number"] == 1
        assert [number for message in peer.inputs if (number := message.get("number")) is not None] == [0, 1]


async def test_of_several_requests_nobody_knows_whose_answer_was_too_large():
    def answer_too_much(session: Session) -> None:
        session.recv()
        answers_too_much(session)

    with Peer(answer_too_much, Session.echo) as peer:
        async with peer.client().connect(APP, max_message_size=500, reconnect=AT_ONCE) as connection:
            requests = [connection.request({"number": number}) for number in range(2)]
            outcomes = await result_of(asyncio.gather(*map(result_of, requests), return_exceptions=True))
    for outcome in outcomes:
        assert isinstance(outcome, MessageTooLargeError)
        assert outcome.retryable
        assert "2 inputs, or less, were under way" in str(outcome)


async def test_a_result_that_is_too_large_is_told_once():
    with Peer(answers_too_much, Session.echo) as peer:
        async with peer.client().connect(APP, max_message_size=500, reconnect=AT_ONCE) as connection:
            await connection.send({"number": 0})
            with pytest.raises(MessageTooLargeError, match=r"max_message_size \(500 bytes\)"):
                await result_of(connection.recv())
            await connection.send({"number": 1})
            assert (await result_of(connection.recv()))["number"] == 1


async def test_a_message_beyond_max_message_size_is_refused_with_1009_and_the_connection_comes_back():
    def send_much(session: Session) -> None:
        session.send({"image": bytes(1000)})
        session.wait_closed()

    errors, results = Log(), Log()
    with Peer(send_much, sends()) as peer:
        client = peer.client()
        options = {"max_message_size": 500, "reconnect": AT_ONCE, "on_error": errors, "on_result": results}
        async with client.connect(APP, **options):
            assert await results.has(1) == [LAST]
            [error] = errors
            assert isinstance(error, MessageTooLargeError)
        await peer.until(lambda: peer.sessions[0].close_code == 1009)


async def test_an_answer_to_the_handshake_that_is_no_http_is_a_clear_error():
    def talk_nonsense(session: Session) -> None:
        session._sendall(b"\x00\x01\x02 nonsense\r\n\r\n")

    with Peer(talk_nonsense) as peer, pytest.raises(HandshakeError):
        await result_of(peer.client().connect(APP))
