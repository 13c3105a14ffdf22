"""Raw connections to apps of the real fal: plain WebSockets, and the frames of realtime apps as they are."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgpack
import pytest

from fal_realtime import ConnectionClosedError, RawConnection, RealtimeClient, SyncRawConnection, SyncRealtimeClient

APP = "local/interop"
PATIENCE = 60.0
"""Seconds; far more than anything here takes."""


def options(url: str) -> dict[str, Any]:
    return {"credentials": "key-id:key-secret", "base_url": url, "trust_env": False}


async def test_an_app_that_is_a_plain_websocket_gets_and_gives_messages_as_they_are(fal_server_url: str) -> None:
    client = RealtimeClient(**options(fal_server_url))
    async with client.connect(f"{APP}/ws", raw=True, use_jwt=False) as connection:
        assert isinstance(connection, RawConnection)
        for message in (
            "text",
            "grüße",
            b"",
            b"\xc1 is no msgpack",
            bytearray(b"x" * 70_000),
            '{"type":"x-fal-error"}',
        ):
            await connection.send(message)
            assert await asyncio.wait_for(connection.recv(), PATIENCE) == message
        with pytest.raises(RuntimeError, match="cannot match answers to requests"):
            await connection.request({"n": 1})
        await connection.send("close 1000")
        assert [message async for message in connection] == []
    assert (connection.close_code, connection.close_reason) == (1000, "as you wish")


def test_the_same_in_blocking_form(fal_server_url: str) -> None:
    client = SyncRealtimeClient(**options(fal_server_url))
    with client.connect(APP, path="/ws", raw=True, use_jwt=False, reconnect=None) as connection:
        assert isinstance(connection, SyncRawConnection)
        connection.send("text")
        assert connection.recv(timeout=PATIENCE) == "text"
        connection.send("close 4003")
        with pytest.raises(ConnectionClosedError, match="as you wish") as caught:
            connection.recv(timeout=PATIENCE)
    assert caught.value.code == 4003


async def test_ten_thousand_frames_of_a_realtime_app_are_relayed_byte_for_byte(fal_server_url: str) -> None:
    dice = random.Random(5)
    client = RealtimeClient(**options(fal_server_url))
    inputs = [msgpack.packb({"n": n, "body": dice.randbytes(dice.randrange(400))}) for n in range(10_000)]
    async with client.connect(APP, raw=True, path="/realtime", use_jwt=False) as connection:
        relayed: list[bytes | str] = []
        ahead = asyncio.Semaphore(32)  # as many as the app buffers: a realtime app drops the oldest of more

        async def upstream() -> None:
            for frame in inputs:
                await ahead.acquire()
                await connection.send(frame)

        sending = asyncio.create_task(upstream())
        while len(relayed) < len(inputs):
            relayed.append(await asyncio.wait_for(connection.recv(), PATIENCE))
            ahead.release()
        await sending
    # What fal's app packs with the same rules comes back in the same bytes.
    expected = {msgpack.packb({"echo": msgpack.unpackb(frame)}) for frame in inputs}
    assert set(relayed) == expected
