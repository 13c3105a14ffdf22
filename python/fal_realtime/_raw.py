"""Connections on which messages pass as they are."""

from __future__ import annotations

from typing import NoReturn

from . import _core
from ._connection import RealtimeConnection
from ._native import native

NO_REQUEST = "a raw connection cannot match answers to requests: use send and recv"


class RawConnection(RealtimeConnection["bytes | bytearray | memoryview | str", "bytes | str"]):
    """A WebSocket whose messages pass as they are; made by `RealtimeClient.connect_raw`, or `connect(…, raw=True)`.

    `bytes` is a binary message, `str` a text message, in both directions.
    """

    @native(_core.Connection)
    def send_nowait(self, input: bytes | bytearray | memoryview | str) -> None:
        """Accept a message without waiting, from any thread; the first one opens the connection.

        Raises:
            BufferFullError: The queue is full and there is no `max_buffering`.
            MessageTooLargeError: It is larger than `max_message_size`.
            ConnectionClosedError: The connection is closed; or the error that closed it.
            TypeError: It is no message.
        """

    @native(_core.Connection)
    async def send(self, input: bytes | bytearray | memoryview | str) -> None:
        """Accept a message, waiting for room in the outgoing queue; the first one opens the connection.

        Raises:
            MessageTooLargeError: It is larger than `max_message_size`.
            ConnectionClosedError: The connection is closed; or the error that closed it.
            TypeError: It is no message.
        """

    @native(_core.Connection)
    async def recv(self, *, timeout: float | None = None) -> bytes | str:  # type: ignore[empty-body] # the native method
        """Give the next message, within `timeout` seconds. Neither the timeout nor cancelling it loses anything.

        Raises:
            RequestTimeoutError: None came in time.
            ConnectionClosedError: The connection is closed and all messages are taken.
            RuntimeError: Messages go to `on_result`.
        """

    @native(_core.Connection)
    async def latest(self, *, timeout: float | None = None) -> bytes | str:  # type: ignore[empty-body] # the native method
        """Give the newest message and drop older ones, see `RealtimeConnection.latest`."""

    async def request(
        self, input: object, *, timeout: float | None = None, retries: int = 0, idempotent: bool = False
    ) -> NoReturn:
        """Raise `RuntimeError`: which message answers which is not known here."""
        raise RuntimeError(NO_REQUEST)
