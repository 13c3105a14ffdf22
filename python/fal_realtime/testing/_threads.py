"""Calls that may block, of the handlers of a `LocalServer`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from fal_realtime._threads import start


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call on a daemon thread of its own: the executor's threads would be waited for at the process's exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = function(*arguments)
        except StopIteration as raised:  # which no future takes
            error = RuntimeError("the function raised StopIteration")
            error.__cause__ = raised
        except BaseException as raised:  # noqa: BLE001 - belongs to whoever awaits it
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    start(threading.Thread(target=run, name="fal-local-handler", daemon=True))
    return await future
