"""How secrets are kept out of sight."""

from __future__ import annotations

from collections.abc import Callable


class Hidden:
    """A secret that nobody sees who looks at the attributes of what holds it."""

    __slots__ = ("reveal",)

    def __init__(self, secret: str) -> None:
        self.reveal: Callable[[], str] = lambda: secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __repr__(self) -> str:
        return "Hidden()"
