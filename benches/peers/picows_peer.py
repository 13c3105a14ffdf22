"""`picows` with `msgspec`: the fastest Python WebSocket client known, in its own callback style and awaited."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from .base import AwaitLink, CallbackLink, Link, Message, Peer, Target, Tick

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


class _CallbackListener(WSListener):
    link: CallbackLink

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            self.link.on_message(decode(frame.get_payload_as_memoryview()))


class _CallbackLink(CallbackLink):
    def __init__(self, transport: WSTransport) -> None:
        super().__init__()
        self.transport = transport

    def post(self, message: Message) -> None:
        self.transport.send(WSMsgType.BINARY, encode(message))

    def step(self, message: Message, tick: Tick) -> Callable[[object], None]:
        # `post` in place: a program that uses picows pays for no function around these two.
        send, binary = self.transport.send, WSMsgType.BINARY

        def step(_: object) -> None:
            tick()
            send(binary, encode(message))

        return step

    async def close(self) -> None:
        self.transport.disconnect()
        await self.transport.wait_disconnected()


class Callback(Peer):
    """A callback for each frame; no queue, no future."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.ssl = target.ssl_context()

    async def open(self) -> CallbackLink:
        transport, listener = await ws_connect(_CallbackListener, self.target.address, ssl_context=self.ssl)
        assert isinstance(listener, _CallbackListener)
        listener.link = _CallbackLink(transport)
        return listener.link


class _QueueListener(WSListener):
    def __init__(self) -> None:
        self.messages: deque[object] = deque()
        self.waiter: asyncio.Future[None] | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            return
        self.messages.append(decode(frame.get_payload_as_memoryview()))
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class _AwaitLink(AwaitLink):
    def __init__(self, transport: WSTransport, listener: _QueueListener) -> None:
        self.transport = transport
        self.listener = listener

    async def send(self, message: Message) -> None:
        self.transport.send(WSMsgType.BINARY, encode(message))

    async def recv(self) -> object:
        listener = self.listener
        if not listener.messages:
            listener.waiter = asyncio.get_running_loop().create_future()
            await listener.waiter
            listener.waiter = None
        return listener.messages.popleft()

    async def close(self) -> None:
        self.transport.disconnect()
        await self.transport.wait_disconnected()


class _FutureListener(WSListener):
    """Results to the futures that wait for them, by `request_id`."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[object]] = {}

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            result = decode(frame.get_payload_as_memoryview())
            future = self.waiting.pop(result["request_id"], None)
            if future is not None and not future.done():
                future.set_result(result)


class _RequestLink(Link):
    def __init__(self, transport: WSTransport, listener: _FutureListener) -> None:
        self.transport = transport
        self.listener = listener
        self.numbers = itertools.count()

    async def roundtrip(self, message: Message) -> object:
        identifier = str(next(self.numbers))
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.listener.waiting[identifier] = future
        self.transport.send(WSMsgType.BINARY, encode({**message, "request_id": identifier}))
        return await future

    async def run(self, message: Message, window: int, tick: Tick) -> None:
        async def one_at_a_time() -> None:
            while True:
                await self.roundtrip(message)
                tick()

        await asyncio.gather(*(one_at_a_time() for _ in range(window)))

    async def close(self) -> None:
        self.transport.disconnect()
        await self.transport.wait_disconnected()


class Request(Peer):
    """A dict of futures, which is what `request` does elsewhere."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.ssl = target.ssl_context()

    async def open(self) -> Link:
        transport, listener = await ws_connect(_FutureListener, self.target.address, ssl_context=self.ssl)
        assert isinstance(listener, _FutureListener)
        return _RequestLink(transport, listener)


class Await(Peer):
    """The least that `await recv()` needs on top: a deque, and a future when it is empty."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.ssl = target.ssl_context()

    async def open(self) -> AwaitLink:
        transport, listener = await ws_connect(_QueueListener, self.target.address, ssl_context=self.ssl)
        assert isinstance(listener, _QueueListener)
        return _AwaitLink(transport, listener)
