"""What became of one input of `Pool.map`, and how far all of them are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What became of one input: a result, or the reason why there is none."""

    index: int
    """Which input it was, in the order in which they were pulled: 0, 1, 2, …"""
    input: Any = field(repr=False)
    """The input itself, as it was given."""
    result: Any = field(default=None, repr=False)
    """What the app answered; None where `error` is set."""
    error: Exception | None = None
    """Why there is no result; None where there is one."""
    attempts: int = 0
    """How often it was given to a connection; 0: never, so that no app can have seen it."""
    latency: float = 0.0
    """Seconds from when it was pulled to its outcome: waits for room, and pauses between attempts, included."""

    @classmethod
    def of(cls, **values: Any) -> Outcome:
        """Make one of the values of all fields; a frozen dataclass does it field by field, three times as slowly."""
        outcome = object.__new__(cls)
        outcome.__dict__.update(values)
        return outcome

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    def unwrap(self) -> Any:
        """Give the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass(frozen=True)
class Progress:
    """How far a `map` is, at one instant: `pulled == ok + failed + in_flight`."""

    pulled: int
    """Inputs taken from the iterable."""
    ok: int
    """Of these, those with a result."""
    failed: int
    """Of these, those with an error, and those that were cancelled."""
    in_flight: int
    """Of these, those that have no outcome yet."""
    total: int | None
    """How many inputs there are in all, where the iterable knows it (`len`); else None."""
