"""What asyncio got with Python 3.11 and 3.12: `Runner`, `TaskGroup`, `timeout`, eager tasks."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from support import LOOPS, AppServer, run_in, until

from fal_realtime import RealtimeConnection

if sys.version_info < (3, 11):
    pytest.skip("nothing of this is in Python 3.10", allow_module_level=True)

needs_eager_tasks = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


async def all_there(connection: RealtimeConnection, count: int) -> None:
    await until(lambda: connection.stats()["received_pending"] == count, "the results")


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_runner_runs_a_connection_in_several_turns(new_loop: Any, peer: AppServer) -> None:
    async def ask(connection: RealtimeConnection, n: int) -> int:
        return (await connection.request({"n": n}, timeout=60))["n"]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        connection = peer.connect()
        assert [runner.run(ask(connection, n)) for n in range(3)] == [0, 1, 2]
        runner.run(connection.aclose())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_ctrl_c_in_a_runner_ends_a_receiver_and_the_connection_goes_on(new_loop: Any, peer: AppServer) -> None:
    async def interrupted(connection: RealtimeConnection) -> None:
        await connection
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await connection.recv()

    async def go_on(connection: RealtimeConnection) -> Any:
        await connection.send({"n": 1})
        return await connection.recv()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        connection = peer.connect()
        with pytest.raises(KeyboardInterrupt):
            runner.run(interrupted(connection))
        assert runner.run(go_on(connection)) == {"n": 1}
        runner.run(connection.aclose())


async def test_a_task_group_that_fails_ends_its_receivers_and_requests_and_loses_nothing(peer: AppServer) -> None:
    async def fail(connection: RealtimeConnection) -> None:
        await until(lambda: connection.stats()["written"] == 2, "the requests")
        raise LookupError

    async with peer.connect() as connection:
        with pytest.raises(BaseException) as failed:  # noqa: PT011, PT012 - Python 3.10 has no word for the group
            async with asyncio.TaskGroup() as group:
                for n in range(2):
                    group.create_task(connection.request({"silent": True, "n": n}))
                    group.create_task(connection.recv())
                group.create_task(fail(connection))
        assert [type(error) for error in failed.value.exceptions] == [LookupError]  # type: ignore[attr-defined]
        await connection.send({"count": 3})
        async with asyncio.TaskGroup() as group:
            receiving = [group.create_task(connection.recv()) for _ in range(3)]
        assert [task.result() for task in receiving] == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_timeout_around_recv_loses_nothing_however_short(new_loop: Any, peer: AppServer) -> None:
    async def main() -> None:
        async with peer.connect() as connection:
            await connection.send({"count": 300, "every": 0.001})
            results: list[int] = []
            gave_up = 0
            while len(results) < 300:
                try:
                    async with asyncio.timeout(0.0005 * (len(results) % 3)):
                        results.append((await connection.recv())["n"])
                except TimeoutError:  # noqa: PERF203
                    gave_up += 1
            assert results == list(range(300))
            assert gave_up > 0
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0

    run_in(new_loop, main())


async def test_the_inner_of_two_timeouts_ends_a_receiver_and_the_outer_one_does_not_expire(peer: AppServer) -> None:
    async with peer.connect() as connection:
        async with asyncio.timeout(10) as outer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await connection.recv()
            await connection.send({"n": 1})
            assert await connection.recv() == {"n": 1}
        assert not outer.expired()


# --- tasks whose first step is taken where they are made ---


def eager_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """As `asyncio.eager_task_factory`, which before Python 3.13.3 does not take an option that uvloop 0.23 gives it."""
    return asyncio.Task(coroutine, loop=loop, **{**options, "eager_start": True})


def run_eagerly(new_loop: Any, work: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(eager_task)
        try:
            await work()
        finally:
            loop.set_task_factory(None)  # the tasks that end the loop are not started while it runs

    run_in(new_loop, main())


@needs_eager_tasks
@pytest.mark.parametrize("new_loop", LOOPS)
def test_eager_receivers_take_what_is_there_at_once_and_in_order(new_loop: Any, peer: AppServer) -> None:
    async def work() -> None:
        async with peer.connect() as connection:
            await connection.send({"count": 3})
            await all_there(connection, 3)
            receiving = [asyncio.create_task(connection.recv()) for _ in range(4)]
            assert [task.done() for task in receiving] == [True, True, True, False]
            assert [task.result()["n"] for task in receiving[:3]] == [0, 1, 2]
            await connection.send({"n": 3})
            assert await receiving[3] == {"n": 3}

    run_eagerly(new_loop, work)


@needs_eager_tasks
@pytest.mark.parametrize("new_loop", LOOPS)
def test_eager_requests_and_sends_are_all_answered(new_loop: Any, peer: AppServer) -> None:
    async def work() -> None:
        async with peer.connect() as connection:
            sending = [asyncio.create_task(connection.send({"n": n})) for n in range(50)]
            assert all(task.done() for task in sending)
            asking = [asyncio.create_task(connection.request({"n": n}, timeout=60)) for n in range(50)]
            assert [answer["n"] for answer in await asyncio.gather(*asking)] == list(range(50))
            assert [(await connection.recv())["n"] for _ in range(50)] == list(range(50))

    run_eagerly(new_loop, work)


@needs_eager_tasks
@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("suspends", [False, True])
def test_eager_decoders_and_callbacks_keep_the_order(new_loop: Any, suspends: bool, peer: AppServer) -> None:
    async def decode(message: bytes) -> Any:
        if suspends:
            await asyncio.sleep(0)
        return msgpack.unpackb(message)["n"]

    async def work() -> None:
        called: list[int] = []

        async def on_result(result: int) -> None:
            if suspends:
                await asyncio.sleep(0)
            called.append(result)

        async with peer.connect(decode_message=decode) as connection:
            await connection.send({"count": 20})
            receiving = [asyncio.create_task(connection.recv()) for _ in range(20)]
            assert await asyncio.gather(*receiving) == list(range(20))
        async with peer.connect(decode_message=decode, on_result=on_result) as connection:
            await connection.send({"count": 20})
            await until(lambda: len(called) == 20, "the results")
            assert called == list(range(20))

    run_eagerly(new_loop, work)


@needs_eager_tasks
async def test_the_eager_task_of_a_decoder_that_does_not_suspend_takes_no_turn_of_the_loop(peer: AppServer) -> None:
    async def decode(message: bytes) -> Any:
        return msgpack.unpackb(message)

    async with peer.connect(decode_message=decode) as connection:
        await connection.send({"n": 1})
        await all_there(connection, 1)
        with pytest.raises(StopIteration) as end:
            connection.recv().send(None)
        assert end.value.value == {"n": 1}
