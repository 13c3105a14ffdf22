"""What is sent in which scene."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgpack
from pydantic import HttpUrl

from fal_realtime import ExtType

from .apps import FIELDS, GIVEN, RAISED, Colour, Prompt

UTC = timezone.utc


class Raw(bytes):
    """A message that goes out as it is, as binary."""


class RawText(str):
    """A message that goes out as it is, as text."""

    __slots__ = ()


class Pause(float):
    """No input, but seconds to wait before the next one."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """Inputs to a route, with pauses among them."""

    name: str
    path: str
    inputs: tuple[Any, ...]
    varies: bool = False
    """fal's own answers may differ from run to run: sets of outcomes are compared."""
    by_chance: bool = False
    """They do, by how the system schedules both sides: a few runs say nothing."""


VALUES: dict[str, Any] = {
    "None": None,
    "False": False,
    "0": 0,
    "an empty str": "",
    "an empty list": [],
    "a str": "text",
    "an int": 2**64 - 1,
    "a float": 1.5,
    "NaN": float("nan"),
    "bytes": b"\xff",
    "a dict": {"a": {"b": [1, None]}},
    "a datetime": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "a naive datetime": datetime(2026, 1, 2),  # noqa: DTZ001
    "a date": date(2026, 1, 2),
    "a time": time(1, 2, 3),
    "a timedelta": timedelta(days=1, seconds=2),
    "a uuid": uuid.UUID(int=1),
    "a decimal": Decimal("1.50"),
    "a path": Path("a/b"),
    "a url": HttpUrl("https://fal.ai/x"),
    "an enum": Colour.RED,
    "a set": {1},
    "a tuple": (1, "a"),
    "a model": Prompt(prompt="a cat"),
    "an extension": ExtType(5, b"x"),
    "a timestamp": msgpack.Timestamp(1, 2),
    "a timestamp beyond datetime": msgpack.Timestamp(2**40, 0),
}

MALFORMED: dict[str, bytes] = {
    "an empty message": b"",
    "cut msgpack": b"\x81\xa1",
    "trailing bytes": b"\x80\x80",
    "a reserved byte": b"\xc1",
    "an int as key": b"\x81\x01\x02",
    "an int as key of a bad value": b"\x81\x01\xc1",
    "None as key": b"\x81\xc0\x02",
    "an array as key": b"\x81\x90\x01",
    "bytes as key": b"\x81\xc4\x01a\x01",
    "an extension as key": b"\x81\xd4\x05x\x01",
    "a timestamp as key": b"\x81\xd6\xff\0\0\0\1\x01",
    "text that is not UTF-8": b"\x81\xa1a\xa2\xff\xfe",
    "cut UTF-8": b"\x81\xa1a\xa2\xe2\x82",
    "a bad continuation of UTF-8": b"\x81\xa1a\xa3\xe2\x28\xa1",
    "a key that is not UTF-8": b"\x81\xa1\xff\x01",
    "a negative extension code": b"\x81\xa1a\xd4\xfbx",
    "a timestamp of one byte": b"\x81\xa1a\xd4\xff\x00",
    "a timestamp of many nanoseconds": b"\x81\xa1a\xd7\xff" + b"\xff" * 8,
    "an array that cannot be so large": b"\xdd\xff\xff\xff\xff",
    "a map that cannot be so large": b"\xdf\xff\xff\xff\xff",
    "a str that cannot be so large": b"\xdb\xff\xff\xff\xff",
    "an extension that cannot be so large": b"\xc9\xff\xff\xff\xff\x01",
    "nested 1000 deep": b"\x91" * 1000 + b"\x90",
    "nested 1024 deep": b"\x91" * 1024 + b"\x90",
    "nested 1025 deep": b"\x91" * 1025 + b"\x90",
}

LIMIT = 16 * 1024 * 1024
_SIZE_OVERHEAD = len(msgpack.packb({"data": bytes(LIMIT)})) - LIMIT


def _sized(total: int) -> Raw:
    """A message of so many bytes in all."""
    return Raw(msgpack.packb({"data": bytes(total - _SIZE_OVERHEAD)}))


def _numbers(count: int, **more: Any) -> tuple[Any, ...]:
    return tuple({"n": n, **more} for n in range(count))


