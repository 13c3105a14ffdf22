"""`Pool.map` for callers without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._outcome import Outcome, Progress

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._loop_thread import LoopThread
    from ._map import Map

_NO_MORE = object()


class Bridge(AsyncIterator[Any]):
    """Has the inputs pulled by whoever takes the outcomes, in their thread, and tells them what has come."""

    def __init__(self) -> None:
        self.events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        """`pull` with the future of the next input, `outcome` with it, and `end` with an exception or None."""

    async def __anext__(self) -> Any:
        given = asyncio.get_running_loop().create_future()
        self.events.put(("pull", given))
        value = await given
        if value is _NO_MORE:
            raise StopAsyncIteration
        return value

    async def tell(self, outcomes: Map) -> None:
        """Put all outcomes on the queue, and the end."""
        try:
            async with outcomes:
                async for outcome in outcomes:
                    self.events.put(("outcome", outcome))
        except BaseException as error:
            self.events.put(("end", error if isinstance(error, Exception) else None))
            if not isinstance(error, Exception):
                raise
        else:
            self.events.put(("end", None))


class SyncMap(Iterator[Outcome]):
    """The outcomes of many inputs; made by `SyncPool.map`, and taken by one thread.

        for outcome in pool.map(inputs):
            ...

    Inputs are pulled in that thread, while it waits for the next outcome. Leaving the iteration early cancels what is
    under way: with `with`, or `close()`, before it is left, else when the map is dropped.
    """

    def __init__(
        self, thread: LoopThread, begin: Callable[[Bridge], Map], inputs: Iterator[Any], owner: object
    ) -> None:
        self._thread = thread
        # The thread ends with it, and nobody else may have it: `for outcome in client.pool(…).map(…)`.
        self._owner = owner
        self._inputs = inputs
        self._bridge = Bridge()
        self._outcomes = begin(self._bridge)
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_awaited = threading.Lock()

    @property
    def progress(self) -> Progress:
        """How far it is, at this instant."""
        return self._thread.call(lambda: self._outcomes.progress)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        """Give the next outcome; the first call begins.

        Raises:
            Exception: What the iterable of the inputs raised, after all outcomes; or why the pool cannot go on.
            ForkedProcessError: The pool belongs to the parent process.
            RuntimeError: Another thread waits for the next outcome already.
        """
        self._thread.check_process()
        if not self._is_awaited.acquire(blocking=False):
            message = "the next outcome of this map is waited for already: take them in one thread"
            raise RuntimeError(message)
        try:
            return self._next()
        finally:
            self._is_awaited.release()

    def _next(self) -> Outcome:
        if self._is_closed:
            raise StopIteration
        if self._task is None:
            self._task = self._thread.run(self._start())
        try:
            while True:
                kind, what = self._bridge.events.get()
                if kind == "outcome":
                    return what  # type: ignore[no-any-return]
                if kind == "end":
                    break
                self._give(what)
        except BaseException:
            self.close()
            raise
        self._is_closed = True
        if what is not None:
            raise what
        raise StopIteration

    def close(self) -> None:
        """End it: nothing more is pulled, what is under way is cancelled. Returns when that is over."""
        if not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(RuntimeError):  # the pool is closed, and this with it
                self._thread.run(self._outcomes.aclose())

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def __del__(self) -> None:
        # Not waited for: the garbage collector may run in any thread, the loop's too.
        if not self._is_closed and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._thread.loop.call_soon_threadsafe(self._task.cancel)

    async def _start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._bridge.tell(self._outcomes))

    def _give(self, wanted: asyncio.Future[Any]) -> None:
        """Pull an input for the loop. What the iterable raises is raised after the outcomes, by the map."""
        try:
            value, error = next(self._inputs, _NO_MORE), None
        except Exception as raised:  # noqa: BLE001 - likewise
            value, error = None, raised

        def give() -> None:
            if wanted.done():
                return
            if error is None:
                wanted.set_result(value)
            else:
                wanted.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the pool was closed meanwhile
            self._thread.loop.call_soon_threadsafe(give)
