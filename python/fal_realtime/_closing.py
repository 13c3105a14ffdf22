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


async def give_up_callbacks(
    app: str, running: set[asyncio.Task[Any]], close_timeout: float, results: int, others: int
) -> None:
    """Log what callbacks of a connection are not called with, and cancel those that run for too long."""
    import asyncio
    import logging

    logger = logging.getLogger("fal_realtime")
    if running:
        logger.warning(
            "%s: callbacks were cancelled %g s after the end of the connection (close_timeout); "
            "%d results were not delivered, nor %d other events",
            *(app, close_timeout, results, others),
        )
    elif results or others:
        logger.warning(
            "%s: callbacks were not called with %d results and %d other events: "
            "they took more than %g s after the end of the connection (close_timeout)",
            *(app, results, others, close_timeout),
        )
    for task in running:
        task.cancel()
    if running:
        # A callback may take a moment to end, but not for ever.
        await asyncio.wait(running, timeout=1)


def describe_state(connection: _core.Connection | _core.SyncConnection) -> str:
    """The state for a repr, which must not raise in a forked child either."""
    try:
        return connection.state
    except ForkedProcessError:
        return "of the parent process"
