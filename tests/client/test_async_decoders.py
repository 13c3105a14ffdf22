"""What an asynchronous decoder began goes on, once a message and in order, whoever gives up waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest
from support import LOOPS, AppServer, run_in, until

from fal_realtime import ConnectionClosedError, DecodeError, RealtimeConnection, RequestTimeoutError


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


class Decoder:
    """Decodes when it is told to."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.cancelled: list[Any] = []
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, message: bytes) -> Any:
        decoded = msgpack.unpackb(message)
        self.started.append(decoded["n"])
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(decoded["n"])
            raise
        if self.error is not None:
            raise self.error
        return decoded["n"]


async def give_up(connection: RealtimeConnection, decoder: Decoder, started: int) -> None:
    """Waits for a result until the decoder has started, and no longer."""
    receiving = asyncio.ensure_future(connection.recv())
    await until(lambda: len(decoder.started) == started, "the decoder")
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving


@contextlib.asynccontextmanager
async def decoding(peer: AppServer, count: int = 1) -> AsyncIterator[tuple[RealtimeConnection, Decoder]]:
    """A connection whose first result is being decoded, though nobody waits for it any more."""
    decoder = Decoder()
    async with peer.connect(decode_message=decoder) as connection:
        await connection.send({"count": count})
        await until(lambda: connection.stats()["received"] == count, "the results")
        await give_up(connection, decoder, 1)
        yield connection, decoder


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_decoder_slower_than_every_wait_decodes_each_message_once(new_loop: Any, peer: AppServer) -> None:
    async def main() -> None:
        started = 0

        async def decode(message: bytes) -> Any:
            nonlocal started
            started += 1
            await asyncio.sleep(0.002)
            return msgpack.unpackb(message)["n"]

        async with peer.connect(decode_message=decode) as connection:
            await connection.send({"count": 100})
            results: list[int] = []
            gave_up = 0
            while len(results) < 100:
                try:
                    results.append(await asyncio.wait_for(connection.recv(), 0.0008))
                except asyncio.TimeoutError:  # noqa: PERF203
                    gave_up += 1
            assert results == list(range(100))
            assert started == 100
            assert gave_up > 0

    run_in(new_loop, main())


async def test_the_result_waits_for_the_next_receiver(peer: AppServer) -> None:
    async with decoding(peer, count=2) as (connection, decoder):
        decoder.may_end.set()
        assert [await connection.recv() for _ in range(2)] == [0, 1]
        assert (decoder.started, decoder.cancelled) == ([0, 1], [])


async def test_what_is_in_the_decoder_counts_as_pending(peer: AppServer) -> None:
    async with decoding(peer, count=3) as (connection, decoder):
        stats = connection.stats()
        assert (stats["received"], stats["delivered"], stats["received_pending"]) == (3, 0, 3)
        decoder.may_end.set()
        await connection.recv()
        stats = connection.stats()
        assert (stats["received"], stats["delivered"], stats["received_pending"]) == (3, 1, 2)


async def test_an_impatient_receiver_does_not_take_the_turn_of_those_behind_it(peer: AppServer) -> None:
    async with decoding(peer, count=3) as (connection, decoder):
        receiving = [asyncio.ensure_future(connection.recv()) for _ in range(4)]
        await asyncio.sleep(0)
        receiving.pop(1).cancel()
        decoder.may_end.set()
        assert await asyncio.gather(*receiving) == [0, 1, 2]
        assert decoder.started == [0, 1, 2]


async def test_a_decoder_that_fails_while_nobody_waits_fails_the_next_receiver(peer: AppServer) -> None:
    async with decoding(peer, count=2) as (connection, decoder):
        decoder.error = LookupError("no such key")
        decoder.may_end.set()
        with pytest.raises(DecodeError, match="LookupError: no such key"):
            await connection.recv()
        decoder.error = None
        assert await connection.recv() == 1


