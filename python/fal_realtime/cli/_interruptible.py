"""Ctrl-C in a program of asyncio, as Python has it from 3.11 on: it cancels the main task."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`; before Python 3.11 that raises wherever the loop is, and may leave a task that nobody wakes."""
    on_its_own = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if sys.version_info >= (3, 11) or sys.platform == "win32" or on_its_own:
        return asyncio.run(work)
    interrupted = False

    async def main() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt() -> None:
            nonlocal interrupted
            if interrupted or task is None:
                raise KeyboardInterrupt
            interrupted = True
            task.cancel()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            return await work
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
