"""`request(…, retries=n)`: sends an input again, where that cannot make an app work twice."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from . import _checks as check
from ._exceptions import ConnectionClosedError, FalRealtimeError, RequestTimeoutError

if TYPE_CHECKING:
    from ._connection import RealtimeConnection
    from ._sync import SyncRealtimeConnection

_FIRST_PAUSE_SECONDS = 0.1
"""Seconds: the upper bound of the first pause, which doubles from one to the next, with full jitter."""

_MAX_PAUSE_SECONDS = 5.0
"""Seconds."""


class Attempts:
    """How often a request may still be sent, and until when."""

    def __init__(self, timeout: float | None, retries: int, *, idempotent: bool) -> None:
        check.integer("retries", retries, at_least=0)
        check.boolean("idempotent", idempotent)
        self._left = retries
        self._idempotent = idempotent
        self._pause = _FIRST_PAUSE_SECONDS
        self._may_have_run = False
        self._timeout = check.timeout(timeout)
        self._end = None if self._timeout is None else time.monotonic() + self._timeout
        self._begun = 0

    def begin(self) -> float | None:
        """Begin the next attempt; gives the seconds for it, as they are to be said where it takes longer."""
        self._begun += 1
        return self._timeout if self._begun == 1 else self._time_left()

    def _time_left(self) -> float | None:
        return None if self._end is None else max(0.0, round(self._end - time.monotonic(), 3))

    def pause_after(self, error: FalRealtimeError, state: str) -> float:
        """Seconds to wait before the next attempt; raises the error where there is to be none."""
        may_repeat = error.unprocessed or (self._idempotent and error.retryable)
        # An earlier attempt may have been: then what is said of the last one does not hold for the input.
        self._may_have_run = self._may_have_run or not error.unprocessed
        error.unprocessed = not self._may_have_run
        # The time is that of all attempts together; and `closed` is final.
        if isinstance(error, RequestTimeoutError):
            if self._begun == 1:
                raise error
            raise self._over(error, f"was not answered within its timeout of {self._seconds()}") from error
        if self._left == 0 or not may_repeat or state in ("closing", "closed"):
            raise error
        self._left -= 1
        pause = error.retry_after
        if pause is None:
            pause = random.uniform(0, self._pause)  # noqa: S311 - it spreads load, and hides nothing
            self._pause = min(2 * self._pause, _MAX_PAUSE_SECONDS)
        left = self._time_left()
        if left is not None and left <= pause:
            why = f"no other attempt fits into its timeout of {self._seconds()}, after a pause of {_shown(pause)}"
            raise self._over(error, f"failed, and {why}") from error
        return pause

    def _over(self, error: FalRealtimeError, what: str) -> RequestTimeoutError:
        """Give the error at the end of the time, which is as hopeful as that of the last attempt."""
        attempts = "1 attempt" if self._begun == 1 else f"{self._begun} attempts"
        over = RequestTimeoutError(f"the request {what} ({attempts}); the last attempt: {error}")
        over.retryable, over.unprocessed, over.retry_after = error.retryable, error.unprocessed, error.retry_after
        return over

    def _seconds(self) -> str:
        return _shown(self._timeout or 0.0)


def _shown(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


async def request(
    connection: RealtimeConnection, message: Any, timeout: float | None, retries: int, idempotent: bool
) -> Any:
    """Do what `RealtimeConnection.request` does with `retries`."""
    import asyncio

    attempts = Attempts(timeout, retries, idempotent=idempotent)
    while True:
        try:
            return await connection.request(message, timeout=attempts.begin())
        except FalRealtimeError as error:
            pause = attempts.pause_after(error, _state_after(error, connection))
        await asyncio.sleep(pause)


def request_blocking(
    connection: SyncRealtimeConnection, message: Any, timeout: float | None, retries: int, idempotent: bool
) -> Any:
    """Do what `SyncRealtimeConnection.request` does with `retries`."""
    attempts = Attempts(timeout, retries, idempotent=idempotent)
    while True:
        try:
            return connection.request(message, timeout=attempts.begin())
        except FalRealtimeError as error:
            pause = attempts.pause_after(error, _state_after(error, connection))
        time.sleep(pause)


def _state_after(error: FalRealtimeError, connection: RealtimeConnection | SyncRealtimeConnection) -> str:
    """That of the connection; one that takes no more inputs, since `finish` was called, is as good as closed."""
    return "closed" if type(error) is ConnectionClosedError else connection.state
