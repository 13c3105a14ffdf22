"""`decode=False`: results as they came, with what a relay must know of them."""

from __future__ import annotations

import asyncio
import copy
import pickle
import weakref

import msgpack
import pytest
from support import Log, Peer, Session, result_of

from fal_realtime import DecodeError, EncodedResult, RealtimeError

APP = "fal-ai/fast-lcm-diffusion"

MESSAGES: list[tuple[bytes | str, str | None, str]] = [
    (msgpack.packb({"images": [{"content": bytes(1000)}], "request_id": "one"}), "one", "binary"),
    (msgpack.packb({"request_id": 7}), "7", "binary"),
    (msgpack.packb({"request_id": ""}), "", "binary"),
    (msgpack.packb({"text": "no id"}), None, "binary"),
    (msgpack.packb([1, 2]), None, "binary"),
    ('{"request_id": "zwei", "text": "grüße"}', "zwei", "text"),
    ('{"n": NaN}', None, "text"),
    # What cannot be decoded is the business of whoever gets it in the end.
    (b"\xc1 reserved", None, "binary"),
    (b"", None, "binary"),
    (b"\x82\xaarequest_id\xa3one", None, "binary"),
    (b"\xff\xd8\xff\xe0 a JPEG", None, "binary"),
    ("{no JSON", None, "text"),
    ("", None, "text"),
]


def sends(*messages: bytes | str):
    def script(session: Session) -> None:
        session.recv()
        for message in messages:
            session.send_raw(message)
        session.wait_closed()

    return script


async def test_results_come_as_they_were_sent_with_their_id_and_kind():
    with Peer(sends(*(message for message, _, _ in MESSAGES))) as peer:
        async with peer.client().connect(APP, decode=False) as connection:
            await connection.send({})
            for message, request_id, kind in MESSAGES:
                result = await result_of(connection.recv())
                assert type(result) is EncodedResult
                assert (result.payload, result.request_id, result.kind) == (message, request_id, kind)


async def test_a_request_is_matched_all_the_same():
    with Peer() as peer:
        async with peer.client().connect(APP, decode=False) as connection:
            answers = [asyncio.create_task(connection.request({"number": n})) for n in range(3)]
            for number, answer in enumerate(answers):
                result = await result_of(answer)
                assert msgpack.unpackb(result.payload) == {"number": number, "request_id": result.request_id}


async def test_a_request_that_is_answered_with_what_cannot_be_decoded_is_not_answered():
    with Peer(sends(b"\xc1")) as peer:
        async with peer.client().connect(APP, decode=False) as connection:
            request = asyncio.create_task(connection.request({"number": 1}))
            assert (await result_of(connection.recv())).payload == b"\xc1"
            request.cancel()


async def test_where_results_are_decoded_it_is_an_error_as_ever():
    with Peer(sends(b"\xc1")) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({})
            with pytest.raises(DecodeError):
                await result_of(connection.recv())


async def test_control_messages_and_errors_are_what_they_always_are():
    timings, seconds = Log(), '{"type": "x-fal-message", "action": "timings", "timing": 0.5}'
    error = '{"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "why"}'
    with Peer(sends(seconds, error)) as peer:
        async with peer.client().connect(APP, decode=False, on_timings=timings) as connection:
            await connection.send({})
            with pytest.raises(RealtimeError, match="INTERNAL_ERROR: why"):
                await result_of(connection.recv())
            assert await timings.has(1) == [0.5]


async def test_a_gateway_relays_ten_thousand_frames_byte_for_byte():
    count = 10_000
    frames = [msgpack.packb({"n": n, "data": bytes([n % 256]) * (n % 500)}) for n in range(count)]
    with Peer(sends(*frames)) as source, Peer(Session.wait_closed) as sink:
        async with (
            source.client().connect(APP, decode=False) as incoming,
            sink.client().connect(APP, throttle_interval=0) as outgoing,
        ):
            await incoming.send({})
            for _ in range(count):
                await outgoing.send((await result_of(incoming.recv())).payload)
            await result_of(outgoing.drain())
            await sink.until(lambda: len(sink.sessions[0].messages) == count)
        assert sink.sessions[0].messages == frames


async def test_callbacks_get_them_too():
    results = Log()
    with Peer(sends(MESSAGES[0][0])) as peer:
        async with peer.client().connect(APP, decode=False, on_result=results) as connection:
            await connection.send({})
            assert [result.payload for result in await results.has(1)] == [MESSAGES[0][0]]


def test_the_blocking_client_gives_them_too():
    with Peer(sends(MESSAGES[0][0])) as peer, peer.sync_client().connect(APP, decode=False) as connection:
        connection.send({})
        assert connection.recv(timeout=60).payload == MESSAGES[0][0]


async def test_its_repr_shows_no_contents():
    with Peer(sends(MESSAGES[0][0])) as peer:
        async with peer.client().connect(APP, decode=False) as connection:
            await connection.send({})
            result = await result_of(connection.recv())
            size = len(MESSAGES[0][0])
            assert repr(result) == f"<EncodedResult binary of {size}, request_id='one'>"


@pytest.mark.parametrize(("message", "request_id", "kind"), MESSAGES)
def test_they_are_values(message, request_id, kind):
    result = EncodedResult(message)
    assert (result.payload, result.request_id, result.kind) == (message, request_id, kind)
    for same in (EncodedResult(message), pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert (same, hash(same), same.request_id) == (result, hash(result), request_id)
    assert result not in (EncodedResult(b"another"), message, None)
    assert weakref.ref(result)() is result


@pytest.mark.parametrize("other", [None, 5, bytearray(b"a"), memoryview(b"a")])
def test_nothing_else_is_one(other):
    with pytest.raises(TypeError, match=f"payload must be bytes or a str, not {type(other).__name__}"):
        EncodedResult(other)


@pytest.mark.parametrize("other", [{"decode_message": bytes}, {"raw": True}])
def test_it_contradicts_what_would_decode_or_never_does(other):
    with Peer() as peer, pytest.raises(ValueError, match="decode=False has no use with"):
        peer.client().connect(APP, decode=False, **other)
