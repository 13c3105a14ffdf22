"""Event loops come and go, and there are several kinds of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio
from support import LOOPS, OPTIONS, AppServer, run_in, until, until_sync

from fal_realtime import RealtimeClient


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


@pytest.mark.parametrize("new_loop", LOOPS)
def test_every_operation_works_on(new_loop: Any, peer: AppServer) -> None:
    async def main() -> None:
        states: list[str] = []
        timings: list[float] = []
        async with peer.connect(on_state_change=states.append, on_timings=timings.append) as connection:
            await connection.send({"n": 0})
            connection.send_nowait({"n": 1})
            assert [await connection.recv() for _ in range(2)] == [{"n": 0}, {"n": 1}]
            assert (await connection.request({"n": 2}, timeout=60))["n"] == 2
            await connection.drain()
            waiting = asyncio.ensure_future(connection.recv())
            await asyncio.sleep(0)
            await connection.send({"count": 5})
            assert await waiting == {"n": 0}
            assert [await connection.recv() for n in range(1, 5)] == [{"n": n} for n in range(1, 5)]
        await until(lambda: states[-1] == "closed", "the last state")
        assert connection.state == "closed"

    run_in(new_loop, main())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_one_client_serves_fifty_loops_one_after_the_other(new_loop: Any, peer: AppServer) -> None:
    client = peer.client()

    async def main(n: int) -> int:
        async with client.connect("local/echo", **OPTIONS) as connection:
            answer = await connection.request({"n": n}, timeout=60)
            return int(answer["n"])

    assert [run_in(new_loop, main(n)) for n in range(50)] == list(range(50))


def test_an_async_token_provider_is_asked_on_a_loop_that_lives(peer: AppServer) -> None:
    """All connections of a client share a provider's token, also those whose loop is gone."""
    client = peer.client()
    asked: list[asyncio.AbstractEventLoop] = []
    kept = []

    async def provider(_app: str) -> str:
        await asyncio.sleep(0)
        asked.append(asyncio.get_running_loop())
        return "token"

    async def leave() -> None:
        connection = client.connect("local/echo", token_provider=provider, token_expiration_seconds=1)
        kept.append(await connection)
        await connection.aclose()

    async def make_only() -> None:
        kept.append(client.connect("local/echo", token_provider=provider, token_expiration_seconds=1))

    async def work() -> None:
        # Now that the token has expired, a new one is needed.
        await asyncio.sleep(1.01)
        await leave()
        assert asked[-1] is asyncio.get_running_loop()

    for main in (make_only, leave, make_only, work):
        run_in(asyncio.new_event_loop, main())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_two_loops_in_two_threads_share_one_client(new_loop: Any, peer: AppServer) -> None:
    client = peer.client()
    together = threading.Barrier(2)

    async def main(name: int) -> list[int]:
        async with client.connect("local/echo", **OPTIONS) as connection:
            together.wait(10)
            answers = []
            for n in range(200):
                if n % 2:
                    answers.append((await connection.request({"n": n, "name": name}, timeout=60))["n"])
                else:
                    await connection.send({"n": n, "name": name})
                    result = await asyncio.wait_for(connection.recv(), 60)
                    assert result["name"] == name
                    answers.append(result["n"])
            return answers

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(run_in, new_loop, main(name), 30) for name in range(2)]
        assert [future.result(40) for future in running] == [list(range(200))] * 2


@pytest.mark.parametrize("new_loop", LOOPS)
def test_send_nowait_may_be_called_from_a_thread_pool(new_loop: Any, peer: AppServer) -> None:
    async def main() -> None:
        async with peer.connect() as connection:
            with ThreadPoolExecutor(8) as pool:
                loop = asyncio.get_running_loop()

                def send(worker: int) -> None:
                    for n in range(50):
                        connection.send_nowait({"worker": worker, "n": n})

                await asyncio.gather(*(loop.run_in_executor(pool, send, worker) for worker in range(8)))
            results = [await asyncio.wait_for(connection.recv(), 60) for _ in range(400)]
            for worker in range(8):
                assert [r["n"] for r in results if r["worker"] == worker] == list(range(50))

    run_in(new_loop, main())


async def test_close_and_stats_may_be_called_from_another_thread(peer: AppServer) -> None:
    async with peer.connect() as connection:
        receiving = asyncio.ensure_future(connection.recv())
        await asyncio.sleep(0)
        await asyncio.to_thread(connection.stats)
        await asyncio.to_thread(connection.close)
        with pytest.raises(Exception, match="closed"):
            await asyncio.wait_for(receiving, 60)


def test_using_a_connection_from_another_loop_is_a_runtime_error(peer: AppServer) -> None:
    home, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        connection = home.run_until_complete(opened(peer))
        for operation in (connection.recv, lambda: connection.request({"n": 1}), connection.open):
            with pytest.raises(RuntimeError, match="belongs to another event loop"):
                other.run_until_complete(asyncio.wait_for(operation(), 60))
        # It is as good as before.
        assert home.run_until_complete(connection.request({"n": 1}, timeout=60))["n"] == 1
        home.run_until_complete(connection.aclose())
    finally:
        home.close()
        other.close()


