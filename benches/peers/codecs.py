"""The codecs alone: nanoseconds to encode and to decode one message."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

from common import Result, Spec, image_result, message

PASSES = 15


def _nanoseconds(function: Callable[[Any], object], argument: object, seconds: float) -> float:
    """The median over some passes of the mean of one call."""
    count, spent = 1, 0.0
    while spent < 0.002:
        count *= 2
        start = time.perf_counter()
        for _ in range(count):
            function(argument)
        spent = time.perf_counter() - start
    count = max(1, round(count * seconds / PASSES / spent))
    times = []
    for _ in range(PASSES):
        start = time.perf_counter_ns()
        for _ in range(count):
            function(argument)
        times.append((time.perf_counter_ns() - start) / count)
    return statistics.median(times)


def _measure(spec: Spec, encode: Callable[[Any], bytes], decode: Callable[[bytes], object]) -> Result:
    value = image_result() if spec.size == "image" else message(spec.size)
    encoded = encode(value)
    assert decode(encoded) == value, "the message did not survive encoding and decoding"
    return {
        "encode_ns": _nanoseconds(encode, value, spec.seconds / 2),
        "decode_ns": _nanoseconds(decode, encoded, spec.seconds / 2),
        "bytes": len(encoded),
    }


def fal_realtime(spec: Spec) -> Result:
    """This client's codec, as its connections call it."""
    core = importlib.import_module("fal_realtime._core")
    return _measure(spec, core.encode, core.decode)


def msgspec(spec: Spec) -> Result:
    """`msgspec`, with encoder and decoder made once."""
    codec = importlib.import_module("msgspec.msgpack")
    return _measure(spec, codec.Encoder().encode, codec.Decoder().decode)


def ormsgpack(spec: Spec) -> Result:
    """`ormsgpack`."""
    codec = importlib.import_module("ormsgpack")
    return _measure(spec, codec.packb, codec.unpackb)


def msgpack(spec: Spec) -> Result:
    """`msgpack`, with the options that `fal-client` gives it."""
    codec = importlib.import_module("msgpack")
    return _measure(
        spec, lambda value: codec.packb(value, use_bin_type=True), lambda data: codec.unpackb(data, raw=False)
    )
