"""Finds the connection with the fewest requests under way, in a time that does not grow with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._member import Member


class Loads:
    """The connections that have room, by how many requests they have.

    Of several with as many, the one that was used last is taken: those that are not needed stay idle, and the server
    may end their sessions.
    """

    def __init__(self, depth: int) -> None:
        # A dict keeps the order, and finds what is to be removed.
        self._by_load: list[dict[Member, None]] = [{} for _ in range(depth)]
        self._depth = depth
        self._least = 0
        """None has fewer requests than so many."""

    def take(self) -> Member | None:
        """Put one more request on the connection that has the fewest; None where none has room."""
        for load in range(self._least, self._depth):
            members = self._by_load[load]
            if members:
                self._least = load
                member, _ = members.popitem()
                member.load = load + 1
                if member.load < self._depth:
                    self._by_load[member.load][member] = None
                return member
        self._least = self._depth
        return None

    def add(self, member: Member) -> None:
        """Let it take requests as long as it has room."""
        load = member.load
        if load < self._depth:
            self._by_load[load][member] = None
            self._least = min(self._least, load)

    def remove(self, member: Member) -> None:
        """Let it take none."""
        if member.load < self._depth:
            self._by_load[member.load].pop(member, None)