async def opened(peer: AppServer, **options: Any) -> Any:
    return await peer.connect(**options)


def test_without_a_running_loop_the_error_names_the_blocking_client(peer: AppServer) -> None:
    connection = peer.connect()
    with pytest.raises(RuntimeError, match="SyncRealtimeClient"):
        connection.send_nowait({"n": 1})
    for operation in (
        connection.recv,
        connection.open,
        lambda: connection.send({"n": 1}),
        lambda: connection.request({}),
    ):
        with pytest.raises(RuntimeError, match="SyncRealtimeClient"):
            step(operation())
    assert connection.state == "idle"
    assert connection.stats()["accepted"] == 0


def test_an_async_encoder_without_a_running_loop_is_an_error_that_names_the_blocking_client(peer: AppServer) -> None:
    async def encode(message: Any) -> bytes:
        pytest.fail("it ran")

    connection = peer.connect(encode_message=encode)
    with pytest.raises(RuntimeError, match=r"async encode_message.*SyncRealtimeClient"):
        connection.send_nowait({"n": 1})
    for operation in (connection.send, connection.request):
        with pytest.raises(RuntimeError, match=r"async encode_message.*SyncRealtimeClient"):
            step(operation({"n": 1}))


def test_under_trio_every_operation_raises_what_names_the_blocking_client(peer: AppServer) -> None:
    connection = peer.connect()

    async def enter() -> None:
        async with connection:
            pytest.fail("it opened")

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"trio is not supported.*SyncRealtimeClient"):
            connection.send_nowait({"n": 1})
        for operation in (connection.recv, enter, lambda: connection.send({"n": 1}), lambda: connection.request({})):
            with pytest.raises(RuntimeError, match=r"trio is not supported.*SyncRealtimeClient"):
                await operation()

    trio.run(main)
    assert connection.state == "closed"  # `async with` gave it up
    assert connection.stats()["accepted"] == 0


def step(awaitable: Any) -> None:
    """As a foreign framework would drive it."""
    awaitable.__await__().send(None)


def test_a_client_and_its_connections_are_made_without_a_loop(peer: AppServer) -> None:
    connection = peer.connect()

    async def main() -> None:
        async with connection:
            assert await connection.request({"n": 1}, timeout=60)

    run_in(asyncio.new_event_loop, main())
    assert connection.state == "closed"


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_loop_that_is_closed_with_work_pending_takes_nothing_with_it(
    new_loop: Any, peer: AppServer, caplog: pytest.LogCaptureFixture
) -> None:
    loop = new_loop()

    async def begin() -> tuple[Any, list[Any]]:
        connection = await peer.connect(on_state_change=lambda _: None)
        # Native coroutines that wait, with no task around that asyncio would complain about.
        waiting = [connection.recv(), connection.request({"silent": True}), connection.wait_closed()]
        for operation in waiting:
            operation.send(None)
        connection.send_nowait({"count": 50, "every": 0.001})
        return connection, waiting

    with caplog.at_level(logging.DEBUG):
        connection, waiting = loop.run_until_complete(begin())
        loop.close()
        # The network thread goes on, with nobody to tell.
        connection.send_nowait({"count": 10})
        until_sync(lambda: connection.stats()["received"] == 60, "all results")
        for operation in waiting:
            operation.close()
        connection.close()
        until_sync(lambda: connection.state == "closed", "closed")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    gc.collect()


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_a_program_whose_loop_ends_with_work_pending_ends_in_silence(uvloop: bool, peer: AppServer) -> None:
    program = f"""
        import asyncio, gc
        from fal_realtime import RealtimeClient
        if {uvloop}:
            from uvloop import run
        else:
            from asyncio import run
        client = RealtimeClient("id:secret", base_url="{peer.url}", trust_env=False)
        kept = []
        async def main():
            connection = await client.connect("local/echo", use_jwt=False, throttle_interval=0)
            kept.append(connection)
            kept.append(asyncio.ensure_future(connection.recv()))
            kept.append(asyncio.ensure_future(connection.request({{"silent": True}})))
            await connection.send({{"after": 0.05}})
            await asyncio.sleep(0)
        run(main())
        kept[0].close()
        del kept[:]
        gc.collect()
        print("end")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "end\n", "")


def test_a_closed_loop_does_not_keep_the_client_from_the_next_one(peer: AppServer) -> None:
    client: RealtimeClient = peer.client()
    abandoned = []

    async def leave() -> None:
        connection = await client.connect("local/echo", **OPTIONS)
        abandoned.append(connection)
        await connection.send({"count": 100})

    async def work() -> None:
        async with client.connect("local/echo", **OPTIONS) as connection:
            assert (await connection.request({"n": 1}, timeout=60))["n"] == 1

    for _ in range(5):
        run_in(asyncio.new_event_loop, leave())
        run_in(asyncio.new_event_loop, work())
    for connection in abandoned:
        connection.close()
    until_sync(lambda: all(connection.state == "closed" for connection in abandoned), "closed")
