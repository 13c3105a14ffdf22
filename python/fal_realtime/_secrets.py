"""Secrets: where they come from, and how they are kept out of sight."""

from __future__ import annotations

import os
from collections.abc import Callable

from . import _checks as check


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


def credentials_from_env() -> str | None:
    """FAL_KEY, else FAL_KEY_ID and FAL_KEY_SECRET joined with a colon, else None."""
    if key := os.environ.get("FAL_KEY"):
        return check.key("FAL_KEY", key)
    key_id, secret = os.environ.get("FAL_KEY_ID"), os.environ.get("FAL_KEY_SECRET")
    if not (key_id and secret):
        return None
    return f"{check.key('FAL_KEY_ID', key_id)}:{check.key('FAL_KEY_SECRET', secret)}"
