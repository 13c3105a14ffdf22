"""Times this package's codec beside msgspec, ormsgpack and msgpack, alternately and in one run.

    python benches/codec.py [--rounds 25] [--shape 200B] [--json FILE]

Each round times every codec once on the same object, in a rotated order, so that a slow moment of the machine falls
on all. Prints the median, the smallest and the largest time in nanoseconds, and the ratio to the peer with the fastest
median: the median of the rounds' own ratios, since the times of one round share the state of the machine.
Needs msgspec, ormsgpack and msgpack beside a release build of this package.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import ormsgpack

from fal_realtime import _core

OURS = "fal_realtime"
MIN_ROUNDS = 7
ROUND_SECONDS = 0.006  # how long one codec is timed in one round


def image_input(size: int) -> dict[str, Any]:
    """An input of an image app with `size` bytes of image."""
    return {
        "prompt": "a moonlit harbour with paper boats, ink and watercolour",
        "image_bytes": bytes(size),
        "seed": 6252023,
        "num_inference_steps": 4,
        "strength": 0.65,
        "enable_safety_checker": True,
        "request_id": "8f14e45f-ceea-467f-9d3c-9b1f6d2a7c11",
    }


def image_result(size: int) -> dict[str, Any]:
    """A result of an image app with one image of `size` bytes."""
    return {
        "images": [{"content": bytes(size), "content_type": "image/jpeg", "width": 512, "height": 512}],
        "timings": {"inference": 0.0512},
        "seed": 6252023,
        "num_inference_steps": 3,
        "request_id": "8f14e45f-ceea-467f-9d3c-9b1f6d2a7c11",
        "nsfw_content_detected": [False],
    }


SHAPES: dict[str, dict[str, Any]] = {
    "200B": image_input(4),
    "10KB": image_input(10_000),
    "100KB": image_input(100_000),
    "1MB": image_input(1_000_000),
    "image-1KB": image_result(1_000),
    "image-40KB": image_result(40_000),
}

ENCODERS: dict[str, Callable[[Any], bytes]] = {
    OURS: _core.encode,
    "msgspec": msgspec.msgpack.Encoder().encode,
    "ormsgpack": ormsgpack.packb,
    "msgpack": msgpack.packb,
}
DECODERS: dict[str, Callable[[bytes], Any]] = {
    OURS: _core.decode,
    "msgspec": msgspec.msgpack.Decoder().decode,
    "ormsgpack": ormsgpack.unpackb,
    "msgpack": functools.partial(msgpack.unpackb, max_bin_len=1 << 26),
}


def time_calls(call: Callable[[Any], Any], argument: Any, count: int) -> float:
    """Nanoseconds a call, over `count` calls."""
    calls = range(count)
    start = time.perf_counter_ns()
    for _ in calls:
        call(argument)
    return (time.perf_counter_ns() - start) / count


def compare(codecs: dict[str, Callable[[Any], Any]], argument: Any, rounds: int) -> dict[str, list[float]]:
    """The times of each of `codecs` on `argument`, one for each round, taken alternately."""
    slowest = max(time_calls(call, argument, 20) for call in codecs.values())
    count = max(20, int(ROUND_SECONDS * 1e9 / slowest))
    times: dict[str, list[float]] = {name: [] for name in codecs}
    order = list(codecs)
    for _ in range(rounds):
        for name in order:
            times[name].append(time_calls(codecs[name], argument, count))
        order.append(order.pop(0))
    return times


def summarise(times: dict[str, list[float]]) -> dict[str, Any]:
    """Median, minimum and maximum of each codec, and our ratio to the fastest peer."""
    medians = {name: statistics.median(rounds) for name, rounds in times.items()}
    fastest = min((name for name in times if name != OURS), key=lambda name: medians[name])
    return {
        "nanoseconds": {
            name: {"median": medians[name], "min": min(all_), "max": max(all_)} for name, all_ in times.items()
        },
        "fastest_peer": fastest,
        "ratio": statistics.median(ours / peer for ours, peer in zip(times[OURS], times[fastest], strict=True)),
    }


def show(title: str, summary: dict[str, Any]) -> None:
    """Prints one comparison."""
    columns = "  ".join(
        f"{name} {t['median']:,.0f} ({t['min']:,.0f}..{t['max']:,.0f})" for name, t in summary["nanoseconds"].items()
    )
    print(f"{title:<18} {columns}  ratio to {summary['fastest_peer']}: {summary['ratio']:.2f}")


def main() -> None:
    """Runs the comparisons that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, help="rounds of each comparison, 7 at least")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this shape (may be repeated)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    options = parser.parse_args()
    rounds = max(MIN_ROUNDS, options.rounds)
    results = []
    print(f"nanoseconds a call: median (min..max) of {rounds} rounds; Python {platform.python_version()}")
    for shape in options.shape or SHAPES:
        message = SHAPES[shape]
        encoded = _core.encode(message)
        if encoded != msgspec.msgpack.encode(message) or _core.decode(encoded) != message:
            sys.exit(f"{shape}: the codecs disagree; their times would not compare the same work")
        for direction, codecs, argument in (("encode", ENCODERS, message), ("decode", DECODERS, encoded)):
            summary = summarise(compare(codecs, argument, rounds))
            show(f"{direction} {shape}", summary)
            results.append({"direction": direction, "shape": shape, **summary})
    if options.json:
        document = {
            "python": platform.python_version(),
            "machine": platform.platform(),
            "peers": {"msgspec": msgspec.__version__, "ormsgpack": ormsgpack.__version__, "msgpack": msgpack.version},
            "rounds": rounds,
            "results": results,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
