"""Waiting for conditions, always bounded."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

LIMIT = 60.0
"""Seconds after which a wait has failed; never reached when all is well."""


async def result_of(awaitable: Awaitable[T]) -> T:
    """What it gives, within the limit."""
    return await asyncio.wait_for(_as_coroutine(awaitable), LIMIT)


async def gather(*awaitables: Awaitable[Any]) -> list[Any]:
    """What they give, within the limit."""
    return await result_of(asyncio.gather(*map(_as_coroutine, awaitables)))


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    # `asyncio.wait_for` and `gather` make tasks of coroutines, not of any awaitable.
    return await awaitable


async def until(condition: Callable[[], object], what: str, timeout: float = LIMIT) -> float:
    """Wait until the condition holds; the seconds that it took. For what tells nobody when it changes."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout, f"{what}: not within {timeout} s"
        await asyncio.sleep(0.002)
    return time.monotonic() - start


def until_sync(condition: Callable[[], object], what: str, timeout: float = LIMIT) -> None:
    """The same without a loop."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.002)


def _loops() -> list[Any]:
    loops = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not on every platform

        loops.append(pytest.param(uvloop.new_event_loop, id="uvloop"))
    return loops


LOOPS = _loops()
"""Makers of event loops, as parameters of a test."""


def run_in(
    new_loop: Callable[[], asyncio.AbstractEventLoop], work: Coroutine[Any, Any, T], timeout: float = LIMIT
) -> T:
    """What `asyncio.run` does, in a loop of the given kind, for at most `timeout` seconds."""
    loop = new_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(asyncio.wait_for(work, timeout))
    finally:
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.wait(rest, timeout=60))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


class Changes:
    """Tells whoever waits, in any thread, that something was recorded."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def note(self, record: Callable[[], Any] = lambda: None) -> None:
        """Record something, then let those who wait look again."""
        with self._changed:
            record()
            self._changed.notify_all()

    def wait(self, condition: Callable[[], Any], timeout: float = LIMIT) -> None:
        """Block until the condition holds. Of the client's changes, of which it may ask too, nobody tells."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition():
                assert time.monotonic() < deadline, "what was waited for did not happen"
                self._changed.wait(0.02)

    async def until(self, condition: Callable[[], Any], timeout: float = LIMIT) -> None:
        """Wait until the condition holds, without blocking the loop."""
        await asyncio.to_thread(self.wait, condition, timeout)


class Log(list[Any]):
    """A callback that keeps what it is called with, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def __call__(self, value: Any) -> None:
        self.append(value)
        self._changed.set()

    async def until(self, condition: Callable[[Log], Any]) -> None:
        """Wait until the condition holds for what was kept."""

        async def hold() -> None:
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

        await result_of(hold())

    async def has(self, count: int) -> list[Any]:
        """Wait for so many entries, and give all there are."""
        await self.until(lambda log: len(log) >= count)
        return list(self)


class Records(logging.Handler):
    """The records of the package, in a list that can be waited for."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.log = Log()
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self.log, record.getMessage())
