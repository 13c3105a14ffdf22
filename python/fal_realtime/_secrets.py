"""How secrets are kept out of sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

_DEEPEST = 100
"""Levels of lists and dicts; what a server nests deeper is left out."""


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


class Redaction:
    """Takes the secrets that a server was told out of what it said, where that is reported.

    The native core does so by itself; this is for errors that are made here, of messages that have passed as they are.
    """

    def __init__(self, text: Callable[[str], str]) -> None:
        self.text = text
        """Gives a str with `***` in the place of each secret: the connection's own `_without_secrets`."""

    def __call__(self, said: Any) -> Any:
        """Give the same, without the secrets in its strings."""
        return self._without(said, 0)

    def _without(self, said: Any, depth: int) -> Any:
        if isinstance(said, str):
            return self.text(said)
        if not isinstance(said, dict | list | tuple):
            return said
        if depth == _DEEPEST:
            return "***"
        if isinstance(said, dict):
            items = cast("dict[str, Any]", said).items()
            return {self._without(name, depth + 1): self._without(value, depth + 1) for name, value in items}
        parts = [self._without(part, depth + 1) for part in cast("list[Any]", said)]
        return parts if isinstance(said, list) else tuple(parts)
