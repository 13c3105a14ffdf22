"""The pool of the blocking client: what holds for the asynchronous one holds here, from any thread."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import LIMIT

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    ForkedProcessError,
    HandshakeError,
    RequestTimeoutError,
)
from fal_realtime.pool import Progress
from fal_realtime.testing import LocalServer


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


def pool_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fal-realtime-pool"]


def gone(threads=pool_threads) -> bool:
    """Whether the pools' threads end, which they do by themselves once they were told."""
    for thread in threads():
        thread.join(LIMIT)
    return not threads()


def test_many_threads_share_it(server):
    with server.sync_client().pool("local/echo", size=3) as pool, ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda n: pool.request({"n": n}, timeout=LIMIT), range(200)))
        assert [result["n"] for result in results] == list(range(200))
        assert pool.stats()["succeeded"] == 200
        assert "3 of 3 open" in repr(pool)
    assert server.connections_total == 3
    assert gone()


def test_a_blocking_program_loads_the_loop_when_it_makes_a_pool(server):
    with server.sync_client() as client:
        assert not pool_threads()
        client.pool("local/echo", size=1)
        assert gone()  # dropped


@pytest.mark.parametrize("ordered", [True, False])
def test_map_gives_the_outcome_of_each_input_and_pulls_them_in_the_callers_thread(server, ordered):
    pulled_in = set()

    def given():
        for n in range(100):
            pulled_in.add(threading.get_ident())
            yield {"n": n}

    with server.sync_client().pool("local/echo", size=4) as pool:
        outcomes = pool.map(given(), ordered=ordered)
        indexes = []
        for outcome in outcomes:
            assert outcome.unwrap()["n"] == outcome.index
            indexes.append(outcome.index)
            progress = outcomes.progress
            assert progress.pulled == progress.ok + progress.failed + progress.in_flight
        assert sorted(indexes) == list(range(100))
        if ordered:
            assert indexes == sorted(indexes)
        assert outcomes.progress == Progress(100, 100, 0, 0, None)
    assert pulled_in == {threading.get_ident()}


def test_a_map_keeps_its_pool_though_nobody_else_does(server):
    client = server.sync_client()
    outcomes = client.pool("local/echo", size=2).map({"n": n} for n in range(20))
    numbers = []
    for outcome in outcomes:
        gc.collect()
        numbers.append(outcome.unwrap()["n"])
    assert numbers == list(range(20))
    client.close()
    assert gone()


def test_what_the_inputs_raise_comes_after_the_outcomes(server):
    def given():
        yield {"n": 0}
        yield {"n": 1}
        raise KeyError

    with server.sync_client().pool("local/echo", size=1) as pool:
        outcomes = pool.map(given())
        assert [next(outcomes).index, next(outcomes).index] == [0, 1]
        with pytest.raises(KeyError):
            next(outcomes)
        with pytest.raises(StopIteration):
            next(outcomes)


def test_a_map_that_two_threads_take_goes_on_in_the_first(server):
    pulls, goes_on = threading.Event(), threading.Event()

    def given():
        yield {"n": 0}
        pulls.set()
        goes_on.wait(LIMIT)
        yield from ({"n": n} for n in range(1, 6))

    with server.sync_client().pool("local/echo", size=2) as pool, ThreadPoolExecutor(1) as threads:
        outcomes = pool.map(given())
        taken = threads.submit(lambda: [outcome.index for outcome in outcomes])
        assert pulls.wait(LIMIT)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="waited for already: take them in one thread"):
                next(outcomes)
        goes_on.set()
        assert taken.result(LIMIT) == list(range(6))


@pytest.mark.filterwarnings("ignore:the connection to local/echo:ResourceWarning")
def test_a_pool_that_is_dropped_with_a_map_under_way_leaves_no_task_behind(server, caplog):
    with server.sync_client() as client:
        for _ in range(8):
            for _outcome in client.pool("local/echo", size=4).map({"n": n, "delay": n and 60} for n in range(9)):
                break
            del _outcome
            gc.collect()
            assert gone()
        gc.collect()
    assert not caplog.records


