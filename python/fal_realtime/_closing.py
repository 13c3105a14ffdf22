"""The end of a connection, as users see it: what `close` gives, callbacks that run for too long, and its repr."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from ._exceptions import ForkedProcessError

if TYPE_CHECKING:
    import asyncio

    from . import _core


class Closing(Awaitable[None]):
    """What `close` gives: awaited, it waits as `aclose` does; not awaited, it is nothing."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        self._wait = wait

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()


async def cancel_callbacks(running: set[asyncio.Task[Any]], message: str, *about: object) -> None:
    """Cancel asynchronous callbacks that run for too long, and log it as `message % about`."""
    import asyncio
    import logging

    for task in running:
        task.cancel()
    logging.getLogger("fal_realtime").warning(message, *about)
    # A callback may take a moment to end, but not for ever.
    await asyncio.wait(running, timeout=1)


def describe_state(connection: _core.Connection | _core.SyncConnection) -> str:
    """The state for a repr, which must not raise in a forked child either."""
    try:
        return connection.state
    except ForkedProcessError:
        return "of the parent process"
