"""Plays scenes with this package's client, and writes down all that came back."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fal_realtime import ConnectionClosedError, FalRealtimeError, RealtimeClient, msgpack

from .scenes import Pause, Raw, RawText, Scene
from .serve import NAME

PATIENCE = 8.0
"""Seconds; far more than anything here takes."""

Transcript = tuple[str, ...]


@contextmanager
def real_server(server: str = "uvicorn") -> Iterator[str]:
    """The base URL of the real fal in a process of its own, under this server; what it wrote is shown if it fails."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-m", "differential.serve", server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parents[1],
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            assert words[:1] == ["LISTENING"], "the real server did not start"
            _wait_until_it_listens(int(words[1]), process)
            yield f"ws://127.0.0.1:{words[1]}"
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_it_listens(port: int, process: subprocess.Popen[str]) -> None:
    import socket  # noqa: PLC0415

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the real server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    message = "the real server does not listen"
    raise AssertionError(message)


def encode(message: Any) -> bytes | str:
    """What a scene's input is on the wire."""
    if isinstance(message, RawText):
        return str(message)
    return bytes(message) if isinstance(message, Raw) else msgpack.encode(message)


def shown(value: Any) -> str:
    """A value, without what depends on memory or on the clock."""
    return re.sub(r"0x[0-9a-f]{6,}", "0x…", repr(value))


async def play_frames(base_url: str, scene: Scene) -> Transcript:
    """The frames that come back, with the close code and reason, or how the opening failed."""
    client = RealtimeClient("key-id:key-secret", trust_env=False)
    heard: list[str] = []
    connection = client.connect_raw(f"{base_url}/{NAME}{scene.path}{_query(base_url)}")
    try:
        await connection.open()
        for message in scene.inputs:
            if isinstance(message, Pause):
                await asyncio.sleep(message)
            else:
                with suppress(ConnectionClosedError):  # what came before that is still to be taken
                    await connection.send(encode(message))
        while True:
            frame = await asyncio.wait_for(connection.recv(), PATIENCE)
            heard.append(frame if isinstance(frame, str) else shown(msgpack.decode(frame)))
    except asyncio.TimeoutError:
        heard.append("no end")
    except ConnectionClosedError as closed:
        heard.append(f"closed {closed.code} {closed.reason!r}")
    except FalRealtimeError as error:
        heard.append(f"{type(error).__name__}: {error}")
    await connection.aclose()
    return tuple(line.replace(base_url, "…") for line in heard)


async def play(base_url: str, scene: Scene) -> Transcript:
    """What the client of fal's protocol tells: results and errors."""
    client = RealtimeClient("key-id:key-secret", base_url=base_url, trust_env=False)
    heard: list[str] = []
    over = asyncio.Event()

    def see(state: str) -> None:
        if state in ("idle", "closed") and heard_active:
            over.set()
        if state == "active":
            heard_active.append(state)

    heard_active: list[str] = []
    connection = client.connect(
        NAME,
        path=scene.path,
        use_jwt=False,
        throttle_interval=0,
        reconnect=None,
        max_message_size=64 << 20,  # the server is to say what is too large
        on_result=lambda result: heard.append(f"result {shown(result)}"),
        on_error=lambda error: heard.append(f"{type(error).__name__}: {error}"),
        on_state_change=see,
        encode_message=encode,
    )
    try:
        await connection.open()
        for message in scene.inputs:
            if isinstance(message, Pause):
                await asyncio.sleep(message)
            else:
                with suppress(ConnectionClosedError):
                    await connection.send(message)
        await asyncio.wait_for(over.wait(), PATIENCE)
    except asyncio.TimeoutError:
        heard.append("no end")
    except FalRealtimeError as error:
        heard.append(f"{type(error).__name__}: {error}")
    await connection.aclose()
    return tuple(line.replace(base_url, "…") for line in heard)


@contextmanager
def _limitless() -> Iterator[None]:
    yield


def _query(base_url: str) -> str:
    return f"?fal_jwt_token={TOKENS[base_url]}" if base_url in TOKENS else ""


TOKENS: dict[str, str] = {}
"""Tokens for servers that want one in the raw mode, by their base URL."""
