"""The apps that both servers serve: one definition of each, registered once with fal and once with `LocalServer`."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import enum
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Optional

import numpy as np
from fal.exceptions import AppException, FieldException
from pydantic import BaseModel, Field, HttpUrl

IDLE = 0.4
"""Seconds without input after which a session ends: so each scene ends by itself."""


@dataclasses.dataclass(frozen=True)
class Route:
    """A handler, which takes a `self` that it does not use, and its options."""

    path: str
    handler: Callable[..., Any]
    options: dict[str, Any]


ROUTES: list[Route] = []


def route(path: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a handler; its session ends when it is idle."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        ROUTES.append(Route(path, handler, {"session_timeout": IDLE, **options}))
        return handler

    return register


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Point:
    x: int


class Inner(BaseModel):
    n: int = Field(alias="number")


class Prompt(BaseModel):
    prompt: str
    steps: int = Field(default=4, ge=1, le=12)


class Output(BaseModel):
    image_url: str = Field(alias="imageUrl")
    nested: Inner


class Batchable(BaseModel):
    n: int

    def can_batch(self, other: Batchable, size: int) -> bool:
        return other.n % 2 == self.n % 2 and size < 3


# Inputs


@route("/describe")
async def describe(self: Any, message: Any) -> dict[str, Any]:
    return {"type": type(message).__name__, "repr": repr(message)}


@route("/describe-unannotated")
async def describe_unannotated(self, message):
    return {"repr": repr(message)}


@route("/typed")
async def typed(self: Any, message: Prompt) -> dict[str, Any]:
    return {"prompt": message.prompt, "steps": message.steps}


@route("/typed-as-dict")
async def typed_as_dict(self: Any, message: dict) -> dict:
    return {"repr": repr(message)}


@route("/typed-optional")
async def typed_optional(self: Any, message: Optional[Prompt]) -> dict[str, Any]:  # noqa: UP045
    return {"prompt": message.prompt if message else None}


@route("/typed-stream")
async def typed_stream(self: Any, messages: AsyncIterator[Prompt]) -> dict[str, Any]:
    return {"prompts": [message.prompt async for message in messages]}


@route("/untyped-stream")
async def untyped_stream(self: Any, messages: AsyncIterator[Any]) -> dict[str, Any]:
    return {"repr": repr([message async for message in messages])}


def typed_field(name: str, kind: Any) -> None:
    """An app whose input has one field, of this type."""
    model = type("Input", (BaseModel,), {"__annotations__": {"value": kind}, "__module__": __name__})

    async def handler(self: Any, message: Any) -> dict[str, Any]:
        return {"type": type(message.value).__name__, "repr": repr(message.value)}

    handler.__annotations__ = {"message": model, "return": dict}
    route(f"/field-{name}")(handler)


FIELDS: dict[str, Any] = {
    "datetime": datetime,
    "date": date,
    "time": time,
    "timedelta": timedelta,
    "uuid": uuid.UUID,
    "decimal": Decimal,
    "path": Path,
    "url": HttpUrl,
    "enum": Colour,
    "bytes": bytes,
    "str": str,
    "int": int,
    "float": float,
    "set": set[int],
    "tuple": tuple[int, str],
    "dict": dict[str, int],
    "int-keys": dict[int, int],
    "model": Inner,
}
for _name, _kind in FIELDS.items():
    typed_field(_name, _kind)


# Results

GIVEN: dict[str, Callable[[], Any]] = {
    "a dict": lambda: {"a": 1},
    "an empty dict": dict,
    "a dict subclass": lambda: collections.OrderedDict(b=1, a=2),
    "None": lambda: None,
    "a list": lambda: [1],
    "a str": lambda: "text",
    "bytes": lambda: b"x",
    "a model": lambda: Output(imageUrl="u", nested=Inner(number=1)),
    "an object with dict()": type("Duck", (), {"dict": lambda _: {"quack": 1}}),
    "a dataclass": lambda: Point(1),
    "any scalar keys": lambda: {1: 1, None: 2, b"k": 3, 1.5: 4, False: 5, (1, 2): 6},
    "a model in a dict": lambda: {"v": Inner(number=1)},
    "a datetime": lambda: {"v": datetime(2026, 1, 2, tzinfo=timezone.utc)},
    "a date": lambda: {"v": date(2026, 1, 2)},
    "a uuid": lambda: {"v": uuid.UUID(int=1)},
    "an enum": lambda: {"v": Colour.RED},
    "an int enum": lambda: {"v": Level.HIGH},
    "a str subclass": lambda: {"v": Text("t")},
    "a dataclass in a dict": lambda: {"v": Point(1)},
    "a set": lambda: {"v": {1}},
    "a tuple": lambda: {"v": (1, 2)},
    "a generator": lambda: {"v": iter(())},
    "a bytearray": lambda: {"v": bytearray(b"x")},
    "a memoryview": lambda: {"v": memoryview(b"xyz")},
    "a strided memoryview": lambda: {"v": memoryview(b"xyz")[::2]},
    "an int of NumPy": lambda: {"v": np.int64(1)},
    "a float of NumPy": lambda: {"v": np.float64(1.5)},
    "an array of NumPy": lambda: {"v": np.zeros(2)},
    "a decimal": lambda: {"v": Decimal("1.5")},
    "a path": lambda: {"v": Path("a")},
    "a large int": lambda: {"v": 2**64},
    "a lone surrogate": lambda: {"v": "\ud800"},
    "NaN": lambda: {"v": float("nan")},
    "nested 600 deep": lambda: {"v": nested(600)},
    "nested 1100 deep": lambda: {"v": nested(1100)},
    "an object": lambda: {"v": object()},
}


def nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


@route("/give")
async def give(self: Any, message: Any) -> dict[str, Any]:
    return GIVEN[message["which"]]()


@route("/give-in-a-thread")
def give_in_a_thread(self: Any, message: Any) -> dict[str, Any]:
    return GIVEN[message["which"]]()


@route("/give-stream")
async def give_stream(self: Any, message: Any) -> AsyncIterator[Any]:
    yield GIVEN[message["which"]]()


# What goes wrong


class Unspeakable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise LookupError


RAISED: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no such model"),
    "an empty error": RuntimeError,
    "KeyError": lambda: KeyError("prompt"),
    "what is not ASCII": lambda: ValueError('naïve "quote" \n 🦀'),
    "a lone surrogate": lambda: ValueError("\ud800"),
    "what cannot be said": Unspeakable,
    "CancelledError": asyncio.CancelledError,
    "AppException": lambda: AppException(message="it failed", status_code=500),
    "FieldException": lambda: FieldException(field="prompt", message="too long"),
    "StopAsyncIteration": StopAsyncIteration,
}


def _raised(message: Any) -> BaseException:
    return RAISED[message["raise"]]()


@route("/raise")
async def raise_(self: Any, message: Any) -> dict[str, Any]:
    if "raise" in message:
        raise _raised(message)
    return message


@route("/raise-in-a-thread")
def raise_in_a_thread(self: Any, message: Any) -> dict[str, Any]:
    raise _raised(message)


@route("/raise-in-a-stream")
async def raise_in_a_stream(self: Any, message: Any) -> AsyncIterator[Any]:
    yield {"n": 0}
    raise _raised(message)


# Kinds


@route("/generator-unannotated")
async def generator_unannotated(self: Any, message: Any):
    yield {"n": 0}


@route("/sync-generator")
def sync_generator(self: Any, message: Any) -> Iterator[Any]:
    for n in range(message["count"]):
        yield {"n": n}


@route("/list-as-iterable")
async def list_as_iterable(self: Any, message: Any) -> Iterable[Any]:
    return [{"n": 0}, {"n": 1}]


@route("/returns-a-generator")
async def returns_a_generator(self: Any, message: Any) -> AsyncIterator[Any]:
    async def generate() -> AsyncIterator[Any]:
        yield {"n": 0}

    return generate()


@route("/stream-that-returns-a-dict")
async def stream_that_returns_a_dict(self: Any, message: Any) -> AsyncIterator[Any]:
    return {"n": 0}


@route("/stream-that-returns-None")
async def stream_that_returns_none(self: Any, message: Any) -> AsyncIterator[Any]:
    return None


@route("/sync-client-stream")
def sync_client_stream(self: Any, messages: AsyncIterator[Any]) -> dict[str, Any]:
    return {}


@route("/client-stream-that-yields")
async def client_stream_that_yields(self: Any, messages: AsyncIterator[Any]) -> dict[str, Any]:
    async def generate() -> AsyncIterator[Any]:
        yield {}

    return generate()


@route("/bidi")
async def bidi(self: Any, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for message in messages:
        if message.get("end"):
            return
        await asyncio.sleep(message.get("delay", 0))
        yield {"got": message}


@route("/bidi-that-returns-a-dict")
async def bidi_that_returns_a_dict(self: Any, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    return {}


# Bursts, order, batches


@route("/burst-1", buffering=1)
async def burst_1(self: Any, message: Any) -> dict[str, Any]:
    await asyncio.sleep(message.get("delay", 0))
    return {"n": message["n"]}


@route("/burst-2", buffering=2)
async def burst_2(self: Any, message: Any) -> dict[str, Any]:
    await asyncio.sleep(message.get("delay", 0))
    return {"n": message["n"]}


@route("/burst-1-untimed", buffering=1, session_timeout=None)
async def burst_1_untimed(self: Any, message: Any) -> dict[str, Any]:
    return {"n": message["n"]}


@route("/burst")
async def burst(self: Any, message: Any) -> dict[str, Any]:
    return {"n": message["n"]}


@route("/burst-in-threads", buffering=4)
def burst_in_threads(self: Any, message: Any) -> dict[str, Any]:
    return {"n": message["n"]}


@route("/order")
async def order(self: Any, message: Any) -> AsyncIterator[Any]:
    for n in range(message["count"]):
        yield {"n": n, "data": bytes(message.get("size", 0))}
        if "delay" in message:
            await asyncio.sleep(message["delay"])


@route("/order-roomy", buffering=32)
async def order_roomy(self: Any, message: Any) -> AsyncIterator[Any]:
    for n in range(message["count"]):
        yield {"n": n}


@route("/batch", max_batch_size=4)
async def batch(self: Any, *messages: Prompt) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    return {"batch": repr(messages)}


@route("/batch-typed", max_batch_size=4)
async def batch_typed(self: Any, message: Batchable, *more: Batchable) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    return {"batch": [item.n for item in (message, *more)]}


@route("/size", session_timeout=4.0)  # a message of 16 MiB takes its time on a busy machine
async def size(self: Any, message: Any) -> dict[str, Any]:
    return {"size": len(message["data"])}


def fal_app() -> Any:
    """The app of the real fal."""
    import fal  # noqa: PLC0415

    methods = {
        item.handler.__name__ + str(index): fal.realtime(item.path, **item.options)(item.handler)
        for index, item in enumerate(ROUTES)
    }
    return type("DifferentialApp", (fal.App,), methods)(_allow_init=True)._build_app()


def serve_locally(server: Any, name: str) -> None:
    """The same on a `LocalServer`."""
    for item in ROUTES:
        server.app(f"{name}{item.path}", **item.options)(item.handler.__get__(object()))
