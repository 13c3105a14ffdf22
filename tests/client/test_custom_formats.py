"""The caller's own wire formats, sync and async: what they get, what they give, and that order is kept."""

from __future__ import annotations

import asyncio
import json
import random

import msgpack
import pytest
from support import LIMIT, Log, Peer, Session, gather, result_of, until

from fal_realtime import (
    ConnectionClosedError,
    DecodeError,
    EncodeError,
    MessageTooLargeError,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"


def echo_raw(session: Session) -> None:
    """Answer every message with its very bytes or text."""
    while True:
        session.send_raw(session.recv_raw())


def send_numbers(count):
    """A script that sends so many results once told to, then waits."""

    def script(session: Session) -> None:
        session.recv_raw()
        for number in range(count):
            session.send({"number": number})
        session.wait_closed()

    return script


def json_bytes(message):
    return json.dumps(message).encode()


async def json_bytes_slowly(message):
    """Take a random time, so that order is kept only by those who take care of it."""
    await asyncio.sleep(random.random() / 500)
    return json_bytes(message)


async def loads_slowly(message):
    await asyncio.sleep(random.random() / 500)
    return json.loads(message)


async def unpack_slowly(message):
    await asyncio.sleep(random.random() / 500)
    return msgpack.unpackb(message)


CODECS = {
    "sync": (json_bytes, json.loads),
    "async": (json_bytes_slowly, loads_slowly),
    "async encoder": (json_bytes_slowly, json.loads),
    "async decoder": (json_bytes, loads_slowly),
}


@pytest.mark.parametrize(("encode", "decode"), CODECS.values(), ids=CODECS)
async def test_a_custom_codec_keeps_the_order_of_send_nowait_and_recv(encode, decode):
    with Peer(echo_raw) as peer:
        options = {"encode_message": encode, "decode_message": decode, "throttle_interval": 0}
        async with peer.client().connect(APP, **options) as connection:
            for number in range(100):
                connection.send_nowait({"number": number})
            for number in range(100):
                assert await result_of(connection.recv()) == {"number": number}
        assert peer.sessions[0].messages == [json_bytes({"number": number}) for number in range(100)]


@pytest.mark.parametrize(("encode", "decode"), CODECS.values(), ids=CODECS)
async def test_a_custom_codec_keeps_the_order_of_concurrent_sends_and_receives(encode, decode):
    with Peer(echo_raw) as peer:
        options = {"encode_message": encode, "decode_message": decode, "throttle_interval": 0}
        async with peer.client().connect(APP, **options) as connection:
            receiving = [asyncio.ensure_future(connection.recv()) for _ in range(50)]
            await gather(*(connection.send({"number": number}) for number in range(50)))
            assert await gather(*receiving) == [{"number": number} for number in range(50)]


@pytest.mark.parametrize(("encode", "decode"), CODECS.values(), ids=CODECS)
async def test_a_custom_codec_keeps_the_order_of_on_result(encode, decode):
    results = Log()
    with Peer(echo_raw) as peer:
        options = {"encode_message": encode, "decode_message": decode, "throttle_interval": 0}
        async with peer.client().connect(APP, on_result=results, **options) as connection:
            for number in range(50):
                connection.send_nowait({"number": number})
            assert await results.has(50) == [{"number": number} for number in range(50)]


@pytest.mark.parametrize(("encode", "decode"), CODECS.values(), ids=CODECS)
async def test_a_request_with_a_custom_codec_finds_its_answer_by_request_id(encode, decode):
    def answer_in_reverse(session: Session) -> None:
        messages = [session.recv_raw() for _ in range(5)]
        for message in reversed(messages):
            session.send_raw(message)
        session.wait_closed()

    with Peer(answer_in_reverse) as peer:
        async with peer.client().connect(APP, encode_message=encode, decode_message=decode) as connection:
            requests = (connection.request({"number": number}, timeout=LIMIT) for number in range(5))
            answers = await gather(*requests)
            assert [answer["number"] for answer in answers] == list(range(5))
            assert len({answer["request_id"] for answer in answers}) == 5


async def test_the_iteration_of_an_async_decoder_keeps_the_order():
    with Peer(send_numbers(30)) as peer:
        async with peer.client().connect(APP, decode_message=unpack_slowly) as connection:
            await connection.send("go")
            seen = []
            async for result in connection:
                seen.append(result["number"])
                if len(seen) == 30:
                    break
            assert seen == list(range(30))


async def test_cancelling_a_receive_inside_of_an_async_decoder_loses_nothing_and_keeps_the_order():
    with Peer(send_numbers(60)) as peer:
        async with peer.client().connect(APP, decode_message=unpack_slowly) as connection:
            await connection.send("go")
            seen, cancelled = [], 0
            while len(seen) < 60:
                try:
                    seen.append((await asyncio.wait_for(connection.recv(), 0.0008))["number"])
                except asyncio.TimeoutError:  # noqa: PERF203
                    cancelled += 1
            assert seen == list(range(60))
            assert cancelled > 0
            stats = connection.stats()
            assert (stats["received"], stats["delivered"], stats["received_pending"]) == (60, 60, 0)


# --- what goes in and out ---


@pytest.mark.parametrize(
    "encoded", [b"raw", bytearray(b"raw"), memoryview(b"raw"), "text"], ids=lambda e: type(e).__name__
)
async def test_an_encoder_gives_bytes_for_a_binary_and_str_for_a_text_message(encoded):
    with Peer(lambda session: session.wait_closed()) as peer:
        async with peer.client().connect(APP, encode_message=lambda _: encoded) as connection:
            await connection.send({"prompt": "a cat"})
            await peer.until(lambda: peer.sessions[0].messages)
        [message] = peer.sessions[0].messages
        assert message == (encoded if isinstance(encoded, str) else bytes(encoded))


@pytest.mark.parametrize("encoded", [None, 7, {"a": 1}, [1, 2], (1, 2), {1, 2}], ids=lambda e: type(e).__name__)
async def test_an_encoder_that_gives_something_else_is_a_type_error(encoded):
    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=lambda _: encoded)
        with pytest.raises(TypeError, match=f"must return bytes .* or str .*, not {type(encoded).__name__}"):
            connection.send_nowait({"prompt": "a cat"})
        assert connection.stats()["accepted"] == 0
        connection.close()


