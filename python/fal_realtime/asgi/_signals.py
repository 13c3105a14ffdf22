"""SIGTERM, which ASGI servers answer by closing all WebSockets before they tell the application that they stop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

_OF_LOOPS = ("asyncio.unix_events", "uvloop.loop")
"""Where the handlers are defined that stand for those of an event loop: calling them does nothing."""


class Termination:
    """Puts a drain before a server's own handling of SIGTERM; a second SIGTERM goes to the server at once.

    A plain handler (`signal.signal`: uvicorn) is called when the drain is done, and so is one of asyncio's own loop
    (`loop.add_signal_handler`: hypercorn, granian). What uvloop has been given cannot be found: it is left alone.
    """

    def __init__(self, drain: Callable[[], Awaitable[None]]) -> None:
        self._drain = drain
        self._task: asyncio.Future[None] | None = None
        self._server_stops: Callable[[], Any] | None = None

    def take(self) -> None:
        """Stand before the handler that is there now; called on the loop, once the server runs."""
        if self._server_stops is not None or threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        # asyncio has no public way to ask for it.
        of_loop = getattr(loop, "_signal_handlers", {}).get(signal.SIGTERM)
        handler = signal.getsignal(signal.SIGTERM)
        if of_loop is not None:
            self._server_stops = lambda: of_loop._callback(*of_loop._args)  # noqa: SLF001 - likewise
            loop.add_signal_handler(signal.SIGTERM, self._begin)
        elif callable(handler) and getattr(handler, "__module__", None) not in _OF_LOOPS:
            self._server_stops = lambda: handler(signal.SIGTERM, None)
            signal.signal(signal.SIGTERM, lambda _number, _frame: _in_loop(loop, self._begin))

    def _begin(self) -> None:
        if self._task is not None and self._server_stops is not None:
            self._server_stops()
        elif self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            await self._drain()
        finally:
            if self._server_stops is not None:
                self._server_stops()


def _in_loop(loop: asyncio.AbstractEventLoop, begin: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(begin)
