"""What counts as bytes."""

from __future__ import annotations

from typing import TypeAlias, TypeGuard

BytesLike: TypeAlias = bytes | bytearray | memoryview


def is_bytes(value: object) -> TypeGuard[BytesLike]:
    """Whether it is one of the standard kinds of bytes."""
    return isinstance(value, bytes | bytearray | memoryview)
