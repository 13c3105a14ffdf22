"""Calls that native code waits for: plain functions in a thread of their own, coroutine functions on a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Protocol

from ._exceptions import FalRealtimeError
from ._threads import start_thread


class Completer(Protocol):
    """The native end that waits for the outcome."""

    def set_result(self, result: object, /) -> None:
        """Hand over what was returned."""

    def set_error(self, error: BaseException, /) -> None:
        """Report what was raised."""


def call_in_thread(
    function: Callable[[Any], Any],
    argument: object,
    context: Context,
    completer: Completer,
    check: Callable[[Any], object],
) -> None:
    """Call `function(argument)` in a daemon thread, within `context`, and hand what `check` makes of it to `completer`.

    A thread of its own, and not an executor's: such calls are rare, may block for long, and must not hold up the exit.
    """
    # A copy: a context can be entered once at a time, and a provider be asked for the tokens of several apps at once.
    context = context.copy()

    def run() -> None:
        try:
            completer.set_result(check(context.run(function, argument)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiting connection must hear of it
            completer.set_error(error)

    start_thread(run, "fal-realtime-callable")


def calls_hang(count: int) -> FalRealtimeError:
    """Give the error of a plain function that is not called again. It may pass: they may return."""
    failure = FalRealtimeError(
        f"{count} earlier calls of it have not returned, and a plain function cannot be cancelled: give what it waits "
        "for a timeout, or declare it with `async def`"
    )
    failure.retryable = True
    return failure


class CallOnLoop:
    """A call of a coroutine function on a loop, from another thread, until it is done or nobody wants its outcome."""

    def __init__(
        self,
        function: Callable[[Any], Awaitable[Any]],
        argument: object,
        loop: asyncio.AbstractEventLoop,
        completer: Completer,
        check: Callable[[Any], object],
    ) -> None:
        self._function = function
        self._argument = argument
        self._loop = loop
        self._completer = completer
        self._check = check
        self._task: asyncio.Task[None] | None = None

    def start(self, context: Context) -> None:
        """Let the loop make the call, within a copy of `context`: one can be entered once at a time."""
        self._loop.call_soon_threadsafe(self._start, context=context.copy())

    def cancel(self) -> None:
        """Cancel it."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())

    def _cancel(self) -> None:
        # The loop keeps the order of the two.
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            self._completer.set_result(self._check(await self._function(self._argument)))
        except BaseException as error:
            self._completer.set_error(error)
            # A cancelled task is to be seen as one, and an exit to leave the loop.
            if not isinstance(error, Exception):
                raise
