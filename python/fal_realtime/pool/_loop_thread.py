"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from fal_realtime._exceptions import ForkedProcessError
from fal_realtime._threads import require_system_threads, start_thread, tell_nobody

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads. It is a daemon thread, which does not keep the process from leaving."""

    def __init__(self, name: str) -> None:
        require_system_threads(
            "a pool of SyncRealtimeClient", "make connections, and their calls in gevent.get_hub().threadpool"
        )
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._thread: int | None = None
        self._ended = threading.Event()
        # What is run before the end is cancelled by it; without it some could come too late for that, and wait for
        # ever. Reentrant: the end may come out of the garbage collector.
        self._lock = threading.RLock()
        try:
            start_thread(self._work, name)
        except BaseException:
            self._loop.close()
            raise

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, for `call_soon_threadsafe`."""
        return self._loop

    def check_process(self) -> None:
        """Raise `ForkedProcessError` where the thread belongs to the parent process."""
        if self._process != os.getpid():
            raise self._not_here()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it, and give its result. Where the wait is interrupted (Ctrl-C), it is cancelled.

        Raises:
            ForkedProcessError: The thread belongs to the parent process.
            RuntimeError: It is called on the loop, which would wait for itself; or the loop has ended.
        """
        if self._process != os.getpid():  # where the lock may be one that nobody will release
            work.close()
            raise self._not_here()
        with self._lock:
            if self._thread == threading.get_ident() or self._ended.is_set():
                work.close()
                raise self._not_here()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            if self._ended.is_set():  # meanwhile, and what ran on the loop with it
                raise self._not_here() from None
            raise
        except BaseException:
            future.cancel()
            raise

    def call(self, ask: Callable[[], T]) -> T:
        """What a function says on the loop, between two of its steps; when the loop has ended, or on it, at once."""
        if self._process != os.getpid() or self._thread == threading.get_ident() or self._ended.is_set():
            return ask()

        async def call() -> T:
            return ask()

        return self.run(call())

    def _not_here(self) -> Exception:
        if self._process != os.getpid():
            return ForkedProcessError("this pool belongs to the parent process: make another one here")
        if self._ended.is_set():
            return RuntimeError("the pool is closed: make a new one")
        return RuntimeError("a callback of a pool cannot wait for that pool: it would wait for itself")

    def end(self) -> None:
        """End the loop, from any thread; what still runs is cancelled."""
        if self._process != os.getpid():
            return
        with self._lock:
            if not self._ended.is_set():
                self._ended.set()
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _work(self) -> None:
        self._thread = threading.get_ident()
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            while not self._ended.is_set():
                self._go_on(loop.run_forever)
            # What is cancelled may begin others, such as one that waits for a late answer.
            while tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                self._go_on(partial(loop.run_until_complete, asyncio.wait(tasks)))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _go_on(self, run: Callable[[], object]) -> None:
        """Run the loop; an exit in one of its callbacks, which leaves it, is not to end what others wait for."""
        try:
            run()
        except (SystemExit, KeyboardInterrupt) as error:
            tell_nobody(error)
        except RuntimeError:
            # An exit came first, and the loop is stopped only now, before what ends it is done: it goes on.
            if not self._ended.is_set():
                raise
