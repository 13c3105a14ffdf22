"""The accounts of a connection: what its statistics must satisfy at every instant."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fal_realtime import RealtimeConnection, Stats, SyncRealtimeConnection

if TYPE_CHECKING:
    from typing_extensions import Self

_NEVER_LESS = (
    "accepted",
    "coalesced",
    "dropped",
    "failed",
    "withdrawn",
    "unanswered",
    "received",
    "received_dropped",
    "late",
)
"""What never goes backwards. What was written may: a session that is refused gives it back."""


def check(stats: Stats) -> Stats:
    """Both equations hold."""
    ways_out = ("written", "coalesced", "dropped", "failed", "withdrawn", "pending")
    ways_in = ("delivered", "received_dropped", "late", "received_pending")
    assert stats["accepted"] == sum(stats[way] for way in ways_out), stats  # type: ignore[literal-required]
    assert stats["received"] == sum(stats[way] for way in ways_in), stats  # type: ignore[literal-required]
    assert stats["unanswered"] <= stats["written"], stats
    assert min(stats.values()) >= 0, stats  # type: ignore[type-var]
    return stats


def accounted(connection: RealtimeConnection | SyncRealtimeConnection) -> Stats:
    """The statistics, of which both equations hold."""
    return check(connection.stats())


class Watcher:
    """A thread that looks at the accounts all the time, as a metrics exporter would."""

    def __init__(self, connection: RealtimeConnection | SyncRealtimeConnection) -> None:
        self.looks = 0
        self.failure: AssertionError | None = None
        self.connection = connection
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        watched, before = self.connection, check(self.connection.stats())
        while not self._over.wait(0.0005):
            now = watched.stats()
            try:
                check(now)
                for name in _NEVER_LESS:
                    assert now[name] >= before[name], f"{name} went backwards"  # type: ignore[literal-required]
            except AssertionError as failure:
                self.failure = failure
                return
            self.looks += 1
            if watched is not self.connection:
                watched, now = self.connection, self.connection.stats()
            before = now

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join(5)
        assert self.failure is None, self.failure
        assert self.looks
