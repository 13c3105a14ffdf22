"""The connection that does nothing, and what it says of that."""

from __future__ import annotations

from typing import Any, NoReturn

from ._connection import RealtimeConnection
from ._exceptions import ConnectionClosedError


class NoopConnection(RealtimeConnection[Any, Any]):
    """What `connect(…, client_only=True)` gives on the server side: sends nothing, receives nothing, never opens."""

    def send_nowait(self, input: Any) -> None:
        """Do nothing."""

    async def send(self, input: Any) -> None:
        """Do nothing."""

    async def request(
        self, input: Any, *, timeout: float | None = None, retries: int = 0, idempotent: bool = False
    ) -> NoReturn:
        """Raise `ConnectionClosedError`: no answer can come."""
        raise nothing_comes()

    async def recv(self, *, timeout: float | None = None) -> NoReturn:
        """Raise `ConnectionClosedError`: nothing can come."""
        raise nothing_comes()

    async def latest(self, *, timeout: float | None = None) -> NoReturn:
        """Raise `ConnectionClosedError`: nothing can come."""
        raise nothing_comes()

    async def finish(self, timeout: float | None = None) -> None:
        """Close: nothing is under way."""
        await self.aclose()

    async def __anext__(self) -> NoReturn:
        """End the iteration."""
        raise StopAsyncIteration

    async def open(self) -> None:
        """Do nothing."""

    async def drain(self) -> None:
        """Do nothing: there is nothing to write."""


def nothing_comes() -> ConnectionClosedError:
    """The error of a connection that does nothing."""
    message = "nothing can be received on the server side: this connection was made with client_only=True"
    return ConnectionClosedError(message, 1000, "client_only")
