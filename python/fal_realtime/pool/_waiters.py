"""Requests that wait for room, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from fal_realtime._exceptions import RequestTimeoutError

if TYPE_CHECKING:
    from ._member import Member


class Waiters:
    """Gives each place that becomes free to whoever has waited the longest."""

    def __init__(self) -> None:
        self._all: OrderedDict[asyncio.Future[Member], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    async def wait(
        self, timeout: float | None, give_back: Callable[[Member], None], why: Callable[[], Exception | None]
    ) -> Member:
        """Wait for a place; `give_back` takes one that came when nobody wants it any more.

        Raises:
            RequestTimeoutError: None came within `timeout` seconds; its cause is what `why` says.
            Exception: What `fail` was given.
        """
        loop = asyncio.get_running_loop()
        place: asyncio.Future[Member] = loop.create_future()
        self._all[place] = None
        timer = None if timeout is None else loop.call_later(timeout, self._expire, place, timeout, why)
        try:
            return await place
        except asyncio.CancelledError:
            # The place may have come in the same turn of the loop in which this task was cancelled.
            if place.done() and not place.cancelled() and place.exception() is None:
                give_back(place.result())
            raise
        finally:
            self._all.pop(place, None)
            if timer is not None:
                timer.cancel()

    def give(self, member: Member) -> bool:
        """Give a place of this connection to the first one; False where nobody waits."""
        while self._all:
            place = self._all.popitem(last=False)[0]
            if not place.done():
                place.set_result(member)
                return True
        return False

    def fail(self, error: Callable[[], Exception]) -> None:
        """Fail all of them, each with an error of its own."""
        while self._all:
            place = self._all.popitem(last=False)[0]
            if not place.done():
                place.set_exception(error())

    def _expire(self, place: asyncio.Future[Member], timeout: float, why: Callable[[], Exception | None]) -> None:
        if place.done():
            return
        reason = why()
        told = "" if reason is None else f"; the newest opening failed: {reason}"
        error = RequestTimeoutError(f"no connection of the pool had room within {timeout} s{told}")
        error.retryable = error.unprocessed = True
        error.__cause__ = reason
        place.set_exception(error)
