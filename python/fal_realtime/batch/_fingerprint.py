"""Tells whether an input is the same one as in an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

from fal_realtime import msgpack

_SIZE = 16
"""Bytes."""

_NOT_ENCODABLE = bytes(_SIZE)
"""That of an input that has no encoding, or raises while it is encoded, and will not be answered either."""


def fingerprint(given: Any) -> bytes:
    """That of its encoding, without its `request_id`, which may be new in each run."""
    try:
        if isinstance(given, Mapping) and "request_id" in given:
            given = {name: value for name, value in cast("Mapping[object, Any]", given).items() if name != "request_id"}
        encoded = cast("bytes", given) if isinstance(given, (bytes, bytearray, memoryview)) else msgpack.encode(given)
    except Exception:  # noqa: BLE001 - what it is, the attempt to ask tells, as this input's outcome
        return _NOT_ENCODABLE
    return blake2b(encoded, digest_size=_SIZE).digest()
