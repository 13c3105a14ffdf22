"""Runs token providers: plain functions in a thread of their own, coroutine functions on the connection's loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Protocol


class Completer(Protocol):
    """The native end that waits for the token."""

    def set_result(self, token: str, /) -> None:
        """Hand over the token."""

    def set_error(self, error: BaseException, /) -> None:
        """Report that there is none."""


def call_in_thread(provider: Callable[[str], Any], argument: str, context: Context, completer: Completer) -> None:
    """Call `provider(argument)` in a daemon thread, within `context`, and hand its outcome to `completer`.

    A thread of its own, and not an executor's: providers are rare, may block for long, and must not hold up the exit.
    """

    def run() -> None:
        try:
            # A copy: a context can be entered once at a time, and one provider may be asked for several apps at once.
            token = _checked(context.copy().run(provider, argument))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiting connection must hear of it
            completer.set_error(error)
        else:
            completer.set_result(token)

    threading.Thread(target=run, name="fal-realtime-token-provider", daemon=True).start()


class CancellableCall:
    """What an asynchronous provider returned, awaited on its loop until it is done or nobody wants the token."""

    def __init__(self, awaitable: Awaitable[object], loop: asyncio.AbstractEventLoop) -> None:
        self._awaitable = awaitable
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._is_cancelled = False

    async def run(self) -> object:
        """Await it."""
        self._task = asyncio.current_task()
        if self._is_cancelled and self._task is not None:
            self._task.cancel()
        return await self._awaitable

    def cancel(self) -> None:
        """Cancel it; called by any thread."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _cancel(self) -> None:
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()


def _checked(token: object) -> str:
    if isinstance(token, str):
        if not token:
            message = "token_provider must not return an empty str"
            raise ValueError(message)
        return token
    if inspect.iscoroutine(token):
        token.close()
        message = "token_provider returned a coroutine; declare it with `async def`, so that it is awaited on your loop"
        raise TypeError(message)
    message = f"token_provider must return a str, not {type(token).__name__}"
    raise TypeError(message)
