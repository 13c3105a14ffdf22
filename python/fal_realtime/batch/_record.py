"""What a journal holds of one input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fal_realtime._exceptions import FalRealtimeError


@dataclass(frozen=True)
class Record:
    """What a journal holds of one input."""

    id: int | str
    """The input's place among the inputs (0, 1, 2, …), or what `key` gave for it."""
    result: Any = field(default=None, repr=False)
    """What the app answered; None where `error` is set."""
    error: str | None = None
    """Why there is no result, as `Class: message`; None where there is one."""
    attempts: int = 1
    """How often the input was given to a connection, in the run in which it got its outcome."""
    latency: float = 0.0
    """Seconds from when it was pulled to its outcome."""

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    def unwrap(self) -> Any:
        """Give the result.

        Raises:
            FalRealtimeError: There is none; with the words of the error.
        """
        if self.error is not None:
            raise FalRealtimeError(self.error)
        return self.result
