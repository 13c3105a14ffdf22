"""Ports that are known before anybody listens at them."""

from __future__ import annotations

import socket
import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class HeldPort:
    """A port of 127.0.0.1 that the system gives to nobody else who asks for any.

    Who binds it by its number, with SO_REUSEADDR as servers do, can listen at it; until then connecting is refused. On
    other systems than Linux it is free, and may be given to another program.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
