"""How far a batch is, or where it ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """How far a batch is, or where it ended. `read == known + ok + failed + left + in_flight`."""

    read: int
    """Inputs that were read."""
    known: int
    """Of these, those that had an outcome in the journal before this run, and were not asked."""
    ok: int
    """Of these, those that got a result in this run."""
    failed: int
    """Of these, those for which an error was written down in this run."""
    left: int
    """Of these, those that have no outcome, since no app has seen them: the next run asks them."""
    in_flight: int
    """Of these, those that are being asked, or written down."""
    total: int | None
    """How many inputs there are in all, where the iterable knows it (`len`); else None."""
    journal_ok: int
    """Results in the journal, of all runs."""
    journal_failed: int
    """Errors in the journal, of all runs."""
    seconds: float
    """Since the run began."""
