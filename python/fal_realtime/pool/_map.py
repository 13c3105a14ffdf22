"""What `Pool.map` gives: the outcomes of many inputs, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from fal_realtime import _checks as check
from fal_realtime._functions import is_async

from ._outcome import Outcome, Progress
from ._run import Plan, Run

if TYPE_CHECKING:
    from typing_extensions import Self


class Map(AsyncIterator[Outcome]):
    """The outcomes of many inputs; made by `Pool.map`.

        async for outcome in pool.map(inputs):
            ...

    Leaving the iteration early, by `break`, an exception or a cancellation, cancels what is under way. With `async
    with`, or after `aclose()`, that is over when it is left; else in the next turns of the loop.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._is_closed = False
        self._is_awaited = False

    @property
    def progress(self) -> Progress:
        """How far it is, at this instant."""
        return self._run.progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        """Give the next outcome; the first call begins.

        Raises:
            Exception: What the iterable of the inputs raised, after all outcomes; or why the pool cannot go on.
            RuntimeError: Another task waits for the next outcome already.
        """
        if self._is_awaited:
            message = "another task waits for the next outcome of this map: take them in one"
            raise RuntimeError(message)
        self._is_awaited = True
        run = self._run
        try:
            run.start()
            while not self._is_closed:
                if (outcome := run.take()) is not None:
                    return outcome
                if run.is_over():
                    break
                await run.changed()
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._is_awaited = False
        if not self._is_closed:
            self._is_closed = True
            if run.error is not None:
                raise run.error
        raise StopAsyncIteration

    def take_nowait(self) -> Outcome | None:
        """Give the next outcome if it is there already, or None."""
        return None if self._is_closed else self._run.take()

    async def aclose(self) -> None:
        """End it: nothing more is pulled, what is under way is cancelled. Returns when no task is left."""
        self._is_closed = True
        self._run.end()
        await self._run.ended()

    async def __aenter__(self) -> Self:
        """Give itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        await self.aclose()

    def __del__(self) -> None:
        # The garbage collector may run in any thread.
        run = self._run
        if run.loop is not None and not run.is_over():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                run.loop.call_soon_threadsafe(run.end)


def iterator_of(inputs: object) -> tuple[Any, int | None]:
    """What gives the inputs one by one, and how many there are, where that is known.

    Raises:
        TypeError: It is nothing that gives inputs.
    """
    kind = type(inputs).__name__
    if isinstance(inputs, (str, bytes, bytearray, memoryview, Mapping)):
        message = f"inputs must be an iterable of inputs, not one {kind}: put it into a list"
        raise TypeError(message)
    total = len(inputs) if isinstance(inputs, Sized) else None
    if isinstance(inputs, AsyncIterable):
        return aiter(cast("AsyncIterable[object]", inputs)), total
    if isinstance(inputs, Iterable):
        return iter(cast("Iterable[object]", inputs)), total
    message = f"inputs must be an iterable, or an asynchronous iterable, of inputs, not {kind}"
    raise TypeError(message)


def plan_for(
    room: int,
    total: int | None,
    window: int | None,
    on_progress: Callable[[Progress], object] | None,
    *,
    ordered: bool,
) -> Plan:
    """Check what a `map` is told."""
    check.boolean("ordered", ordered)
    check.callable_or_none("on_progress", on_progress)
    if is_async(on_progress):
        message = "on_progress must be a plain function, not a coroutine function"
        raise TypeError(message)
    if window is None:
        window = 4 * room
    check.integer("window", window, at_least=1)
    workers = min(room, window) if total is None else min(room, window, max(1, total))
    return Plan(workers, window, ordered, total, on_progress)
