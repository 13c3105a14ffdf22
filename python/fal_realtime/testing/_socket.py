"""The client's side of a session of a `LocalServer`, as uvicorn gives it to an application."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

_END = object()
"""The end of the messages."""

_NORMAL_CLOSE = 1000


class Disconnected(Exception):  # noqa: N818 - it is no error, but how a session ends
    """The client is gone."""


class Native(Protocol):
    """What a session needs of the native server."""

    def send_to(self, session: int, message: bytes | str, /) -> bool:
        """Send a message; False when nothing more must be sent before a `writable` or `closed`."""
        ...

    def close_session(self, session: int, code: int, reason: str, /) -> None:
        """Begin the closing handshake."""

    def end_session(self, session: int, /) -> None:
        """End the connection without it."""

    def inputs_taken(self, session: int, /) -> None:
        """Read on."""


class Socket:
    """The client's side of a session, as a server's WebSocket is to its application."""

    def __init__(self, native: Native, session: int) -> None:
        self._native = native
        self._session = session
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = False
        self._closed = False

    # What the native server tells.

    def received(self, messages: list[bytes | str]) -> None:
        """Take what one read brought."""
        for message in messages:
            self._received.put_nowait(message)

    def writable(self) -> None:
        """The client takes more."""
        self._writable.set()

    def disconnected(self) -> None:
        """The client is gone."""
        self._gone = True
        self._received.put_nowait(_END)
        self._writable.set()

    # What the session asks for.

    async def receive(self) -> bytes:
        """The next message, which must be binary."""
        message = await self.receive_any()
        if isinstance(message, str):
            # A text message has no bytes.
            raise KeyError("bytes")  # noqa: EM101 - it names the key
        return message

    async def receive_any(self) -> bytes | str:
        """The next message, binary or text."""
        message: bytes | str | object = await self._received.get()
        if not isinstance(message, (bytes, str)):
            raise Disconnected
        if self._received.empty():
            self._native.inputs_taken(self._session)
        return message

    async def send(self, message: bytes | str) -> None:
        """Send a message, when the client has taken enough of those before."""
        await self._writable.wait()
        if self._gone or self._closed:
            raise Disconnected
        if not isinstance(message, (bytes, str)):
            explanation = f"Can't send message of type {type(message)}"
            raise TypeError(explanation)
        if not self._native.send_to(self._session, message):
            self._writable.clear()
            if self._gone:
                self._writable.set()

    async def close(self, code: int = _NORMAL_CLOSE, reason: str = "") -> None:
        """Close, normally unless there is another code."""
        await self._writable.wait()
        self._closed = True
        self._native.close_session(self._session, code, reason)

    def end(self) -> None:
        """Close without a close frame."""
        self._closed = True
        self._native.end_session(self._session)
