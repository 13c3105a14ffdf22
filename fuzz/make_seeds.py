"""Writes the seed corpus: small inputs that reach what is worth reaching. Run it from the repository's top."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import msgpack

SEEDS = Path(__file__).parent / "seeds"

VALUES = {
    "result": {"images": [{"url": "https://x/1.png", "width": 512, "height": 512}], "seed": 7, "request_id": "a-1"},
    "numeric_id": {"request_id": 12, "ok": True},
    "error": {"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "it broke"},
    "timeout": {"type": "x-fal-error", "error": "TIMEOUT", "reason": "idle"},
    "unauthorized": {"status": "error", "error": "Unauthorized"},
    "message": {"type": "x-fal-message", "action": "timings", "timing": 0.25},
    "scalars": [None, True, False, 0, -1, 127, -32, 128, -129, 65536, 2**40, -(2**40), 2**64 - 1, -(2**63), 1.5],
    "float32": 1.5,
    "text": ["", "grüße", "x" * 40, "y" * 300],
    "binary": [b"", b"\x00" * 20, b"z" * 300],
    "nested": [[[[[[[[{}]]]]]]]],
    "keys": {"a": {"b": {"c": 1}}, "d": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
    "long": list(range(40)),
    "extension": msgpack.ExtType(5, b"1234"),
    "timestamp": msgpack.Timestamp(1_700_000_000, 5),
    "int_keys": {1: 2},
}


def frame(opcode: int, payload: bytes, *, fin: bool = True, key: bytes = b"") -> bytes:
    """One frame of RFC 6455, masked if there is a key."""
    masked = 0x80 if key else 0
    if len(payload) < 126:
        length = struct.pack("!B", len(payload) | masked)
    elif len(payload) < 65536:
        length = struct.pack("!BH", 126 | masked, len(payload))
    else:
        length = struct.pack("!BQ", 127 | masked, len(payload))
    if key:
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + length + key + payload


WIRES = {
    "text": frame(1, "grüße".encode()),
    "binary": frame(2, bytes(range(256))),
    "fragments": frame(1, b"gr\xc3", fin=False) + frame(9, b"ping") + frame(0, b"\xbc\xc3\x9fe"),
    "close": frame(8, struct.pack("!H", 1000) + b"bye") + b"rest",
    "close_bare": frame(8, b""),
    "control": frame(9, b"") + frame(10, b"pong"),
    "not_utf8": frame(1, b"\xff"),
    "masked": frame(2, b"masked payload", key=b"\x01\x02\x03\x04"),
    "huge": bytes([0x82, 127]) + struct.pack("!Q", 2**63),
    "large": frame(2, b"x" * 40_000),
}


def write(target: str, name: str, data: bytes) -> None:
    """One seed."""
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def plain(value: object) -> object:
    """What JSON can hold."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


for name, value in VALUES.items():
    packed = msgpack.packb(value, use_single_float=name == "float32")
    for target in ("envelope", "decode", "roundtrip"):
        write(target, f"{name}.msgpack", packed)
    for target in ("envelope", "decode"):
        write(target, f"{name}.json", json.dumps(value, default=plain).encode())
for name, wire in WIRES.items():
    for prefix, options in (("whole", bytes(6)), ("cut", b"\x00\x01\x02\x03\x07\x01"), ("server", b"\x01" + bytes(5))):
        # A `bool`, four sizes, a `bool`, then the bytes: the order of the fields of `Case`.
        write("frame_reader", f"{name}.{prefix}", options + wire)
for length in (16, 64, 256):
    write("session", f"steps.{length}", bytes((i * 37 + length) % 256 for i in range(length)))
