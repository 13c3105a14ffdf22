"""Calls `on_open`, in contextvars that say so: what is sent in them goes before all else that waits for the opening."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from ._delivery import is_cancelled
from ._exceptions import ConnectionClosedError
from ._threads import tell_nobody

CURRENT: ContextVar[object] = ContextVar("fal_realtime_opening")
"""The native core's mark of the opening that `on_open` is called for."""


def on_loop(on_open: Callable[[Any], object], opening: object) -> Callable[[Any], Awaitable[None]]:
    """What calls it on the event loop; what it raises goes to the loop's exception handler."""

    async def call(connection: Any) -> None:
        CURRENT.set(opening)
        try:
            returned = on_open(connection)
            if inspect.isawaitable(returned):
                await returned
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled(error):
                raise
            # Reported with its traceback, and the opening goes on.
            if not _is_end_of_own(connection, error):
                message = f"on_open of the connection to {connection.app} raised"
                asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
        await connection._encoded_so_far()  # noqa: SLF001 - the same connection's

    return call


def in_thread(on_open: Callable[[Any], object], opening: object) -> Callable[[Any], None]:
    """What calls it in a thread; what it raises goes to `threading.excepthook`."""

    def call(connection: Any) -> None:
        CURRENT.set(opening)
        try:
            returned = on_open(connection)
            if inspect.iscoroutine(returned):
                returned.close()
                message = "on_open returned a coroutine, which SyncRealtimeClient cannot await: use RealtimeClient"
                raise TypeError(message)  # noqa: TRY301 - reported like all that it raises
        except BaseException as error:  # noqa: BLE001 - reported with its traceback, and the opening goes on
            if not _is_end_of_own(connection, error):
                tell_nobody(error)

    return call


def _is_end_of_own(connection: Any, error: BaseException) -> bool:
    """Whether the caller has closed the connection, of which a call of `on_open` heard: that is no news."""
    return isinstance(error, ConnectionClosedError) and connection._is_closed_by_caller  # noqa: SLF001 - the same connection's


def done(returned: object) -> None:
    """What it returned is nobody's business."""
