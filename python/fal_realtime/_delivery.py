"""Callbacks and decoders: what asynchronous ones return is awaited in a task, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any

from ._core import Connection
from ._exceptions import DecodeError

RUNNING: ContextVar[asyncio.Task[Any] | None] = ContextVar("fal_realtime_running")
"""The task of the callback that runs, for all that it calls, in tasks of its own too."""


class Running(Coroutine[Any, Any, object]):
    """Awaits whatever a callback returned, in a task that may be dropped when its loop ends.

    A loop that is being closed cancels its tasks once, and results may still come afterwards. A coroutine in a task
    that then never runs would be reported as never awaited; this one is closed instead.
    """

    def __init__(self, awaitable: Awaitable[object]) -> None:
        self._awaitable = awaitable
        self._steps: Any = None

    def start(self, loop: asyncio.AbstractEventLoop, eager: bool = False) -> asyncio.Task[object]:
        """The task. `eager`: its first step is taken at once, where Python can do that; it may be all that it needs."""
        if eager and sys.version_info >= (3, 12) and loop.get_task_factory() is None:
            task: asyncio.Task[object] = asyncio.Task(self, loop=loop, eager_start=True)
        else:
            task = loop.create_task(self)
        with contextlib.suppress(AttributeError):  # a task of another kind of loop
            task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - as `asyncio.gather` does
        return task

    def send(self, value: Any) -> Any:
        """Take a step."""
        if self._steps is None:
            RUNNING.set(asyncio.current_task())
            self._steps = self._awaitable.__await__()
        return next(self._steps) if value is None else self._steps.send(value)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Raise in it."""
        if self._steps is None:
            self.close()
            raise kind if value is None else value
        return self._steps.throw(kind) if value is None else self._steps.throw(kind, value, traceback)

    def close(self) -> None:
        """End it, also before its first step."""
        unfinished: Any = self._awaitable if self._steps is None else self._steps
        if hasattr(unfinished, "close"):
            unfinished.close()

    def __await__(self) -> Generator[Any, Any, object]:
        return (yield from self._awaitable.__await__())

    def __del__(self) -> None:
        self.close()


def is_cancelled(error: BaseException) -> bool:
    """Whether it ends the task that runs, which was cancelled, rather than something of its own that it waited for.

    Before Python 3.11 nobody can tell the two apart.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return sys.version_info < (3, 11) or task is None or task.cancelling() > 0


def tell_decoded(connection: Connection) -> Callable[[object], None]:
    """What calls the connection when its decoder is done, without keeping it alive until then."""
    reference = weakref.ref(connection)

    def tell(task: object) -> None:
        alive = reference()
        if alive is not None:
            alive._decoded(task)  # noqa: SLF001 - the native core of the same connection

    return tell


async def decode_then(
    decoding: Awaitable[Any],
    on_result: Callable[[Any], object],
    on_error: Callable[[Any], object] | None,
) -> None:
    """Finish the decoding, then call back; a decoder that raises goes to `on_error`."""
    try:
        result = await decoding
    except (Exception, asyncio.CancelledError) as cause:
        if is_cancelled(cause):
            raise
        error = DecodeError(f"decode_message failed: {type(cause).__name__}: {cause}")
        error.__cause__ = cause
        if on_error is None:
            raise error from cause
        returned = on_error(error)
    else:
        returned = on_result(result)
    if isawaitable(returned):
        await returned
