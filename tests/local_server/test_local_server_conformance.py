"""The same handlers and the same messages, once under the real `fal` and once under the local server."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest
from support import HeldPort
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fal_realtime.testing import LocalServer

SESSION_TIMEOUT = 0.6

REAL_SERVER = f"""
import asyncio, sys
from collections.abc import AsyncIterator
from typing import Any
import fal, uvicorn

class App(fal.App):
    @fal.realtime("/unary", buffering=2, session_timeout={SESSION_TIMEOUT})
    async def unary(self, item):
        return await answer(item)

    @fal.realtime("/stream", session_timeout={SESSION_TIMEOUT})
    async def stream(self, item) -> AsyncIterator[Any]:
        for i in range(item["count"]):
            yield await answer({{**item, "i": i}})

    @fal.realtime("/collect", session_timeout={SESSION_TIMEOUT})
    async def collect(self, items: AsyncIterator[Any]) -> dict:
        return await gather(items)

    @fal.realtime("/bidi", session_timeout={SESSION_TIMEOUT})
    async def bidi(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for item in items:
            if item.get("end"):
                return
            yield await answer(item)

async def answer(item):
    await asyncio.sleep(item.get("delay", 0))
    if "raise" in item:
        raise ValueError(item["raise"])
    return item.get("answer", item)

async def gather(items):
    seen = []
    async for item in items:
        seen.append(await answer(item))
        if item.get("final"):
            break
    return {{"seen": seen}}

uvicorn.run(App(_allow_init=True)._build_app(), port=int(sys.argv[1]), log_level="critical")
"""


async def answer(item: dict[str, Any]) -> Any:
    await asyncio.sleep(item.get("delay", 0))
    if "raise" in item:
        raise ValueError(item["raise"])
    return item.get("answer", item)


def add_apps(server: LocalServer) -> None:
    server.app("local/unary", buffering=2, session_timeout=SESSION_TIMEOUT)(answer)

    @server.app("local/stream", session_timeout=SESSION_TIMEOUT)
    async def stream(item: dict[str, Any]) -> AsyncIterator[Any]:
        for i in range(item["count"]):
            yield await answer({**item, "i": i})

    @server.app("local/collect", session_timeout=SESSION_TIMEOUT)
    async def collect(items: AsyncIterator[Any]) -> dict[str, Any]:
        seen = []
        async for item in items:
            seen.append(await answer(item))
            if item.get("final"):
                break
        return {"seen": seen}

    @server.app("local/bidi", session_timeout=SESSION_TIMEOUT)
    async def bidi(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for item in items:
            if item.get("end"):
                return
            yield await answer(item)


@pytest.fixture(scope="module")
def real_server() -> Iterator[str]:
    with (
        HeldPort() as held,
        subprocess.Popen(
            [sys.executable, "-c", REAL_SERVER, str(held.number)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process,
    ):
        port = held.number
        try:
            deadline = time.monotonic() + 50
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, "the real server did not start"
                    assert time.monotonic() < deadline, "the real server takes too long"
                    time.sleep(0.1)
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def local_server() -> Iterator[str]:
    with LocalServer() as server:
        add_apps(server)
        yield f"{server.base_url}/local"


ANSWER = object()
"""Among messages: the next one is sent when an answer is there. A burst may lose inputs, whichever."""


async def transcript(url: str, messages: list[Any]) -> list[Any]:
    """All that comes back until the server closes; a number among the messages is a pause in seconds."""
    headers = {"Authorization": "Key test-key"}
    heard: list[Any] = []
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        for message in messages:
            if isinstance(message, float):
                await asyncio.sleep(message)
            elif message is ANSWER:
                heard.append(await answer_of(socket))
            else:
                await socket.send(message if isinstance(message, (str, bytes)) else msgpack.packb(message))
        try:
            while True:
                heard.append(await answer_of(socket))
        except ConnectionClosed as closed:
            heard.append((closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else None)
    # Where a Python object is in memory says nothing.
    return json.loads(re.sub(r"0x[0-9a-f]+", "0x", json.dumps(heard)))


async def answer_of(socket: ClientConnection) -> Any:
    message = await asyncio.wait_for(socket.recv(), 60)
    return json.loads(message) if isinstance(message, str) else msgpack.unpackb(message)


SCENES: dict[str, tuple[str, list[Any]]] = {
    "results in order": ("unary", [{"i": 0}, ANSWER, {"i": 1}, {"i": 2}]),
    "nothing is sent": ("unary", []),
    "the app raises": ("unary", [{"i": 0}, 0.2, {"raise": "boom"}]),
    "the app raises what is not ASCII": ("unary", [{"raise": 'naïve "quote" \n 🦀'}]),
    "the oldest are dropped": ("unary", [{"i": 0, "delay": 0.6}, 0.3, *({"i": i} for i in range(1, 8))]),
    "the last result outlives the inputs": ("unary", [{"delay": 0.9}]),
    "the last result takes too long": ("unary", [{"delay": 3}]),
    "the result is no dict": ("unary", [{"answer": [1]}]),
    "a text message": ("unary", ["text"]),
    "cut msgpack": ("unary", [b"\x81\xa1"]),
    "an empty message": ("unary", [b""]),
    "trailing bytes": ("unary", [b"\x80\x80"]),
    "a reserved byte": ("unary", [b"\xc1"]),
    "an int as key": ("unary", [{1: 2}]),
    "a float as key": ("unary", [{1.5: 2}]),
    "None as key": ("unary", [{None: 2}]),
    "an array as key": ("unary", [b"\x81\x90\x01"]),
    "a map that cannot be so large": ("unary", [b"\xdf\xff\xff\xff\xff"]),
    "an array that cannot be so large": ("unary", [b"\x92"]),
    "a deep nest": ("unary", [b"\x81\xa1a" + b"\x91" * 2000 + b"\xc0"]),
    "a stream": ("stream", [{"count": 3}]),
    "a stream of nothing": ("stream", [{"count": 0}]),
    "a stream that fails": ("stream", [{"count": 3, "raise": "boom"}]),
    "a stream that fails to start": ("stream", [{}]),
    "a stream without input": ("stream", []),
    "a stream whose results are no dicts": ("stream", [{"count": 3, "answer": 1}]),
    "a stream of text input": ("stream", ["text"]),
    "a stream with more than one input": ("stream", [{"count": 1}, "text", {"count": 5}]),
    "a collection": ("collect", [{"a": 1}, {"final": True}]),
    "a collection that runs out of inputs": ("collect", [{"a": 1}]),
    "a collection of nothing": ("collect", []),
    "a collection with a text message": ("collect", [{"a": 1}, 0.1, "text"]),
    "a collection that fails": ("collect", [{"raise": "boom"}]),
    "both directions": ("bidi", [{"a": 1}, 0.1, {"a": 2}, {"end": True}]),
    "both directions without end": ("bidi", [{"a": 1}]),
    "both directions with a text message": ("bidi", [{"a": 1}, 0.1, "text"]),
    "both directions with cut msgpack": ("bidi", [{"a": 1}, 0.1, b"\x81"]),
    "both directions that fail": ("bidi", [{"a": 1}, 0.1, {"raise": "boom"}]),
}


@pytest.mark.parametrize("scene", SCENES)
async def test_the_local_server_answers_as_the_real_one(real_server: str, local_server: str, scene: str) -> None:
    path, messages = SCENES[scene]
    real, local = await asyncio.gather(
        transcript(f"{real_server}/{path}", messages), transcript(f"{local_server}/{path}", messages)
    )
    assert local == real
