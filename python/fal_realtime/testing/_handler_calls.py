"""Calls of a handler, which must not end the server's thread, and the items of what it gave."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from ._threads import in_thread

END = object()
"""The end of an iterator."""


class HandlerExit(BaseException):
    """A handler wanted to end the process, or cancelled itself, or the like: its session ends without a word."""


async def next_or_end(iterator: AsyncIterator[Any]) -> Any:
    """The next item of an iterator, or `END`."""
    try:
        return await anext(iterator)
    except StopAsyncIteration:
        return END


async def in_threads(results: Any) -> AsyncIterator[Any]:
    """The items of a sync iterator, each taken on a thread."""
    while (item := await in_thread(_next, results)) is not END:
        yield item


def _next(iterator: Iterator[Any]) -> Any:
    try:
        return next(iterator)
    except StopIteration:
        return END


async def call(handler: Callable[..., Any], *arguments: Any) -> Any:
    """Call a coroutine function on the loop and any other on a thread, where it may block."""
    if inspect.iscoroutinefunction(handler):
        return await guarded(handler(*arguments))
    return await guarded(in_thread(handler, *arguments))


async def guarded(awaitable: Awaitable[Any]) -> Any:
    """The outcome of a handler's awaitable, which must not end this thread."""
    task = asyncio.current_task()
    try:
        return await awaitable
    except Exception:
        raise
    except asyncio.CancelledError:
        if task is not None and _cancelling(task):
            raise
        raise HandlerExit from None
    except BaseException as error:
        # Thrown in from outside: its coroutine is closed, and so is the handler's.
        if isinstance(error, GeneratorExit) and not _is_current(task):
            raise
        raise HandlerExit from error


def _is_current(task: asyncio.Task[Any] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop runs in this thread
        return False


def _cancelling(task: asyncio.Task[Any]) -> bool:
    """Whether somebody else cancelled the task; where Python cannot say (before 3.11), so it is taken."""
    return sys.version_info < (3, 11) or task.cancelling() > 0
