"""What a pool counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, cast

from fal_realtime._types import Stats

if TYPE_CHECKING:
    from collections.abc import Iterable


class PoolStats(TypedDict):
    """What `pool.stats()` counts, since the pool was made.

    `requests == succeeded + failed + under_way + waiting` at every instant.
    """

    requests: int
    """Inputs that requests have brought, each attempt counted."""
    succeeded: int
    """Of these, those that were answered."""
    failed: int
    """Of these, those that ended with an error, a timeout or a cancellation."""
    under_way: int
    """Of these, those that a connection has now."""
    waiting: int
    """Of these, those that wait for room now."""
    owed: int
    """Places that are held for the answers to requests that ended early (timeout, cancellation): see `Pool`."""
    open: int
    """Connections that can take requests now, if they have room."""
    opening: int
    """Connections that are being opened, or wait for the back-off to open."""
    reconnecting: int
    """Connections whose session was lost, and which open another one by themselves."""
    closing: int
    """Connections that take no more requests and are closed when those under way are done."""
    opened: int
    """Connections that were opened so far."""
    opening_failures: int
    """Connections that could not be opened."""
    retired: int
    """Connections that the pool has taken out: for their age, or for answers that they owed for too long."""
    lost: int
    """Connections that ended by themselves: they were closed by the server for good, or gave up."""
    strays: int
    """Results without the `request_id` of a request: nobody's, and dropped."""
    messages: Stats
    """The sum of the connections' own `stats()`, of those that have ended too."""


def nothing() -> dict[str, int]:
    """The sum of no statistics."""
    return dict.fromkeys(Stats.__annotations__, 0)


def add(total: dict[str, int], stats: Stats) -> None:
    """Add one connection's statistics to the total."""
    for name, value in cast("dict[str, Any]", stats).items():
        total[name] += value


def total_of(ended: dict[str, int], living: Iterable[Stats]) -> Stats:
    """The statistics of all connections."""
    total = dict(ended)
    for stats in living:
        add(total, stats)
    return cast("Stats", total)