async def test_the_result_comes_before_the_end_of_the_connection(peer: AppServer) -> None:
    async with decoding(peer) as (connection, decoder):
        await connection.aclose()
        ended = [asyncio.ensure_future(connection.recv()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(receiving.done() for receiving in ended)
        decoder.may_end.set()
        assert await ended[0] == 0
        with pytest.raises(ConnectionClosedError):
            await ended[1]


async def test_a_decoder_whose_task_was_cancelled_is_started_once_more_by_the_next_receiver(peer: AppServer) -> None:
    """As by a program that cancels all tasks but its own."""
    async with decoding(peer, count=2) as (connection, decoder):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert decoder.cancelled == [0]
        assert connection.stats()["received_pending"] == 2
        decoder.may_end.set()
        assert [await connection.recv() for _ in range(2)] == [0, 1]
        assert decoder.started == [0, 0, 1]


async def test_a_decoder_that_cancels_itself_ends_the_wait_and_leaves_the_message(peer: AppServer) -> None:
    attempts = 0

    async def decode(message: bytes) -> Any:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        if attempts == 1:
            raise asyncio.CancelledError
        return msgpack.unpackb(message)

    async with peer.connect(decode_message=decode) as connection:
        await connection.send({"n": 1})
        with pytest.raises(asyncio.CancelledError):
            await connection.recv()
        assert await connection.recv() == {"n": 1}


async def test_a_receiver_is_told_when_the_decoder_cannot_be_started(peer: AppServer) -> None:
    def refuse(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: Any) -> Any:
        raise LookupError

    loop = asyncio.get_running_loop()
    decoder = Decoder()
    decoder.may_end.set()
    async with peer.connect(decode_message=decoder) as connection:
        await connection.send({"count": 1})
        await until(lambda: connection.stats()["received_pending"] == 1, "a result")
        loop.set_task_factory(refuse)
        try:
            with pytest.raises(LookupError):
                await connection.recv()
        finally:
            loop.set_task_factory(None)
        assert await connection.recv() == 0


async def test_what_a_receiver_began_goes_to_an_on_result_that_comes_later(peer: AppServer) -> None:
    decoder = Decoder()
    results: list[int] = []
    options: dict[str, Any] = {
        "use_jwt": False,
        "throttle_interval": 0,
        "connection_key": "k",
        "decode_message": decoder,
    }
    client = peer.client()
    async with client.connect("local/echo", **options) as connection:
        await connection.send({"count": 3})
        await give_up(connection, decoder, 1)
        assert client.connect("local/echo", **options, on_result=results.append) is connection
        decoder.may_end.set()
        await until(lambda: len(results) == 3, "the results")
        assert results == decoder.started == [0, 1, 2]


async def test_an_abandoned_connection_is_not_kept_by_its_decoder(peer: AppServer) -> None:
    decoder = Decoder()
    connection = peer.connect(decode_message=decoder)
    await connection.send({"count": 1})
    await give_up(connection, decoder, 1)
    await asyncio.sleep(0)  # the loop holds what it woke this task with, until the next turn
    gone = weakref.ref(connection)
    with pytest.warns(ResourceWarning):  # noqa: PT031 - the warning comes with the collection
        del connection
        gc.collect()
    assert gone() is None
    decoder.may_end.set()
    await until(lambda: len(asyncio.all_tasks()) == 1, "the end of the decoder")


async def test_the_timeout_of_a_request_covers_the_decoder(peer: AppServer) -> None:
    decoder = Decoder()
    async with peer.connect(decode_message=decoder) as connection:
        with pytest.raises(RequestTimeoutError):
            await connection.request({"n": 1}, timeout=0.2)
        await until(lambda: decoder.cancelled == [1], "the decoder's end")


async def test_cancelling_a_request_cancels_its_decoder(peer: AppServer) -> None:
    decoder = Decoder()
    async with peer.connect(decode_message=decoder) as connection:
        asking = asyncio.ensure_future(connection.request({"n": 1}))
        await until(lambda: decoder.started, "the decoder")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: decoder.cancelled == [1], "the decoder's end")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with Python 3.11")
async def test_a_timeout_in_a_decoder_ends_the_decoder_and_not_its_receiver(peer: AppServer) -> None:
    async def decode(message: bytes) -> Any:
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()

    async with peer.connect(decode_message=decode) as connection:
        await connection.send({"n": 1})
        with pytest.raises(DecodeError, match="TimeoutError"):
            await connection.recv()


async def nobodys(connection: RealtimeConnection) -> None:
    """The accounts, of one answer that nobody gets."""
    stats = connection.stats()
    assert (stats["received"], stats["delivered"], stats["late"], stats["received_pending"]) == (1, 0, 1, 0)
    with pytest.raises(RequestTimeoutError, match="no result came"):
        await connection.recv(timeout=0.05)


@pytest.mark.parametrize("retries", [0, 3])
async def test_a_request_whose_answer_is_being_decoded_when_its_time_is_over_was_processed(
    retries: int, peer: AppServer
) -> None:
    decoder = Decoder()
    async with peer.connect(decode_message=decoder) as connection:
        asking = asyncio.ensure_future(connection.request({"n": 1}, timeout=0.3, retries=retries))
        await until(lambda: decoder.started == [1], "the decoder")
        stats = connection.stats()
        assert (stats["received"], stats["delivered"], stats["received_pending"]) == (1, 0, 1)
        with pytest.raises(RequestTimeoutError, match="was answered, but decode_message") as raised:
            await asking
        assert (raised.value.unprocessed, raised.value.retryable) == (False, True)
        decoder.may_end.set()
        await nobodys(connection)
        assert decoder.started == [1]


async def test_the_answer_to_a_request_that_is_cancelled_while_it_is_decoded_is_nobodys(peer: AppServer) -> None:
    decoder = Decoder()
    async with peer.connect(decode_message=decoder) as connection:
        asking = asyncio.ensure_future(connection.request({"n": 1}))
        await until(lambda: decoder.started == [1], "the decoder")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        decoder.may_end.set()
        await nobodys(connection)


async def test_the_answer_to_a_request_whose_decoder_is_cancelled_is_nobodys(peer: AppServer) -> None:
    async def decode(message: bytes) -> Any:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    async with peer.connect(decode_message=decode) as connection:
        with pytest.raises(asyncio.CancelledError):
            await connection.request({"n": 1})
        await nobodys(connection)


async def test_an_answer_that_was_decoded_counts_as_delivered(peer: AppServer) -> None:
    decoder = Decoder()
    decoder.may_end.set()
    async with peer.connect(decode_message=decoder) as connection:
        assert await connection.request({"n": 1}) == 1
        decoder.error = LookupError("no such key")
        with pytest.raises(DecodeError):
            await connection.request({"n": 2})
        stats = connection.stats()
        assert (stats["received"], stats["delivered"], stats["late"], stats["received_pending"]) == (2, 2, 0, 0)
