"""Against the real fal: `finish`, encoded inputs, and results that are handed on undecoded."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgpack

from fal_realtime import EncodedResult, RealtimeClient, SyncRealtimeClient

APP = "local/interop"
PATIENCE = 60.0
"""Seconds; far more than anything here takes."""


def options(url: str) -> dict[str, Any]:
    return {"credentials": "key-id:key-secret", "base_url": url, "trust_env": False}


async def test_finish_waits_for_the_answers_to_all_inputs_of_a_unary_app(fal_server_url: str) -> None:
    connection = RealtimeClient(**options(fal_server_url)).connect(APP, use_jwt=False)
    for number in range(32):  # as many as the app buffers
        await connection.send({"n": number})
    await connection.finish(PATIENCE)
    assert connection.state == "closed"
    assert [result["echo"]["n"] async for result in connection] == list(range(32))


async def test_finish_waits_for_the_end_of_a_stream_that_ends_with_its_inputs(fal_server_url: str) -> None:
    client = RealtimeClient(**options(fal_server_url))
    connection = client.connect(APP, path="/client-stream", streaming=True, use_jwt=False)
    for _ in range(5):
        await connection.send({"audio": b"\x01\x02"})
    await connection.finish(PATIENCE)
    assert [result async for result in connection] == [{"audio": b"\x01\x02" * 5, "chunks": 5}]


def test_the_same_in_blocking_form(fal_server_url: str) -> None:
    connection = SyncRealtimeClient(**options(fal_server_url)).connect(APP, use_jwt=False)
    for number in range(32):
        connection.send({"n": number})
    connection.finish(PATIENCE)
    assert [result["echo"]["n"] for result in connection] == list(range(32))


async def test_an_app_gets_an_encoded_input_as_if_it_had_been_encoded_here(fal_server_url: str) -> None:
    async with RealtimeClient(**options(fal_server_url)).connect(APP, use_jwt=False) as connection:
        for kind in (bytes, bytearray, memoryview):
            await connection.send(kind(msgpack.packb({"n": 1, "data": b"\xff"})))
            assert await connection.recv(timeout=PATIENCE) == {"echo": {"n": 1, "data": b"\xff"}}


async def test_ten_thousand_results_are_handed_on_byte_for_byte(fal_server_url: str) -> None:
    """As a gateway does it: from an app to another one, which echoes what it gets."""
    dice = random.Random(7)
    client = RealtimeClient(**options(fal_server_url))
    inputs = [{"n": number, "body": dice.randbytes(dice.randrange(400))} for number in range(10_000)]
    ahead = asyncio.Semaphore(16)  # no more under way than the apps buffer: they drop the oldest of more
    relayed: list[bytes | str] = []
    async with (
        client.connect(APP, decode=False, use_jwt=False) as source,
        client.connect(APP, decode=False, use_jwt=False) as sink,
    ):

        async def upstream() -> None:
            for each in inputs:
                await ahead.acquire()
                await source.send(each)

        async def relay() -> None:
            for _ in inputs:
                result = await source.recv(timeout=PATIENCE)
                assert isinstance(result, EncodedResult)
                await sink.send(result.payload)

        tasks = [asyncio.create_task(upstream()), asyncio.create_task(relay())]
        for _ in inputs:
            relayed.append((await sink.recv(timeout=PATIENCE)).payload)
            ahead.release()
        await asyncio.gather(*tasks)
    # What fal's app packs with the same rules comes back in the same bytes.
    assert set(relayed) == {msgpack.packb({"echo": {"echo": each}}) for each in inputs}