def test_leaving_a_map_early_cancels_what_is_under_way(server):
    with server.sync_client().pool("local/echo", size=4, drain_timeout=LIMIT) as pool:
        for outcome in pool.map({"n": n, "delay": 0 if n < 3 else 60} for n in itertools.count()):
            if outcome.index == 2:
                break
        del outcome
        until(lambda: pool.stats()["under_way"] == 0)
        with pool.map({"n": n, "delay": 60} for n in itertools.count()) as outcomes:
            pass
        assert outcomes.progress.in_flight == 0


def until(condition) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_leaving_waits_for_other_threads(server):
    with server.sync_client().pool("local/echo", size=1) as pool, ThreadPoolExecutor(2) as threads:
        requests = [threads.submit(pool.request, {"n": n, "delay": 0.05}) for n in range(2)]
        until(lambda: pool.stats()["requests"] == 2)
        pool.close()
        assert [request.result()["n"] for request in requests] == [0, 1]
        with pytest.raises(RuntimeError, match="the pool is closed"):
            pool.request({"n": 1})


def test_or_no_longer_than_it_may(server):
    pool = server.sync_client().pool("local/echo", size=1, close_timeout=0.1)
    with ThreadPoolExecutor(1) as threads:
        request = threads.submit(pool.request, {"n": 1, "delay": 60})
        until(lambda: pool.stats()["under_way"] == 1)
        with pytest.raises(RequestTimeoutError, match="1 requests had no answer"):
            pool.close(0.05)
        with pytest.raises(ConnectionClosedError):
            request.result(LIMIT)
    assert gone()


def test_errors_are_raised_where_the_call_is(server):
    with pytest.raises(AuthenticationError), server.sync_client(credentials="a:b").pool("local/echo", size=2):
        pass
    pool = server.sync_client().pool("me/missing", size=1, prewarm=0, use_jwt=False)
    with pytest.raises(HandshakeError):
        pool.request({"n": 1})
    assert isinstance(pool.failure, HandshakeError)
    pool.close()
    pool.close()
    assert gone()


def test_an_option_that_is_not_accepted_starts_no_thread(server):
    with pytest.raises(ValueError, match="size must be"):
        server.sync_client().pool("local/echo", size=0)
    with pytest.raises(TypeError, match="asynchronous"), server.sync_client().pool("local/echo", size=1) as pool:
        pool.map(_no_inputs())
    assert gone()


async def _no_inputs():
    yield {}


def test_closing_the_client_closes_its_pools(server):
    with server.sync_client() as client:
        pool = client.pool("local/echo", size=2)
        assert pool.request({"n": 1}, timeout=LIMIT)
    assert gone()
    server.wait_for_connections(0)
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.pool("local/echo", size=2)


def test_a_callback_that_waits_for_its_own_pool_is_told(server):
    told = []

    def step(_: Progress) -> None:
        try:
            pool.request({"n": 1})
        except RuntimeError as error:
            told.append(str(error))

    with server.sync_client().pool("local/echo", size=1) as pool:
        assert len(list(pool.map([{"n": 0}], on_progress=step))) == 1
    assert "it would wait for itself" in told[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("call", ["request", "next"])
def test_a_forked_child_is_told(server, call):
    with server.sync_client().pool("local/echo", size=1) as pool:
        outcomes = pool.map({"n": n} for n in range(3))
        assert next(outcomes).unwrap()["n"] == 0
        if (child := os.fork()) == 0:
            try:
                _ = pool.request({"n": 1}) if call == "request" else next(outcomes)
            except ForkedProcessError:
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert [outcome.unwrap()["n"] for outcome in outcomes] == [1, 2]


PROGRAM = """
from fal_realtime.testing import LocalServer
with LocalServer() as server, server.sync_client().pool("local/echo", size=1, close_timeout=0.1) as pool:
    print("asking", flush=True)
    pool.request({"delay": 60})
"""


def test_ctrl_c_interrupts_a_request():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "asking\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LIMIT)
        assert "KeyboardInterrupt" in said


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_a_hook_ends_the_call_that_it_was_for_and_nothing_else(server, kind, monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    leaves = [True]

    def decode(message):
        if leaves.pop() if leaves else False:
            raise kind
        return message

    with server.sync_client().pool("local/echo", size=1, decode_message=decode) as pool:
        with pytest.raises(kind):
            pool.request({"n": 0}, timeout=LIMIT)
        assert isinstance(pool.request({"n": 1}, timeout=LIMIT), bytes)
        assert pool.stats()["succeeded"] == 1
    assert told == [kind]
    assert gone()
