"""Waits for a condition, bounded: no test sleeps and hopes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_PATIENCE = 10.0


def _loops() -> list[Any]:
    loops = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not on every platform

        loops.append(pytest.param(uvloop.new_event_loop, id="uvloop"))
    return loops


LOOPS = _loops()
"""Makers of event loops, as parameters of a test."""


def run_in(new_loop: Callable[[], asyncio.AbstractEventLoop], work: Coroutine[Any, Any, T], timeout: float = 20) -> T:
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
            loop.run_until_complete(asyncio.wait(rest, timeout=5))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


async def until(condition: Callable[[], object], what: str, timeout: float = _PATIENCE) -> None:
    """Returns as soon as the condition holds; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        await asyncio.sleep(0.005)


def until_sync(condition: Callable[[], object], what: str, timeout: float = _PATIENCE) -> None:
    """The same without a loop."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.005)
