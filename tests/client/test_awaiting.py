"""What `await` gives is the same however Python takes the steps of an operation."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import types
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest
from support import LOOPS, AppServer, run_in, until

import fal_realtime

OUTCOMES = (None, {"n": 1}, (), (1, 2), ValueError("a value"), StopIteration(3), asyncio.CancelledError())
"""Some of these are not what `StopIteration(value)` would give back, if it were made carelessly."""


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


async def awaited(operation: Awaitable[object]) -> object:
    return await operation


async def traced(operation: Awaitable[object]) -> object:
    """A debugger or a coverage tool makes CPython take other ways."""
    before = sys.gettrace()

    def trace(*_: object) -> Any:
        return trace

    sys.settrace(trace)
    try:
        return await awaited(operation)
    finally:
        sys.settrace(before)


@types.coroutine
def delegated(operation: Awaitable[object]) -> Generator[object, object, object]:
    return (yield from operation.__await__())


@types.coroutine
def stepped(operation: Awaitable[object]) -> Generator[object, object, object]:
    steps = operation.__await__()
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        yield step


async def in_a_task(operation: Any) -> object:
    task: asyncio.Task[object] = asyncio.get_running_loop().create_task(operation)
    return await task


WAYS: tuple[Callable[[Any], Awaitable[object]], ...] = (awaited, traced, delegated, stepped, in_a_task)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("new_loop", LOOPS)
def test_every_way_gives_the_same(new_loop: Any, way: Callable[[Any], Awaitable[object]], peer: AppServer) -> None:
    left = list(OUTCOMES)

    async def main() -> list[object]:
        async with peer.connect(decode_message=lambda _: left.pop(0)) as connection:
            taken: list[object] = []
            for number in range(len(OUTCOMES)):
                assert await way(connection.send({"n": number})) is None
                taken.append(await way(connection.recv()))  # waits
            return taken

    taken = run_in(new_loop, main())
    assert all(one is expected for one, expected in zip(taken, OUTCOMES, strict=True)), taken


@pytest.mark.parametrize("way", WAYS)
def test_every_way_raises_the_same(way: Callable[[Any], Awaitable[object]], peer: AppServer) -> None:
    async def main() -> None:
        async with peer.connect() as connection:
            await way(connection.send({"n": 1}))
            assert await way(connection.recv())
            operation = connection.recv()
            connection.close()
            with pytest.raises(fal_realtime.ConnectionClosedError):
                await way(operation)
            with pytest.raises(RuntimeError, match="awaited already"):
                await way(operation)

    run_in(asyncio.new_event_loop, main())


def test_a_result_that_is_there_takes_no_turn_of_the_loop(peer: AppServer) -> None:
    async def main() -> None:
        async with peer.connect() as connection:
            await connection.send({"n": 1})
            await until(lambda: connection.stats()["received_pending"] == 1, "a result")
            steps = connection.recv().__await__()
            with pytest.raises(StopIteration) as end:
                next(steps)
            assert end.value.value["n"] == 1

    run_in(asyncio.new_event_loop, main())


def has_am_send(kind: type) -> bool:
    """Whether a type has the slot by which `await` takes a result without an exception; Python code cannot ask."""
    word = ctypes.sizeof(ctypes.c_void_p)
    # PyVarObject, then tp_name, tp_basicsize, tp_itemsize, tp_dealloc, tp_vectorcall_offset, tp_getattr, tp_setattr.
    tp_as_async = id(kind) + object.__basicsize__ + word + 7 * word
    slots = ctypes.c_void_p.from_address(tp_as_async).value
    return slots is not None and bool(ctypes.c_void_p.from_address(slots + 3 * word).value)


def test_operations_have_the_slot_that_awaiting_asks_first(peer: AppServer) -> None:
    async def main() -> None:
        async with peer.connect() as connection:
            operation = connection.drain()
            assert has_am_send(type(operation))
            await operation

    assert has_am_send(types.CoroutineType)
    assert not has_am_send(type(iter([])))
    run_in(asyncio.new_event_loop, main())