async def test_an_encoder_that_gives_a_lone_surrogate_is_an_encode_error():
    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=lambda _: "\ud800")
        with pytest.raises(EncodeError, match="what encode_message returned is a str that holds a lone surrogate"):
            connection.send_nowait({"prompt": "a cat"})
        connection.close()


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"request_id": 7}, r"input\.request_id: it must be a str, not an object of type 'int'"),
        (["a cat"], "needs a mapping, to put a request_id into it, not an object of type 'list'"),
    ],
    ids=["number", "list"],
)
async def test_a_request_that_cannot_carry_its_id_is_an_encode_error_with_a_custom_encoder_too(message, why, is_async):
    async def encode(message):
        return json.dumps(message)

    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=encode if is_async else json.dumps)
        with pytest.raises(EncodeError, match=why):
            await connection.request(message)
        assert connection.stats()["accepted"] == 0
        connection.close()


async def test_what_an_encoder_raises_is_raised_by_send():
    def fail(message):
        raise ZeroDivisionError(message)

    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=fail)
        with pytest.raises(ZeroDivisionError):
            connection.send_nowait("a")
        with pytest.raises(ZeroDivisionError):
            await connection.send("b")
        with pytest.raises(ZeroDivisionError):
            await connection.request({"c": 1})
        assert connection.state == "idle"
        connection.close()


async def test_what_an_async_encoder_raises_is_raised_by_send_and_goes_to_on_error_after_send_nowait():
    async def fail(message):
        await asyncio.sleep(0)
        raise ZeroDivisionError(message)

    errors = Log()
    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=fail, on_error=errors)
        with pytest.raises(ZeroDivisionError):
            await connection.send("a")
        connection.send_nowait("b")
        [error] = await errors.has(1)
        assert isinstance(error, ZeroDivisionError)
        connection.close()


