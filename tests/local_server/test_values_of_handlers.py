"""What the local server's handlers get and give, against Python's `msgpack`: the same values, the same words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from fal_realtime import _core


def outcome(function: Callable[[Any], Any], argument: Any) -> str:
    """What a call gives, or the words that it raises."""
    try:
        return repr(function(argument))
    except Exception as error:  # noqa: BLE001 - whatever it is, its words count
        return f"raises {error}"


markers = st.sampled_from(
    [0x80, 0x81, 0x82, 0x90, 0x91, 0xA1, 0xC4, 0xC7, 0xC8, 0xC9, 0xD4, 0xD6, 0xD7, 0xD9, 0xDC, 0xDE]
)
tails = st.binary(max_size=12)
messages = st.lists(
    st.one_of(markers.map(lambda marker: bytes([marker])), tails, st.sampled_from([b"\xff", b"\xa1a", b"\0", b"\xc0"])),
    max_size=8,
).map(b"".join)


@given(messages)
@example(b"\xc9\xff\xff\xff\xff\x01")
@example(b"\x81\x01\xc1")
@settings(deadline=None, max_examples=3000)
def test_any_message_is_read_or_refused_as_by_msgpack(message: bytes) -> None:
    assert outcome(_core.decode_as_packer, message) == outcome(msgpack.unpackb, message)


keys = st.none() | st.integers() | st.text(max_size=4) | st.tuples(st.integers(0, 3))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(
        [1j, object, {1}, datetime(2026, 1, 2, tzinfo=timezone.utc), np.int64(1), np.float64(1), b""[:0]]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.none() | st.integers() | st.text(max_size=4) | st.tuples(st.integers(0, 3)), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(values)
@settings(deadline=None, max_examples=1500)
def test_any_result_is_written_or_refused_as_by_msgpack(value: Any) -> None:
    assert outcome(_core.encode_as_packer, value) == outcome(msgpack.packb, value)


@pytest.mark.parametrize("levels", [511, 1023, 1024, 1025, 3000])
def test_nesting_ends_where_it_does_for_msgpack(levels: int) -> None:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    assert outcome(_core.encode_as_packer, value)[:40] == outcome(msgpack.packb, value)[:40]
    message = b"\x91" * levels + b"\x01"
    assert outcome(_core.decode_as_packer, message)[:40] == outcome(msgpack.unpackb, message)[:40]
