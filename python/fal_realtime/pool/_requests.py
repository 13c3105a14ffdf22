"""The requests of a pool, from the call to the result: attempts, accounts, and the wait for the last one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import ConnectionClosedError, FalRealtimeError, RequestTimeoutError
from fal_realtime._retrying import Attempts

if TYPE_CHECKING:
    from ._members import Members


class Tally:
    """Counts the attempts of one request."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = 0
        """How often the input was given to a connection."""


class Requests:
    """Sends inputs over the connections of a pool, and counts what becomes of them."""

    def __init__(self, members: Members) -> None:
        self.takes_more = True
        self.calls = 0
        """Requests with all their attempts, that are not done."""
        self.attempts = self.succeeded = self.failed = self.under_way = 0
        self._members = members
        self._is_over = False
        self._idle: asyncio.Future[None] | None = None

    async def answer(self, given: Any, timeout: float | None, retries: int, idempotent: bool, tally: Tally) -> Any:
        """Give the result for an input, with as many attempts as it takes, and may."""
        if not self.takes_more:
            raise closed()
        self.calls += 1
        try:
            if not retries:
                return await self._ask(given, timeout, tally)
            return await self._ask_again(given, Attempts(timeout, retries, idempotent=idempotent), tally)
        finally:
            self.calls -= 1
            if self._idle is not None and not self.calls and not self._idle.done():
                self._idle.set_result(None)

    async def _ask_again(self, given: Any, attempts: Attempts, tally: Tally) -> Any:
        while True:
            try:
                return await self._ask(given, attempts.begin(), tally)
            except FalRealtimeError as error:
                pause = attempts.pause_after(error, "closed" if self._is_over else "active")
            await asyncio.sleep(pause)

    async def _ask(self, given: Any, timeout: float | None, tally: Tally) -> Any:
        self.attempts += 1
        self.under_way += 1
        members = self._members
        try:
            member = members.take()
            if member is None:
                now = asyncio.get_running_loop().time
                began = now()
                member = await members.wait(timeout)
                if timeout is not None:
                    timeout = max(0.0, timeout - (now() - began))
            tally.sent += 1
            try:
                result = await member.connection.request(given, timeout=timeout)
            except BaseException as error:
                members.failed(member, early=isinstance(error, (RequestTimeoutError, asyncio.CancelledError)))
                if isinstance(error, ConnectionClosedError) and not self._is_over:
                    error.retryable = True  # over another connection
                raise
            members.answered(member)
        except BaseException:
            self.failed += 1
            raise
        else:
            self.succeeded += 1
            return result
        finally:
            self.under_way -= 1

    async def done(self, timeout: float | None) -> None:
        """Wait until no request is left, for at most `timeout` seconds."""
        self.takes_more = False
        if self.calls and timeout != 0:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle], timeout=timeout)

    def end(self) -> int:
        """Make no further attempts; how many requests are left, which will fail."""
        self.takes_more = False
        self._is_over = True
        return self.calls


def closed() -> ConnectionClosedError:
    """The error of a pool that takes no more requests."""
    error = ConnectionClosedError("the pool is closed: make a new one", 1000)
    error.unprocessed = True
    return error
