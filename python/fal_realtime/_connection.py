"""The connection as users see it: the native one, with the few things that Python says better."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from . import _core
from ._exceptions import ConnectionClosedError, ForkedProcessError

if TYPE_CHECKING:
    from typing_extensions import Self


class RealtimeConnection(_core.Connection):
    """A session with a realtime app; made by `RealtimeClient.connect`, and used from one event loop.

    It opens on the first `send`, or at once where it is awaited or entered:

        connection = await client.connect(app)

        async with client.connect(app) as connection:
            await connection.send({"prompt": "a cat"})
            async for result in connection:
                ...

    Sending, receiving, `request`, `drain`, `state` and `stats` are the native ones: no Python frame stands between the
    caller and them.
    """

    _forget: Callable[[], None] | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        """Open, and give the connection itself; raises what the opening raised."""
        return self._open_or_close().__await__()

    async def __aenter__(self) -> Self:
        """Open; raises what the opening raised."""
        return await self._open_or_close()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, and wait until it is done; what has not been written by then fails (see `drain`)."""
        await self.aclose()

    def close(self) -> None:
        """Begin to close with code 1000, from any state; what is not written fails. Calling it again does nothing."""
        super().close()
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()

    async def aclose(self) -> None:
        """Close, and wait until it is done, at most `close_timeout` seconds, and the callbacks have heard of it."""
        self.close()
        await self.wait_closed()
        # The caller may let go of the connection now, and with it of what the callbacks have not been told yet.
        while self._deliver():  # noqa: ASYNC110 - it delivers, and lets others have their turn
            await asyncio.sleep(0)

    async def _open_or_close(self) -> Self:
        try:
            await self.open()
        except BaseException:
            # Nobody will own it: a failed or cancelled opening must not leave a socket, which would be billed.
            self.close()
            raise
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app} {describe_state(self)}>"


class NoopConnection(RealtimeConnection):
    """What `connect(…, client_only=True)` gives on the server side: sends nothing, receives nothing, never opens."""

    def send_nowait(self, input: Any) -> None:
        """Do nothing."""

    async def send(self, input: Any) -> None:
        """Do nothing."""

    async def request(self, input: Any, *, timeout: float | None = None) -> NoReturn:
        """Raise `ConnectionClosedError`: no answer can come."""
        raise nothing_comes()

    async def recv(self) -> NoReturn:
        """Raise `ConnectionClosedError`: nothing can come."""
        raise nothing_comes()

    async def __anext__(self) -> NoReturn:
        """End the iteration."""
        raise StopAsyncIteration

    async def open(self) -> None:
        """Do nothing."""

    async def drain(self) -> None:
        """Do nothing: there is nothing to write."""


def describe_state(connection: _core.Connection | _core.SyncConnection) -> str:
    """The state for a repr, which must not raise in a forked child either."""
    try:
        return connection.state
    except ForkedProcessError:
        return "of the parent process"


def nothing_comes() -> ConnectionClosedError:
    """The error of a connection that does nothing."""
    message = "nothing can be received on the server side: this connection was made with client_only=True"
    return ConnectionClosedError(message, 1000, "client_only")
