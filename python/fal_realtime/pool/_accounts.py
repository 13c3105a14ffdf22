"""Puts together what the parts of a pool count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._stats import PoolStats, total_of

if TYPE_CHECKING:
    from ._members import Members
    from ._requests import Requests


def stats_of(requests: Requests, members: Members, strays: int) -> PoolStats:
    """What a pool has counted so far, all taken at one instant."""
    phases = [member.phase for member in members.all]
    waiting = len(members.waiters)
    return {
        "requests": requests.attempts,
        "succeeded": requests.succeeded,
        "failed": requests.failed,
        "under_way": requests.under_way - waiting,
        "waiting": waiting,
        "owed": sum(member.owed for member in members.all),
        "open": phases.count("ready"),
        "opening": phases.count("opening"),
        "reconnecting": phases.count("reconnecting"),
        "closing": phases.count("closing"),
        "opened": members.counts["opened"],
        "opening_failures": members.counts["opening_failures"],
        "retired": members.counts["retired"],
        "lost": members.counts["lost"],
        "strays": strays,
        "messages": total_of(members.ended, (member.connection.stats() for member in members.all)),
    }
