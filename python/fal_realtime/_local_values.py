"""What the handlers of a `LocalServer` get for msgpack's extensions: the classes of `msgpack`, as in fal's server.

Where `msgpack` is not installed there are classes of the same shape.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

try:
    from msgpack import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        ExtType,  # pyright: ignore[reportAssignmentType]
        Timestamp,  # pyright: ignore[reportAssignmentType]
    )
except ImportError:

    class ExtType(NamedTuple):  # type: ignore[no-redef]
        """An extension: the application's type code, and the payload."""

        code: int
        data: bytes

    class Timestamp(NamedTuple):  # type: ignore[no-redef]
        """An instant: seconds since 1970 in UTC, and nanoseconds."""

        seconds: int
        nanoseconds: int = 0

        def to_unix(self) -> float:
            """Seconds since 1970."""
            return self.seconds + self.nanoseconds / 1e9

        def to_unix_nano(self) -> int:
            """Nanoseconds since 1970."""
            return self.seconds * 10**9 + self.nanoseconds

        def to_datetime(self) -> datetime:
            """The instant, in UTC."""
            return datetime.fromtimestamp(0, timezone.utc) + timedelta(
                seconds=self.seconds, microseconds=self.nanoseconds // 1000
            )


_TIMESTAMP_CODE = -1
_SECONDS_MASK = (1 << 34) - 1
"""The bits of a timestamp of eight bytes that hold the seconds."""


def from_extension(code: int, data: bytes) -> Any:
    """What an extension becomes; it was found to be one that `msgpack` accepts."""
    if code != _TIMESTAMP_CODE:
        return ExtType(code, data)
    if len(data) == struct.calcsize("!L"):
        return Timestamp(*struct.unpack("!L", data))
    if len(data) == struct.calcsize("!Q"):
        (both,) = struct.unpack("!Q", data)
        return Timestamp(both & _SECONDS_MASK, both >> 34)
    nanoseconds, seconds = struct.unpack("!Iq", data)
    return Timestamp(seconds, nanoseconds)
