"""What every client looks like to the benchmark: a peer opens links, a link makes round trips."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Tick = Callable[[], None]
"""Called once for each result."""


@dataclass(frozen=True)
class Target:
    """Where the echo server is."""

    url: str
    """`ws://host:port` or `wss://host:port`."""
    rest_url: str
    """`http://host:port`, where tokens are made."""
    app: str
    """`local/echo`, or `local/image` which answers with the realistic image result."""
    ca_file: str | None
    """The CA to trust, with `wss` alone."""

    @property
    def address(self) -> str:
        """The full WebSocket address, for clients that do not build it themselves."""
        return f"{self.url}/{self.app}/realtime"

    def ssl_context(self) -> ssl.SSLContext | None:
        """A TLS context for clients that take Python's."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None


class Link(ABC):
    """One open connection."""

    @abstractmethod
    async def roundtrip(self, message: Message) -> object:
        """Send one message and return its decoded result. Not to be mixed with `run` at the same time."""

    @abstractmethod
    async def run(self, message: Message, window: int, tick: Tick) -> None:
        """Keep `window` messages in flight, call `tick` for each decoded result, until cancelled."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connection."""


class AwaitLink(Link):
    """A connection that is used as `await send(…)` and `await recv()`.

    Where a client's own method does that, it is taken itself: a function around it would be measured too.
    """

    send: Callable[[Message], Awaitable[object]]
    """Encode and send."""
    recv: Callable[[], Awaitable[object]]
    """Receive and decode."""

    async def roundtrip(self, message: Message) -> object:
        await self.send(message)
        return await self.recv()

    async def run(self, message: Message, window: int, tick: Tick) -> None:
        send, recv = self.send, self.recv
        for _ in range(window):
            await send(message)
        while True:
            await recv()
            tick()
            await send(message)


class CallbackLink(Link):
    """A connection that calls back with each decoded result."""

    on_message: Callable[[object], None]
    post: Callable[[Message], object]
    """Encode and send, without waiting. As with `AwaitLink`, the client's own method if there is one."""

    def __init__(self) -> None:
        self.on_message = self.ignore

    def ignore(self, message: object) -> None:
        """Take a result that nobody waits for any more."""

    def step(self, message: Message, tick: Tick) -> Callable[[object], None]:
        """What answers each result with the next message."""
        post = self.post

        def step(_: object) -> None:
            tick()
            post(message)

        return step

    async def fill(self, message: Message, window: int) -> None:
        """Put the first `window` messages on their way; a client with a bounded queue waits for room here."""
        for _ in range(window):
            self.post(message)

    async def roundtrip(self, message: Message) -> object:
        result: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.on_message = result.set_result
        self.post(message)
        try:
            return await result
        finally:
            self.on_message = self.ignore

    async def run(self, message: Message, window: int, tick: Tick) -> None:
        self.on_message = self.step(message, tick)
        try:
            await self.fill(message, window)
            await asyncio.get_running_loop().create_future()
        finally:
            self.on_message = self.ignore


class Peer(ABC):
    """One client library in one style, bound to one server."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @abstractmethod
    async def open(self) -> Link:
        """Open one connection; it is ready when this returns."""

    async def close(self) -> None:  # noqa: B027 (most have nothing to close)
        """Release what the client holds beside its connections."""


class SyncLink(ABC):
    """One open connection of a blocking client."""

    send: Callable[[Message], object]
    """Encode and send."""
    recv: Callable[[], object]
    """Receive and decode, blocking."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def roundtrip(self, message: Message) -> object:
        """Send one message and return its decoded result."""
        self.send(message)
        return self.recv()


class SyncPeer(ABC):
    """A blocking client, bound to one server."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.resources = contextlib.ExitStack()

    @abstractmethod
    def open(self) -> SyncLink:
        """Open one connection; it is ready when this returns."""

    def close(self) -> None:
        """Release what the client holds beside its connections."""
        self.resources.close()