def scenes() -> list[Scene]:
    """All scenes."""
    found = [
        Scene("nothing is sent", "/describe", ()),
        Scene("a text message", "/describe", (RawText("text"),)),
        Scene("a text message to a stream of inputs", "/untyped-stream", ({"a": 1}, Pause(0.1), RawText("text"))),
        Scene("None ends the inputs of a stream", "/untyped-stream", ({"a": 1}, None, {"a": 2})),
        Scene("what follows None is lost", "/describe", ({"a": 1}, None, {"a": 2})),
        Scene("an input without annotation", "/describe-unannotated", ({"a": 1},)),
        Scene("an unknown route", "/no-such-route", ({"a": 1},)),
        Scene("a typed input", "/typed", ({"prompt": "a cat"}, Pause(0.1), {"prompt": "a dog", "steps": 3})),
        Scene("a typed input that is not valid", "/typed", ({"prompt": "a cat", "steps": 50},)),
        Scene("a typed input without its field", "/typed", ({},)),
        Scene("a typed input with an unknown field", "/typed", ({"prompt": "a", "unknown": 1},)),
        Scene("a typed input that is no map", "/typed", ([1],)),
        Scene("a typed input that is None", "/typed", (None,)),
        Scene("an input that is annotated as a dict", "/typed-as-dict", ({"a": 1},)),
        Scene("an input that is annotated as optional", "/typed-optional", ({"prompt": "a cat"},)),
        Scene("a typed stream of inputs", "/typed-stream", ({"prompt": "a"}, {"prompt": "b"})),
        Scene("a typed stream with an input that is not valid", "/typed-stream", ({"prompt": "a"}, Pause(0.1), {})),
        Scene("a generator that is not annotated as one", "/generator-unannotated", ({},)),
        Scene("a sync generator", "/sync-generator", ({"count": 3},)),
        Scene("a sync generator that fails", "/sync-generator", ({},)),
        Scene("a list for an iterable", "/list-as-iterable", ({},)),
        Scene("a generator that is returned", "/returns-a-generator", ({},)),
        Scene("a dict for a stream", "/stream-that-returns-a-dict", ({},)),
        Scene("None for a stream", "/stream-that-returns-None", ({},)),
        Scene("a stream of inputs taken by a sync function", "/sync-client-stream", ({},)),
        Scene("a stream for one result", "/client-stream-that-yields", ({},)),
        Scene("a dict for both ways", "/bidi-that-returns-a-dict", ({},)),
        Scene("both ways", "/bidi", ({"a": 1}, Pause(0.05), {"a": 2}, Pause(0.05), {"end": True})),
        Scene("both ways, busy", "/bidi", ({"a": 1, "delay": 0.2}, {"a": 2}, {"a": 3})),
        Scene("both ways without end", "/bidi", ({"a": 1},)),
        Scene("a handler that takes twice the timeout", "/burst-1", ({"n": 0, "delay": 1.0},)),
        Scene("a batch", "/batch", tuple({"n": n} for n in range(10)), varies=True),
        Scene("a typed batch", "/batch-typed", _numbers(10), varies=True),
        Scene("eight at once, one is kept", "/burst-1", _numbers(8), varies=True),
        # Only `None` ends a session that has no timeout.
        Scene(
            "eight at once, no timeout, one is kept",
            "/burst-1-untimed",
            (*_numbers(8), Pause(0.2), None),
            varies=True,
            by_chance=True,
        ),
        Scene("eight at once, two are kept", "/burst-2", _numbers(8), varies=True),
        Scene("eight at once, all are kept", "/burst", _numbers(8), varies=True),
        Scene(
            "eight at once to a busy handler",
            "/burst-2",
            ({"n": -1, "delay": 0.3}, Pause(0.15), *_numbers(8)),
            varies=True,
            by_chance=True,
        ),
        Scene("eight at once to threads", "/burst-in-threads", _numbers(8), varies=True, by_chance=True),
        Scene("eight results at once", "/order", ({"count": 8},), varies=True),
        Scene("two results at once", "/order", ({"count": 2},)),
        Scene("results one by one", "/order", ({"count": 8, "delay": 0.005},)),
        Scene("eight large results at once", "/order", ({"count": 8, "size": 100_000},), varies=True),
        Scene("many results with room", "/order-roomy", ({"count": 60},)),
        Scene("more results than there is room", "/order-roomy", ({"count": 80},), varies=True),
        Scene("as large as may be", "/size", (_sized(LIMIT),)),
        Scene("too large by a byte", "/size", (_sized(LIMIT + 1),)),
    ]
    found += [Scene(f"sent: {name}", "/describe", (value,)) for name, value in VALUES.items()]
    found += [Scene(f"sent in a dict: {name}", "/describe", ({"v": value},)) for name, value in VALUES.items()]
    found += [Scene(f"malformed: {name}", "/describe", (Raw(data),)) for name, data in MALFORMED.items()]
    found += [Scene(f"malformed, typed: {name}", "/typed", (Raw(data),)) for name, data in MALFORMED.items()]
    found += [
        Scene(f"field {field} <- {name}", f"/field-{field}", ({"value": value},))
        for field in FIELDS
        for name, value in VALUES.items()
        if name not in ("NaN", "None", "0", "False")
    ]
    for path in ("/give", "/give-in-a-thread", "/give-stream"):
        found += [Scene(f"{path[1:]}: {name}", path, ({"which": name},)) for name in GIVEN]
    for path in ("/raise", "/raise-in-a-thread", "/raise-in-a-stream"):
        found += [Scene(f"{path[1:]}: {name}", path, ({"raise": name},)) for name in RAISED]
    return found
