"""A forked child: it never hangs, is told that the parent's connections are not its own, and can make others."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import AppServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")

# In processes of their own: the threads of a test run are no place to fork from.
PROLOGUE = """
    import asyncio, faulthandler, gc, multiprocessing, os, pathlib, signal, sys, threading, time, warnings
    from fal_realtime import ForkedProcessError, RealtimeClient, SyncRealtimeClient
    warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
    base_url = os.environ["PEER"]
    plain = dict(use_jwt=False, throttle_interval=0)
    faulthandler.register(signal.SIGUSR1)
    patience = 24  # seconds that a child may take; a grandchild has half of it, so that its parent is there to tell

    def make(kind):
        return kind("id:secret", base_url=base_url, trust_env=False)

    def expect(error, call, *arguments):
        try:
            call(*arguments)
        except error:
            return
        raise AssertionError(f"{call} did not raise {error}")

    def step(operation):
        operation.__await__().send(None)

    def replace_callbacks(connection):
        connection.set_callbacks(on_result=None, on_error=str, on_timings=None, on_state_change=str)

    def exercise():
        with make(SyncRealtimeClient).connect("local/echo", **plain) as own:
            assert own.request({"n": 1}, timeout=60)["n"] == 1
        async def main():
            async with make(RealtimeClient).connect("local/echo", **plain) as own:
                assert (await own.request({"n": 1}, timeout=60))["n"] == 1
        asyncio.run(main())

    def in_child(work):
        '''Runs it in a fork; its status.'''
        global patience
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            status = 1
            patience /= 2
            try:
                work()
                status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        # It says where it hangs: what Python knows of its threads, and what each of them, native ones too, waits for.
        os.kill(child, signal.SIGUSR1)
        time.sleep(0.5)
        for thread in sorted(pathlib.Path(f"/proc/{child}/task").glob("*")):
            said = [(thread / name).read_text().strip() for name in ("comm", "wchan", "syscall")]
            print(*said, file=sys.stderr)
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise AssertionError("the child hangs")
"""


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


def run(peer: AppServer, program: str) -> None:
    source = textwrap.dedent(PROLOGUE) + textwrap.dedent(program)
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", source],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={"PEER": peer.url, "PATH": "/usr/bin:/bin"},
    )
    assert not ran.stderr
    assert ran.returncode == 0


def test_a_child_is_told_that_a_connection_is_its_parent_s(peer: AppServer) -> None:
    run(
        peer,
        """
        async def main():
            async with make(RealtimeClient).connect("local/echo", on_state_change=str, **plain) as connection:
                await connection.send({"count": 100000, "every": 0.0001})
                await connection.recv()
                def child():
                    for call in (connection.stats, connection.close, lambda: connection.state,
                                 lambda: replace_callbacks(connection),
                                 lambda: connection.send_nowait({}), lambda: step(connection.send({})),
                                 lambda: step(connection.recv()), lambda: step(connection.request({})),
                                 lambda: step(connection.open()), lambda: step(connection.drain()),
                                 lambda: step(connection.wait_closed()), lambda: step(connection.aclose())):
                        expect(ForkedProcessError, call)
                    assert "parent" in repr(connection)
                for _ in range(5):
                    assert in_child(child) == 0
                # The parent has lost nothing.
                before = await connection.recv()
                assert (await connection.recv())["n"] == before["n"] + 1
        asyncio.run(main())
        """,
    )


def test_a_child_is_told_that_a_blocking_connection_is_its_parent_s(peer: AppServer) -> None:
    run(
        peer,
        """
        with make(SyncRealtimeClient).connect("local/echo", on_state_change=str, **plain) as connection:
            connection.send({"count": 100000, "every": 0.0001})
            connection.recv()
            def child():
                for call in (connection.stats, connection.close, lambda: connection.state, connection.recv,
                             connection.open, connection.drain, lambda: replace_callbacks(connection),
                             lambda: connection.send_nowait({}),
                             lambda: connection.send({}), lambda: connection.request({}), lambda: next(connection)):
                    expect(ForkedProcessError, call)
            for _ in range(5):
                assert in_child(child) == 0
            before = connection.recv()
            assert connection.recv()["n"] == before["n"] + 1
        """,
    )


def test_a_child_makes_its_own_client(peer: AppServer) -> None:
    run(
        peer,
        """
        client = make(SyncRealtimeClient)
        with client.connect("local/echo", **plain) as connection:
            connection.send({"count": 1000, "every": 0.002})
            def child():
                exercise()
                # A grandchild likewise.
                assert in_child(exercise) == 0
            for _ in range(5):
                assert in_child(child) == 0
            assert connection.request({"x": 1}, timeout=60)["x"] == 1
        exercise()
        """,
    )


def test_a_child_that_connects_with_its_parent_s_client_and_key_gets_a_connection_of_its_own(peer: AppServer) -> None:
    run(
        peer,
        """
        client = make(SyncRealtimeClient)
        def connect():
            return client.connect("local/echo", connection_key="key", **plain)
        connect().open()
        def child():
            assert connect().request({"n": 1}, timeout=60)["n"] == 1
            connect().close()
        for _ in range(5):
            assert in_child(child) == 0
        assert connect().request({"n": 2}, timeout=60)["n"] == 2
        assert connect().stats()["accepted"] == 1
        connect().close()
        """,
    )


def test_a_child_closes_what_it_made_with_its_parent_s_client_and_nothing_else(peer: AppServer) -> None:
    run(
        peer,
        """
        blocking, client = make(SyncRealtimeClient), make(RealtimeClient)
        kept = [blocking.connect("local/echo", **plain) for _ in range(3)]
        pool = blocking.pool("local/echo", size=1, use_jwt=False)
        for connection in kept:
            connection.open()
        idle = client.connect("local/echo", **plain)
        def child():
            own = blocking.connect("local/echo", **plain)
            own.open()
            blocking.close()
            assert own.state == "closed"
            async def main():
                own = await client.connect("local/echo", **plain)
                await client.aclose()
                assert own.state == "closed"
                client.close()
            asyncio.run(main())
        assert in_child(child) == 0
        assert [connection.request({"n": 1}, timeout=60)["n"] for connection in kept] == [1, 1, 1]
        assert pool.request({"n": 2}, timeout=60)["n"] == 2
        blocking.close()
        client.close()
        """,
    )


def test_a_child_collects_what_its_parent_left_without_hanging(peer: AppServer) -> None:
    """It drops pending operations and connections, whose locks the parent's network thread may have held."""
    run(
        peer,
        """
        async def main():
            connection = make(RealtimeClient).connect("local/echo", on_error=print, **plain)
            await connection
            pending = [connection.recv(), connection.request({"silent": True}), connection.wait_closed()]
            for operation in pending:
                operation.send(None)
            tasks = [asyncio.ensure_future(connection.recv()) for _ in range(3)]
            await connection.send({"count": 100000, "every": 0.00001})
            await asyncio.sleep(0)
            def child():
                nonlocal connection, pending, tasks
                expect(ForkedProcessError, lambda: pending[0].send(None))
                for operation in pending[1:]:
                    operation.close()
                connection = pending = tasks = None
                gc.collect()
            for _ in range(30):
                assert in_child(child) == 0
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            connection.close()
        asyncio.run(main())
        """,
    )


