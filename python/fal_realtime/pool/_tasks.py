"""The tasks that something owns, so that it can leave none behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Starts tasks, and ends those that are left."""

    def __init__(self) -> None:
        self._all: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it in a task. What it raises is for who awaits the task; it is not reported where nobody does."""
        task = asyncio.get_running_loop().create_task(work)
        self._all.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Cancel all that are left."""
        for task in self._all:
            task.cancel()

    async def ended(self) -> None:
        """Wait until none is left."""
        await asyncio.gather(*self._all, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._all.discard(task)
        if not task.cancelled():
            task.exception()
