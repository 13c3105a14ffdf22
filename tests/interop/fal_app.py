"""An app for the real `fal` server, and its process: `python fal_app.py` serves it on a free port of loopback.

Prints `LISTENING <port>` once it serves, and leaves when its standard input ends: it never outlives the tests.

fal serves an app's routes at the root; its gateway puts `/{owner}/{alias}` before them, and so does this.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import fal
import uvicorn
from fal.realtime import _fal_websocket_template
from pydantic import BaseModel, Field
from starlette.websockets import WebSocket

APP = "local/interop"

ROOMY = 32
"""fal keeps results in order as long as no more than twice its `buffering` of them wait to be sent; by default, two."""

IDLE_AFTER = 0.5
"""Seconds without input after which the routes that time out end their session."""


def emitting_timings(handler: Any) -> Any:
    """The handler as fal builds it for an app that is billed by time; its decorator has no option for it."""
    signature = handler.route_signature._replace(emit_timings=True)
    return _fal_websocket_template(handler.original_func, signature)


class Prompt(BaseModel):
    prompt: str
    num_inference_steps: int = Field(default=4, ge=1, le=12)


class Gate:
    """Where a handler waits."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


class InteropApp(fal.App):
    """One route for each thing that fal's server does."""

    def setup(self) -> None:
        self._gates: defaultdict[str, Gate] = defaultdict(Gate)

    async def _hold_if_asked(self, message: dict[str, Any]) -> None:
        """Keep the handler busy until `/control` opens the gate, so that what comes meanwhile piles up."""
        if "hold" in message:
            gate = self._gates[message["hold"]]
            gate.reached.set()
            await gate.opened.wait()

    @fal.realtime("/control")
    async def control(self, message: Any) -> dict[str, Any]:
        gate = self._gates[message["gate"]]
        await gate.reached.wait()
        if message["open"]:
            # What was written to other sockets before this message has been read by then.
            await asyncio.sleep(0.1)
            gate.opened.set()
        return {"request_id": message["request_id"]}

    @fal.realtime("/realtime", buffering=ROOMY)
    async def echo(self, message: Any) -> dict[str, Any]:
        return {"echo": message}

    @fal.realtime("/threaded")
    def threaded(self, message: Any) -> dict[str, Any]:
        return {"echo": message, "in_main_thread": threading.current_thread() is threading.main_thread()}

    @fal.realtime("/buffered", buffering=2)
    async def buffered(self, message: Any) -> dict[str, Any]:
        await self._hold_if_asked(message)
        return {"n": message["n"]}

    @fal.realtime("/batched", buffering=ROOMY, max_batch_size=4)
    async def batched(self, *messages: Any) -> dict[str, Any]:
        await self._hold_if_asked(messages[0])
        return {"batch": [message["n"] for message in messages]}

    @fal.realtime("/disordered")
    async def disordered(self, message: Any) -> dict[str, Any]:
        """Never yields to the task that sends: fal's queue of two results fills, and the next one overtakes it."""
        await self._hold_if_asked(message)
        return {"n": message["n"], "request_id": message["request_id"]}

    @fal.realtime("/server-stream", buffering=ROOMY)
    async def server_stream(self, message: Any) -> AsyncIterator[Any]:
        for n in range(message["count"]):
            yield {"n": n, "prompt": message["prompt"]}

    @fal.realtime("/client-stream", session_timeout=IDLE_AFTER)
    async def client_stream(self, messages: AsyncIterator[Any]) -> dict[str, Any]:
        chunks = [message["audio"] async for message in messages]
        return {"audio": b"".join(chunks), "chunks": len(chunks)}

    @fal.realtime("/bidi", buffering=ROOMY, session_timeout=IDLE_AFTER)
    async def bidi(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        total = 0
        async for message in messages:
            total += message["n"]
            yield {"total": total}

    @fal.realtime("/busy", buffering=ROOMY)
    async def busy(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            await self._hold_if_asked(message)
            yield {"n": message["n"]}

    @fal.realtime(
        "/json",
        buffering=ROOMY,
        content_type="application/json",
        decode_message=json.loads,
        encode_message=lambda result: json.dumps(result).encode(),
    )
    async def json_in_binary(self, message: Any) -> dict[str, Any]:
        return {"echo": message, "request_id": message.get("request_id")}

    @fal.realtime(
        "/json-stream",
        buffering=ROOMY,
        content_type="application/json",
        decode_message=json.loads,
        encode_message=lambda result: json.dumps(result).encode(),
    )
    async def json_stream(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            yield {"echo": message}

    @fal.realtime("/idle", session_timeout=IDLE_AFTER)
    async def idle(self, message: Any) -> dict[str, Any]:
        return {"echo": message["n"], "request_id": message.get("request_id")}

    @fal.realtime("/raising")
    async def raising(self, message: Any) -> dict[str, Any]:
        if message.get("raise"):
            raise ValueError(message["raise"])
        return {"echo": message, "request_id": message.get("request_id")}

    @fal.realtime("/validated")
    async def validated(self, message: Prompt) -> dict[str, Any]:
        return {"steps": message.num_inference_steps}

    @emitting_timings
    @fal.realtime("/timed")
    async def timed(self, message: Any) -> dict[str, Any]:
        await asyncio.sleep(message["takes"])
        return {"echo": message}

    @emitting_timings
    @fal.realtime("/timed-stream", buffering=ROOMY)
    async def timed_stream(self, message: Any) -> AsyncIterator[Any]:
        for n in range(message["count"]):
            await asyncio.sleep(message["takes"])
            yield {"n": n}

    @fal.endpoint("/ws", is_websocket=True)
    async def plain(self, websocket: WebSocket) -> None:
        """No realtime app: messages come back as they were, and `close <code>` closes."""
        await websocket.accept()
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (text := message.get("text")) is not None and text.startswith("close "):
                await websocket.close(int(text.removeprefix("close ")), "as you wish")
                return
            await websocket.send({**message, "type": "websocket.send"})


Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Any, Any], Awaitable[None]]


def below_app_id(app: AsgiApp) -> AsgiApp:
    """Serve `app` under `/{owner}/{alias}`, as fal's gateway does; other addresses are unknown to it."""
    prefix = f"/{APP}"

    async def wrapped(scope: Scope, receive: Any, send: Any) -> None:
        if "path" in scope:
            path = scope["path"]
            path = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else "/no-such-app"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return wrapped


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets and self.started:
            print(f"LISTENING {sockets[0].getsockname()[1]}", flush=True)


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    # The protocol by name: asyncio turns off the delay of small writes only where it sees it.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app = below_app_id(InteropApp(_allow_init=True)._build_app())
    _Server(uvicorn.Config(app, log_level="warning", lifespan="on")).run(sockets=[listener])


if __name__ == "__main__":
    main()
