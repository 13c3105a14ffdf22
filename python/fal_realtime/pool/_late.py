"""Holds the places of requests that ended early until their answers have come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._member import Member

LATE_ANSWER_SECONDS = 10.0
"""Seconds for which a place is held; then the connection is replaced."""

_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.002, 0.1
"""The pause between two polls: nobody is told when an answer comes that nobody waits for."""


async def hold_places(member: Member, release: Callable[[Member], object], give_up: Callable[[Member], object]) -> None:
    """Release each place when its answer comes, or all of them after `give_up` when that takes too long."""
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + LATE_ANSWER_SECONDS, _MIN_PAUSE_SECONDS
    while member.owed:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
        came = member.settled()
        if not came and loop.time() >= until:
            came, member.owed = member.owed, 0
            give_up(member)
        for _ in range(came):
            release(member)
