"""Operations that need not wait do not keep the loop's other tasks from running."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support import LOOPS, AppServer, run_in, until

from fal_realtime import RealtimeConnection

COUNT = 1_000
"""Results or messages in a row: fewer than a queue holds, so that nothing has to wait."""
TURNS = 3
"""The least that others must get meanwhile: one turn in 256 operations makes 3."""


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


class Turns:
    """Counts the turns that another task gets."""

    def __init__(self) -> None:
        self.count = 0
        self.task = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


async def fill(connection: RealtimeConnection) -> None:
    """All results are there to be taken."""
    await connection.send({"count": COUNT})
    await until(lambda: connection.stats()["received"] == COUNT, "all results")


async def receive(connection: RealtimeConnection) -> None:
    for n in range(COUNT):
        assert (await connection.recv())["n"] == n


async def iterate(connection: RealtimeConnection) -> None:
    async for result in connection:
        if result["n"] == COUNT - 1:
            break


async def send(connection: RealtimeConnection) -> None:
    for _ in range(COUNT):
        await connection.send({"count": 0})


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("work", [receive, iterate, send])
def test_other_tasks_have_turns_though_nothing_has_to_wait(new_loop: Any, work: Any, peer: AppServer) -> None:
    async def watched(connection: RealtimeConnection) -> None:
        turns = Turns()
        await asyncio.sleep(0)
        before = turns.count
        await work(connection)
        assert turns.count - before >= TURNS
        turns.task.cancel()

    async def main() -> None:
        async with peer.connect(throttle_interval=0) as connection:
            await fill(connection)
            await asyncio.wait_for(watched(connection), 20)

    run_in(new_loop, main())


async def test_an_operation_that_is_cancelled_while_others_have_their_turn_does_nothing(peer: AppServer) -> None:
    async with peer.connect(throttle_interval=0) as connection:
        await fill(connection)
        taken: list[int] = []
        for _ in range(COUNT):
            # A task of its own that is cancelled at its first wait, if it has one.
            receiver = asyncio.ensure_future(connection.recv())
            await asyncio.sleep(0)
            receiver.cancel()
            result = (await asyncio.gather(receiver, return_exceptions=True))[0]
            if isinstance(result, BaseException):
                assert isinstance(result, asyncio.CancelledError)
            else:
                taken.append(result["n"])
        while len(taken) < COUNT:
            taken.append((await connection.recv())["n"])
        assert taken == list(range(COUNT))
