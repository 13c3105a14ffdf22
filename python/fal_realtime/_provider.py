"""Runs token providers: plain functions in a thread of their own, coroutine functions on the connection's loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Protocol

from ._threads import start_thread

_MAX_TOKEN = 16 * 1024
"""Characters: servers take no longer addresses, most of them half of that."""


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
    # A copy: a context can be entered once at a time, and a provider be asked for the tokens of several apps at once.
    context = context.copy()

    def run() -> None:
        try:
            completer.set_result(_checked(context.run(provider, argument)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiting connection must hear of it
            completer.set_error(error)

    start_thread(run, "fal-realtime-token-provider")


class CallOnLoop:
    """A call of an asynchronous provider on a loop, from another thread, until it is done or nobody wants the token."""

    def __init__(
        self,
        provider: Callable[[str], Awaitable[Any]],
        argument: str,
        loop: asyncio.AbstractEventLoop,
        completer: Completer,
    ) -> None:
        self._provider = provider
        self._argument = argument
        self._loop = loop
        self._completer = completer
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
            self._completer.set_result(_checked(await self._provider(self._argument)))
        except BaseException as error:
            self._completer.set_error(error)
            # A cancelled task is to be seen as one, and an exit to leave the loop.
            if not isinstance(error, Exception):
                raise


def _checked(token: object) -> str:
    if isinstance(token, str):
        if not token:
            message = "token_provider must not return an empty str"
            raise ValueError(message)
        if len(token) > _MAX_TOKEN:
            message = f"token_provider returned a token of {len(token)} characters; at most {_MAX_TOKEN} fit an address"
            raise ValueError(message)
        return token
    if inspect.iscoroutine(token):
        token.close()
        message = "token_provider returned a coroutine; declare it with `async def`, so that it is awaited on your loop"
        raise TypeError(message)
    message = f"token_provider must return a str, not {type(token).__name__}"
    raise TypeError(message)
