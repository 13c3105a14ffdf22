"""Work that blocks, in threads that a command does not wait for when it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from fal_realtime._threads import start

T = TypeVar("T")

_AHEAD = 16
"""What is read ahead at most: inputs may be whole films."""


async def call(function: Callable[[], T]) -> T:
    """What the function gives; unlike with `asyncio.to_thread`, leaving the loop does not wait for its end."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def give(value: T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # what it gave

    def work() -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(give, value, error)

    start(threading.Thread(target=work, name="fal-realtime-background", daemon=True))
    return await result


async def each(source: Iterable[T]) -> AsyncIterator[T]:
    """What an iterable gives that blocks, such as one that reads a pipe."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[tuple[T | None, BaseException | None]] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)

    def work() -> None:
        # Ends with the loop: a thread that waits for room then waits on, and ends with the process.
        with contextlib.suppress(RuntimeError):
            try:
                for value in source:
                    room.acquire()
                    loop.call_soon_threadsafe(ready.put_nowait, (value, None))
            except BaseException as error:  # noqa: BLE001 - it is raised to whoever takes them
                loop.call_soon_threadsafe(ready.put_nowait, (None, error))
            else:
                loop.call_soon_threadsafe(ready.put_nowait, (None, StopAsyncIteration()))

    start(threading.Thread(target=work, name="fal-realtime-background", daemon=True))
    while True:
        value, error = await ready.get()
        if isinstance(error, StopAsyncIteration):
            return
        if error is not None:
            raise error
        room.release()
        yield value  # type: ignore[misc]  # without an error it is one
