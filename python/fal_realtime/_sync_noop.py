"""The blocking connection that does nothing."""

from __future__ import annotations

from typing import Any, NoReturn

from ._noop import nothing_comes
from ._sync import SyncRealtimeConnection


class SyncNoopConnection(SyncRealtimeConnection[Any, Any]):
    """What `connect(…, client_only=True)` gives on the server side: sends nothing, receives nothing, never opens."""

    def send_nowait(self, input: Any) -> None:
        """Do nothing."""

    def send(self, input: Any, timeout: float | None = None) -> None:
        """Do nothing."""

    def request(
        self, input: Any, timeout: float | None = None, *, retries: int = 0, idempotent: bool = False
    ) -> NoReturn:
        """Raise `ConnectionClosedError`: no answer can come."""
        raise nothing_comes()

    def latest(self, timeout: float | None = None) -> NoReturn:
        """Raise `ConnectionClosedError`: nothing can come."""
        raise nothing_comes()

    def finish(self, timeout: float | None = None) -> None:
        """Close: nothing is under way."""
        self.close()

    def recv(self, timeout: float | None = None) -> NoReturn:
        """Raise `ConnectionClosedError`: nothing can come."""
        raise nothing_comes()

    def __next__(self) -> NoReturn:
        """End the iteration."""
        raise StopIteration

    def open(self) -> None:
        """Do nothing."""

    def drain(self, timeout: float | None = None) -> None:
        """Do nothing: there is nothing to write."""
