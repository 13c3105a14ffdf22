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

    def take(self) -> Member | None:
        """Put one more request on the connection that has the fewest; None where none has room."""
        for members in self._by_load:
            if members:
                member = members.popitem()[0]
                member.load += 1
                self.add(member)
                return member
        return None

    def add(self, member: Member) -> None:
        """Let it take requests as long as it has room."""
        if member.load < len(self._by_load):
            self._by_load[member.load][member] = None

    def remove(self, member: Member) -> None:
        """Let it take none."""
        if member.load < len(self._by_load):
            self._by_load[member.load].pop(member, None)

    def has_idle(self) -> bool:
        """Whether there is a connection without any request."""
        return bool(self._by_load[0])