async def test_an_async_encoder_that_fails_once_does_not_stop_those_after_it():
    async def encode(message):
        await asyncio.sleep(0)
        return str(10 // message)

    errors = Log()
    with Peer(lambda session: session.wait_closed()) as peer:
        options = {"encode_message": encode, "on_error": errors, "throttle_interval": 0}
        async with peer.client().connect(APP, **options) as connection:
            for divisor in (1, 0, 2):
                connection.send_nowait(divisor)
            await result_of(connection.drain())
            await peer.until(lambda: len(peer.sessions[0].messages) == 2)
        assert peer.sessions[0].messages == ["10", "5"]
        assert len(errors) == 1


async def test_an_input_that_no_fal_app_takes_is_refused_before_it_is_sent():
    limit = 16 * 1024 * 1024
    sizes = iter([limit + 1, limit])
    with Peer(lambda session: session.send({"size": len(session.recv_raw())})) as peer:
        async with peer.client().connect(APP, encode_message=lambda _: bytes(next(sizes))) as connection:
            with pytest.raises(MessageTooLargeError, match=f"{limit + 1} bytes; a fal app takes {limit}"):
                await connection.send("too large")
            await connection.send("as large as may be")
            assert await asyncio.wait_for(connection.recv(), LIMIT) == {"size": limit}
            assert connection.stats()["accepted"] == 1


async def test_a_max_message_size_that_is_given_holds_in_place_of_fals_limit():
    size = 16 * 1024 * 1024 + 1
    with Peer(lambda session: session.send({"size": len(session.recv_raw())})) as peer:
        connection = peer.client().connect(APP, encode_message=lambda _: bytes(size), max_message_size=2 * size)
        async with connection:
            await connection.send("as large as this server takes")
            assert await asyncio.wait_for(connection.recv(), LIMIT) == {"size": size}


async def test_a_message_beyond_max_message_size_is_refused_before_it_is_sent():
    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=lambda _: bytes(101), max_message_size=100)
        with pytest.raises(MessageTooLargeError, match="101 bytes; max_message_size is 100"):
            connection.send_nowait({})
        connection.close()


async def test_a_decoder_gets_bytes_of_a_binary_and_str_of_a_text_message():
    def send_both(session: Session) -> None:
        session.send_raw(b"\x00binary")
        session.send_raw("täxt")
        session.wait_closed()

    with Peer(send_both) as peer:
        async with peer.client().connect(APP, decode_message=lambda message: message) as connection:
            assert await result_of(connection.recv()) == b"\x00binary"
            assert await result_of(connection.recv()) == "täxt"


async def test_a_decoder_does_not_see_control_messages_but_all_else():
    seen, timings, errors = Log(), Log(), Log()

    def send_all(session: Session) -> None:
        session.send_json(type="x-fal-message", action="timings", timing=0.5)
        session.send_raw('{"type":"x-fal-error","error":"TEAPOT","reason":"short"}')
        session.send_raw('{"status":"error","error":"mine"}')
        session.send_raw("[1]")
        session.send_raw("not JSON")
        session.send(["x-fal-error"])
        session.wait_closed()

    with Peer(send_all) as peer:
        options = {"on_timings": timings, "on_error": errors, "on_result": seen}
        async with peer.client().connect(APP, decode_message=lambda message: message, **options):
            await seen.has(4)
    assert seen == ['{"status":"error","error":"mine"}', "[1]", "not JSON", msgpack.packb(["x-fal-error"])]
    assert timings == [0.5]
    assert [error.error for error in errors] == ["TEAPOT"]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("how", ["recv", "on_error", "request"])
async def test_a_decoder_that_raises_is_a_decode_error_with_its_cause_and_delivery_goes_on(is_async, how):
    def decode(message):
        message = msgpack.unpackb(message)
        if message["number"] == 0:
            raise LookupError(message["number"])
        return message

    async def decode_async(message):
        await asyncio.sleep(0)
        return decode(message)

    results, errors = Log(), Log()
    callbacks = {"on_result": results, "on_error": errors} if how == "on_error" else {}
    options = {"decode_message": decode_async if is_async else decode, "throttle_interval": 0, **callbacks}
    with Peer() as peer:
        async with peer.client().connect(APP, **options) as connection:
            if how == "request":
                with pytest.raises(DecodeError, match="LookupError: 0") as raised:
                    await connection.request({"number": 0}, timeout=LIMIT)
                error = raised.value
                assert (await connection.request({"number": 1}, timeout=LIMIT))["number"] == 1
            else:
                connection.send_nowait({"number": 0})
                connection.send_nowait({"number": 1})
                if how == "recv":
                    with pytest.raises(DecodeError, match="LookupError: 0") as raised:
                        await result_of(connection.recv())
                    error = raised.value
                    assert await result_of(connection.recv()) == {"number": 1}
                else:
                    assert await results.has(1) == [{"number": 1}]
                    [error] = errors
            assert isinstance(error.__cause__, LookupError)