def test_a_child_of_the_moment_in_which_a_connection_has_opened_leaves(peer: AppServer) -> None:
    """A thread that hands records to logging becomes known to the interpreter, under a lock that a child would want."""
    run(
        peer,
        """
        client = make(SyncRealtimeClient)
        for _ in range(300):
            with client.connect("local/echo", on_result=str, **plain):
                assert in_child(lambda: None) == 0
        """,
    )


def test_a_child_that_leaves_by_itself_leaves_at_once(peer: AppServer) -> None:
    run(
        peer,
        """
        connection = make(SyncRealtimeClient).connect("local/echo", on_result=str, **plain)
        connection.open()
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        connection.close()
        """,
    )


def test_a_child_has_no_part_in_what_the_threads_of_its_parent_wait_for(peer: AppServer) -> None:
    """Its own threads wait for the like, in memory that was theirs."""
    run(
        peer,
        """
        def wait_in_threads(connections, threads):
            client, waiting = make(SyncRealtimeClient), []
            for _ in range(connections):
                connection = client.connect("local/echo", **plain)
                connection.open()
                receivers = [threading.Thread(target=connection.recv, daemon=True) for _ in range(threads)]
                for receiver in receivers:
                    receiver.start()
                waiting.append((connection, receivers))
            return waiting
        def child():
            for _ in range(2):
                for connection, receivers in wait_in_threads(8, 3):
                    for receiver in receivers:
                        connection.send({"n": 1})
                    for receiver in receivers:
                        receiver.join()
                    connection.close()
        kept = wait_in_threads(20, 3)
        for _ in range(4):
            assert in_child(child) == 0
        """,
    )


CHILD = """
import os
from fal_realtime import SyncRealtimeClient
def work(n):
    client = SyncRealtimeClient("id:secret", base_url=os.environ["PEER"], trust_env=False)
    with client.connect("local/echo", use_jwt=False, throttle_interval=0) as own:
        return own.request({"n": n}, timeout=60)["n"]
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_pool_works_beside_open_connections(method: str, peer: AppServer, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)  # where a spawned child finds what it is to run
    run(
        peer,
        f"""
        sys.path.insert(0, {str(tmp_path)!r})
        from child import work
        with make(SyncRealtimeClient).connect("local/echo", **plain) as connection:
            connection.send({{"count": 1000, "every": 0.002}})
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                assert pool.map_async(work, range(4)).get(30) == [0, 1, 2, 3]
            assert connection.request({{"x": 1}}, timeout=60)["x"] == 1
        """,
    )
