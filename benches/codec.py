"""Times `fal_realtime.msgpack` beside msgspec, ormsgpack and msgpack, alternately and in one run.

    ./bench codec [--rounds 25] [--shape 200B] [--json FILE]

Each round times every codec once on the same object, in a rotated order, so that a slow moment of the machine falls
on all. Prints the median of nanoseconds a call, and the ratio to each peer: the median of the rounds' own ratios,
since the times of one round share the state of the machine, with the range of the middle half of them.
Needs msgspec, ormsgpack and msgpack beside a release build of this package.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
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

import fal_realtime.msgpack

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


def floats(count: int) -> dict[str, Any]:
    """A result of an embedding or speech app: numbers."""
    return {"embedding": [math.sin(number) for number in range(count)], "request_id": "8f14e45f"}


def words(count: int) -> dict[str, Any]:
    """A result of a language app: texts of a few words, some of them not ASCII."""
    texts = ("a moonlit harbour", "with paper boats,", "ink and watercolour", "über dem Fluß", "月明かりの港")
    return {"choices": [{"text": texts[number % 5], "index": number} for number in range(count)]}


SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"prompt": "a cat", "seed": 7},
    "200B": image_input(4),
    "10KB": image_input(10_000),
    "100KB": image_input(100_000),
    "1MB": image_input(1_000_000),
    "image-1KB": image_result(1_000),
    "image-40KB": image_result(40_000),
    "floats": floats(768),
    "strings": words(100),
}

ENCODERS: dict[str, Callable[[Any], bytes]] = {
    OURS: fal_realtime.msgpack.encode,
    "msgspec": msgspec.msgpack.Encoder().encode,
    "ormsgpack": ormsgpack.packb,
    "msgpack": msgpack.packb,
}
DECODERS: dict[str, Callable[[bytes], Any]] = {
    OURS: fal_realtime.msgpack.decode,
    "msgspec": msgspec.msgpack.Decoder().decode,
    "ormsgpack": ormsgpack.unpackb,
    "msgpack": functools.partial(msgpack.unpackb, max_bin_len=1 << 26),
}


def time_calls(call: Callable[[Any], Any], argument: Any, count: int) -> float:
    """Nanoseconds of the processor's time a call, over `count` calls: what others do meanwhile is not counted."""
    calls = range(count)
    start = time.thread_time_ns()
    for _ in calls:
        call(argument)
    return (time.thread_time_ns() - start) / count


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
    """The median of each codec, and our ratio to each peer with its quartiles."""
    ratios = {
        name: sorted(ours / peer for ours, peer in zip(times[OURS], rounds, strict=True))
        for name, rounds in times.items()
        if name != OURS
    }
    return {
        "nanoseconds": {
            name: {"median": statistics.median(all_), "min": min(all_), "max": max(all_)}
            for name, all_ in times.items()
        },
        "ratios": {name: statistics.quantiles(rounds, n=4) for name, rounds in ratios.items()},
    }


def show(title: str, summary: dict[str, Any]) -> None:
    """Prints one comparison."""
    times = "  ".join(f"{name} {t['median']:>9,.0f}" for name, t in summary["nanoseconds"].items())
    ratios = "  ".join(
        f"/{name} {median:.2f} [{low:.2f}..{high:.2f}]" for name, (low, median, high) in summary["ratios"].items()
    )
    print(f"{title:<18} {times}  {ratios}", flush=True)


def main() -> None:
    """Runs the comparisons that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, help="rounds of each comparison, 7 at least")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this shape (may be repeated)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    options = parser.parse_args()
    rounds = max(MIN_ROUNDS, options.rounds)
    results = []
    print(
        f"nanoseconds a call, median of {rounds} rounds; ratios: median [lower..upper quartile] of those within a round"
    )
    print(f"Python {platform.python_version()}, {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    for shape in options.shape or SHAPES:
        message = SHAPES[shape]
        encoded = fal_realtime.msgpack.encode(message)
        if encoded != msgspec.msgpack.encode(message) or fal_realtime.msgpack.decode(encoded) != message:
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
