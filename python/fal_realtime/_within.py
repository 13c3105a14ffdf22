"""Waiting for something, for a time.

asyncio's own `wait_for` swallows a cancellation, before Python 3.12, that comes when what it waits for has just been
done: a task that was cancelled then runs on as if it had not been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Wait for `work` in a task of its own, which is cancelled if it takes longer, or whoever waits is cancelled.

    A cancellation is raised whatever has become of the work.

    Args:
        seconds: The time it may take; None: any.
        work: What is waited for.

    Raises:
        asyncio.TimeoutError: It took longer.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        is_late = task.cancel()
        if is_late:
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # whoever was cancelled does not ask for it
    if is_late and task.cancelled():
        raise asyncio.TimeoutError
    return task.result()
