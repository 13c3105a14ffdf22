"""One connection of a pool, and how many requests it has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fal_realtime._connection import RealtimeConnection

Phase = Literal["opening", "ready", "reconnecting", "closing"]
"""What the pool does with a connection: it opens it, uses it, waits for its next session, or takes it out.

    opening -> ready <-> reconnecting
       |         |            |
       +---------+------------+--> closing -> (no member any more)
"""


class Member:
    """One connection of a pool, and how many requests it has."""

    __slots__ = ("age", "connection", "late", "load", "owed", "phase", "results", "session", "unwritten", "withdrawn")

    def __init__(self, connection: RealtimeConnection) -> None:
        self.connection = connection
        self.phase: Phase = "opening"
        self.load = 0
        """Places that are taken: requests under way, and answers that are owed."""
        self.results = 0
        """Requests that it has answered."""
        self.age: asyncio.TimerHandle | None = None
        """Retires it when it is old."""
        self.owed = 0
        """Of its load, answers to requests that ended before they came."""
        self.late = 0
        """The connection's own count of late answers, as far as it was read."""
        self.session = 0
        """The session (`reconnects`) in which they are owed."""
        self.withdrawn = 0
        """The connection's own count of requests that ended before they were written, as far as it was read."""
        self.unwritten = 0
        """Of those owed, the ones that were not written."""

    def is_usable(self) -> bool:
        """Whether the connection itself says that a request would go out at once, or open it by itself."""
        return self.connection.state in ("active", "idle")

    def owe(self) -> None:
        """Note that a request has ended early whose answer may still come."""
        stats = self.connection.stats()
        if stats["withdrawn"] > self.withdrawn:
            # It was not written: no answer to it will come.
            self.withdrawn += 1
            self.unwritten += 1
        if not self.owed:
            self.session = stats["reconnects"]
        self.owed += 1

    def settled(self) -> int:
        """How many of the answers owed came since this was last asked, or will never come: their session is over."""
        stats = self.connection.stats()
        if self.connection.state != "active" or stats["reconnects"] != self.session:
            count = self.owed
        else:
            count = min(self.owed, stats["late"] - self.late + self.unwritten)
        self.late = stats["late"]
        self.unwritten = 0
        self.owed -= count
        return count
