"""Blocking connections on which messages pass as they are."""

from __future__ import annotations

from typing import NoReturn

from . import _core
from ._native import native
from ._raw import NO_REQUEST
from ._sync import SyncRealtimeConnection


class SyncRawConnection(SyncRealtimeConnection["bytes | bytearray | memoryview | str", "bytes | str"]):
    """A WebSocket whose messages pass as they are, in blocking form: see `RawConnection`."""

    @native(_core.SyncConnection)
    def send_nowait(self, input: bytes | bytearray | memoryview | str) -> None:
        """Accept a message without waiting; the first one opens the connection.

        Raises:
            BufferFullError: The queue is full and there is no `max_buffering`.
            MessageTooLargeError: It is larger than `max_message_size`.
            ConnectionClosedError: The connection is closed; or the error that closed it.
            TypeError: It is no message.
        """

    @native(_core.SyncConnection)
    def send(self, input: bytes | bytearray | memoryview | str, timeout: float | None = None) -> None:
        """Accept a message, waiting for room in the outgoing queue; the first one opens the connection.

        Raises:
            RequestTimeoutError: No room within `timeout` seconds.
            MessageTooLargeError: It is larger than `max_message_size`.
            ConnectionClosedError: The connection is closed; or the error that closed it.
            TypeError: It is no message.
        """

    @native(_core.SyncConnection)
    def recv(self, timeout: float | None = None) -> bytes | str:  # type: ignore[empty-body] # the native method
        """Give the next message.

        Raises:
            RequestTimeoutError: None came within `timeout` seconds.
            ConnectionClosedError: The connection is closed and all messages are taken.
            RuntimeError: Messages go to `on_result`.
        """

    @native(_core.SyncConnection)
    def latest(self, timeout: float | None = None) -> bytes | str:  # type: ignore[empty-body] # the native method
        """Give the newest message and drop older ones, see `SyncRealtimeConnection.latest`."""

    def request(
        self, input: object, timeout: float | None = None, *, retries: int = 0, idempotent: bool = False
    ) -> NoReturn:
        """Raise `RuntimeError`: which message answers which is not known here."""
        raise RuntimeError(NO_REQUEST)