async def test_a_decoder_whose_result_cannot_be_awaited_is_a_decode_error_and_delivery_goes_on():
    class Broken:
        def __await__(self):
            raise LookupError(0)

    def decode(message):
        message = msgpack.unpackb(message)
        return Broken() if message["number"] == 0 else message

    with Peer() as peer:
        async with peer.client().connect(APP, decode_message=decode, throttle_interval=0) as connection:
            # As a newcomer, and as one that waited.
            for waits in (False, True):
                if not waits:
                    connection.send_nowait({"number": 0})
                    await until(lambda: connection.stats()["received_pending"], "the result")
                receiving = asyncio.ensure_future(result_of(connection.recv()))
                await asyncio.sleep(0)
                if waits:
                    connection.send_nowait({"number": 0})
                with pytest.raises(DecodeError, match="LookupError: 0"):
                    await receiving
                connection.send_nowait({"number": 1})
                assert await result_of(connection.recv()) == {"number": 1}


async def test_a_coroutine_that_awaits_a_decoder_can_close_the_connection_meanwhile():
    began, go_on = Log(), asyncio.Event()

    async def decode(message):
        began(True)
        await go_on.wait()
        return msgpack.unpackb(message)

    with Peer(send_numbers(2)) as peer:
        connection = peer.client().connect(APP, decode_message=decode)
        await connection.send("go")
        receiving = asyncio.ensure_future(connection.recv())
        await began.has(1)
        await connection.aclose()
        go_on.set()
        assert await result_of(receiving) == {"number": 0}
        assert await result_of(connection.recv()) == {"number": 1}
        with pytest.raises(ConnectionClosedError):
            await result_of(connection.recv())


async def never(message):
    if "hang" in message:
        await asyncio.Event().wait()
    return msgpack.packb(message)


async def test_an_encoding_that_hangs_holds_nobody_longer_than_he_says_nor_beyond_the_end():
    errors = Log()
    with Peer() as peer:
        options = {"encode_message": never, "throttle_interval": 0, "on_error": errors}
        connection = await peer.client().connect(APP, **options)
        connection.send_nowait({"hang": 1})
        with pytest.raises(RequestTimeoutError, match=r"not encoded within 0.05 s") as raised:
            await result_of(connection.request({"number": 0}, timeout=0.05))
        assert (raised.value.retryable, raised.value.unprocessed) == (True, True)
        waiting = [asyncio.ensure_future(connection.send({"number": 1})), asyncio.ensure_future(connection.drain())]
        await asyncio.sleep(0)
        await result_of(connection.aclose())
        assert [type(error) for error in errors] == [ConnectionClosedError]
        sent, drained = await result_of(asyncio.gather(*waiting, return_exceptions=True))
        assert isinstance(sent, ConnectionClosedError)
        assert drained is None
        for call in (connection.send({}), connection.request({}, timeout=LIMIT)):
            with pytest.raises(ConnectionClosedError):
                await result_of(call)
        await result_of(connection.drain())
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_finish_waits_for_an_encoding_as_long_as_it_says():
    with Peer() as peer:
        connection = await peer.client().connect(APP, encode_message=never, on_error=Log(), throttle_interval=0)
        connection.send_nowait({"hang": 1})
        with pytest.raises(RequestTimeoutError, match="1 input was not encoded yet"):
            await result_of(connection.finish(0.05))
        assert connection.state == "closed"


async def test_an_encoder_that_was_cancelled_by_something_of_its_own_is_told():
    async def cancelled(message):
        await gone()

    async def gone():
        waiting = asyncio.ensure_future(asyncio.Event().wait())
        waiting.cancel()
        await waiting

    errors = Log()
    with Peer() as peer:
        async with peer.client().connect(APP, encode_message=cancelled, on_error=errors) as connection:
            with pytest.raises(EncodeError, match="was cancelled"):
                await connection.send({})
            connection.send_nowait({})
            [error] = await errors.has(1)
            assert isinstance(error, EncodeError)


async def test_close_fails_what_an_async_encoder_has_not_finished():
    began, go_on = Log(), asyncio.Event()

    async def encode(message):
        began(True)
        await go_on.wait()
        return msgpack.packb(message)

    with Peer() as peer:
        connection = peer.client().connect(APP, encode_message=encode)
        sending = asyncio.ensure_future(connection.send("late"))
        await began.has(1)
        await connection.aclose()
        go_on.set()
        with pytest.raises(ConnectionClosedError):
            await result_of(sending)
        assert peer.accepted == 0
