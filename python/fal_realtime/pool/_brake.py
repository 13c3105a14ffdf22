"""When a pool may open the next connection, and whether it may open any more at all."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING

from fal_realtime._exceptions import FalRealtimeError

if TYPE_CHECKING:
    from fal_realtime._policy import ReconnectPolicy


class Brake:
    """Keeps a pool from opening connections again and again that are of no use.

    Each connection keeps to the `ReconnectPolicy` by itself. What this adds is for those that replace one another:
    delays that grow from one failure to the next until something goes well, and an end (`refusal`) where trying again
    cannot help, or where too many sessions in a row brought no result. Times are those of the event loop's clock.
    """

    def __init__(self, policy: ReconnectPolicy, limit: float) -> None:
        self.refusal: Exception | None = None
        """Why nothing is opened any more."""
        self.last_error: Exception | None = None
        """Why the newest failure was one; None after an opening that went well."""
        self._policy = policy
        self._limit = limit
        self._bound = policy.initial_delay
        self._attempts = 0
        self._fruitless = 0
        self._failing_since: float | None = None
        self._not_before = 0.0

    @property
    def is_on(self) -> bool:
        """Whether an opening failed, and none went well since: one at a time is tried then."""
        return self._failing_since is not None

    def delay(self, now: float) -> float:
        """Seconds until the next opening may begin."""
        return max(0.0, self._not_before - now)

    def opened(self) -> None:
        """An opening went well."""
        self._failing_since = self.last_error = None
        self._attempts = 0

    def put_off(self, error: Exception, now: float) -> None:
        """An opening under way waits for as long as the server says."""
        self.last_error = error
        if self._failing_since is None:
            self._failing_since = now
        self.slow_down(now, getattr(error, "retry_after", None))

    def not_opened(self, error: Exception, began: float, now: float) -> None:
        """An opening failed, which had begun at `began`."""
        self.last_error = error
        if not isinstance(error, FalRealtimeError) or not error.retryable:
            self.refusal = error
            return
        if self._failing_since is None:
            self._failing_since = began
        self._attempts += 1
        if self._policy.max_attempts is not None and self._attempts >= self._policy.max_attempts:
            self.refusal = error
        self.slow_down(now, error.retry_after)

    def is_overdue(self, now: float) -> bool:
        """Whether openings have failed for longer than one may take (`open_timeout`)."""
        return self._failing_since is not None and now - self._failing_since >= self._limit

    def bore_fruit(self) -> None:
        """A connection has brought its first result: the app works for new ones."""
        self._fruitless = 0
        self._bound = self._policy.initial_delay

    def was_fruitless(self, error: Exception, sessions: int, now: float) -> None:
        """A connection without a result ended by itself; `sessions` of it count."""
        self.last_error = error
        self._fruitless += sessions
        most = self._policy.max_fruitless
        if most is not None and self._fruitless >= most:
            self.refusal = error
        self.slow_down(now)

    def slow_down(self, now: float, wanted: float | None = None) -> None:
        """Let the next opening wait: as long as the server `wanted`, or for a delay that grows, with full jitter."""
        delay = random.uniform(0, self._bound) if wanted is None else wanted  # noqa: S311 - it spreads load
        self._bound = min(self._policy.max_delay, self._bound * self._policy.factor)
        self._not_before = max(self._not_before, now + delay)


def again(error: Exception) -> Exception:
    """The same error for somebody else: one that is raised twice would show where it was raised before."""
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    return twin
