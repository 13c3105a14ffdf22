"""Messages that would take a decoder's memory or stack: an error for each, and the next message is not one."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hostile import MEBI, after_opening, see
from support.raw_server import frame


def see_next(hostile: bytes) -> dict[str, Any]:
    """The message, and one behind it; the connection must live through both."""
    seen = see(after_opening(hostile, frame(msgpack.packb({"n": 2}))), events=2)
    assert "error" not in seen, seen
    return seen


def array_of(item: bytes, count: int) -> bytes:
    return b"\xdd" + struct.pack(">I", count) + item * count


@pytest.mark.parametrize(
    "payload",
    [
        array_of(b"\x80", 8_000_000),
        array_of(b"\x90", 8_000_000),
        b"\x91" * 8_000_000 + b"\x90",
        b"\x81\xa1a" * 2_000_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xdf\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xc6\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xdb\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xc9\xff\xff\xff\xff\x05" + b"\x01" * 100,
        b"\xdd\xff\xff\xff\xff" * 1000,
        b"\xc1",
        b"",
        b"\x81\xa1a\x01\x02",
    ],
    ids=[
        "empty-maps",
        "empty-arrays",
        "nested-arrays",
        "nested-maps",
        "huge-array",
        "huge-map",
        "huge-bin",
        "huge-str",
        "huge-ext",
        "huge-nested",
        "reserved",
        "empty",
        "trailing",
    ],
)
def test_a_hostile_msgpack_message_is_an_error_and_the_next_one_is_not(payload: bytes, figure: Any) -> None:
    """The error is raised by one `recv`; the connection goes on."""
    seen = see_next(frame(payload))
    assert [event[0] for event in seen["events"]] == ["DecodeError", "result"], seen
    assert seen["events"][1][1] == "{'n': 2}"
    assert seen["grown"] < allowance(payload)
    figure(f"{len(payload) / 1e6:.1f} MB: {seen['grown'] / MEBI:.0f} MiB grown: {seen['events'][0][1]}")


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"type":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"x-fal-error","error":"OTHER","reason":"r","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":[' + b"{}," * 4_000_000 + b"{}]}",
        b'{"a":' + b"9" * 5_000_000 + b"}",
        b"{",
        b"",
    ],
    ids=["arrays", "maps", "in-type", "in-an-error", "empty-maps", "number", "half", "empty"],
)
def test_a_hostile_json_message_is_an_error_and_the_next_one_is_not(payload: bytes, figure: Any) -> None:
    seen = see_next(frame(payload, first=0x81))
    assert seen["events"][0][0] in ("DecodeError", "RealtimeError"), seen
    assert seen["events"][1:] == [["result", "{'n': 2}"]], seen
    assert seen["grown"] < allowance(payload)
    figure(f"{len(payload) / 1e6:.1f} MB: {seen['grown'] / MEBI:.0f} MiB grown: {' '.join(seen['events'][0])[:100]}")


def test_of_a_duplicate_key_the_last_counts() -> None:
    """As in every decoder; and what the connection reads of a message is what the caller gets."""
    twice = b"\x82\xa1a\x01\xa1a\x02"
    refused = b'{"type":"x-fal-error","error":"TIMEOUT","type":"mine","error":"mine"}'
    seen = see(after_opening(frame(twice), frame(refused, first=0x81)), events=2)
    assert seen["events"] == [["result", "{'a': 2}"], ["result", "{'type': 'mine', 'error': 'mine'}"]], seen


def allowance(payload: bytes) -> int:
    """What a message may become: itself, 64 MiB and sixteen times its length of objects, and a little."""
    return 64 * MEBI + 17 * len(payload) + 16 * MEBI
