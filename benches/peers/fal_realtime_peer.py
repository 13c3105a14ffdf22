"""This client, through its public API alone: callback, `recv`, `request` and blocking."""

from __future__ import annotations

import asyncio
from typing import Any

import fal_realtime

from .base import AwaitLink, CallbackLink, Link, Message, Peer, SyncLink, SyncPeer, Target, Tick


def options_for(target: Target) -> dict[str, Any]:
    """The client's options."""
    options: dict[str, Any] = {"credentials": "bench:key", "base_url": target.url, "rest_url": target.rest_url}
    if target.ca_file:
        options["ssl"] = target.ca_file
    return options


class _CallbackLink(CallbackLink):
    def attach(self, connection: Any) -> None:
        self.connection = connection
        self.post = connection.send_nowait

    def on_result(self, result: object) -> None:
        self.on_message(result)

    async def fill(self, message: Message, window: int) -> None:
        for _ in range(window):
            await self.connection.send(message)

    async def close(self) -> None:
        await self.connection.aclose()


class _RecvLink(AwaitLink):
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.send = connection.send
        self.recv = connection.recv

    async def close(self) -> None:
        await self.connection.aclose()


class _RequestLink(Link):
    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def roundtrip(self, message: Message) -> object:
        return await self.connection.request(message)

    async def run(self, message: Message, window: int, tick: Tick) -> None:
        # Each request carries its own id, so the fixed one of the message must go.
        message = {key: value for key, value in message.items() if key != "request_id"}
        request = self.connection.request

        async def one_at_a_time() -> None:
            while True:
                await request(message)
                tick()

        await asyncio.gather(*(one_at_a_time() for _ in range(window)))

    async def close(self) -> None:
        await self.connection.aclose()


class _OurPeer(Peer):
    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = fal_realtime.RealtimeClient(**options_for(target))

    async def connect(self, **options: Any) -> Any:
        connection = self.client.connect(self.target.app, throttle_interval=0, **options)
        await connection
        return connection


class Callback(_OurPeer):
    """`on_result=` and `send_nowait`."""

    async def open(self) -> Link:
        link = _CallbackLink()
        link.attach(await self.connect(on_result=link.on_result))
        return link


class Recv(_OurPeer):
    """`await send(…)` and `await recv()`."""

    async def open(self) -> Link:
        return _RecvLink(await self.connect())


class Request(_OurPeer):
    """`await request(…)`, matched by `request_id`."""

    async def open(self) -> Link:
        return _RequestLink(await self.connect())


class _SyncLink(SyncLink):
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.send = connection.send
        self.recv = connection.recv

    def close(self) -> None:
        self.connection.close()


class Sync(SyncPeer):
    """The blocking client."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = fal_realtime.SyncRealtimeClient(**options_for(target))

    def open(self) -> SyncLink:
        connection = self.client.connect(self.target.app, throttle_interval=0)
        return _SyncLink(self.resources.enter_context(connection))
