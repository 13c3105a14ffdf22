"""Callbacks of blocking connections: the threads that they share, their order, and who hears of what nobody takes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support import AppServer, until_sync

from fal_realtime import ConnectionLostError, HandshakeError, RealtimeError, SyncRealtimeConnection

NAME = "fal-realtime-callbacks"


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What `threading.excepthook` hears."""
    heard: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: heard.append(args.exc_value))
    return heard


def callback_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]


def until_no_threads() -> None:
    until_sync(lambda: gc.collect() is not None and not callback_threads(), "the end of the callback threads")


class Gate:
    """A callback that blocks until it is opened."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, result: Any) -> None:
        self.reached.set()
        assert self._opened.wait(20)
        self.results.append(result["n"])

    def open(self) -> None:
        self._opened.set()


# --- the threads ---


def test_connections_share_one_thread_and_one_that_stands_by(peer: AppServer) -> None:
    until_no_threads()
    came: list[list[int]] = [[] for _ in range(20)]
    connections = [peer.connect_sync(on_result=lambda result, mine=mine: mine.append(result["n"])) for mine in came]
    # One that had to wait for the processor may have been taken for stuck, and replaced: it leaves then.
    until_sync(lambda: len(callback_threads()) <= 2, "two threads, since none is open and nothing is to be called")
    for connection in connections:
        connection.send({"count": 100})
    until_sync(lambda: all(len(mine) == 100 for mine in came), "all results")
    assert all(mine == list(range(100)) for mine in came)
    for connection in connections:
        connection.close()
        connection.close()
    del connection, connections
    until_no_threads()


def test_a_callback_that_blocks_holds_up_its_own_connection_alone(peer: AppServer) -> None:
    until_no_threads()
    gates = [Gate() for _ in range(5)]
    blocked = [peer.connect_sync(on_result=gate) for gate in gates]
    for connection in blocked:
        connection.send({"count": 3})
    for gate in gates:
        assert gate.reached.wait(20)
    free: list[int] = []
    with peer.connect_sync(on_result=lambda result: free.append(result["n"])) as connection:
        for n in range(10):
            connection.send({"n": n})
            until_sync(lambda wanted=n: free[-1:] == [wanted], "the next result")
    assert not any(gate.results for gate in gates)
    for gate in gates:
        gate.open()
    until_sync(lambda: all(gate.results == [0, 1, 2] for gate in gates), "what was held up, in its order")
    for connection in blocked:
        connection.close()
    until_no_threads()


def test_threads_that_stepped_in_leave_when_they_are_no_longer_needed(peer: AppServer) -> None:
    gates = [Gate() for _ in range(5)]
    connections = [peer.connect_sync(on_result=gate) for gate in gates]
    for connection, gate in zip(connections, gates, strict=True):
        connection.send({"n": 1})
        assert gate.reached.wait(20)
    assert len(callback_threads()) >= 5
    for gate in gates:
        gate.open()
    until_sync(lambda: len(callback_threads()) <= 2, "the others to leave")
    for connection in connections:
        connection.close()


def test_an_exit_in_a_callback_ends_neither_delivery_nor_that_of_others(
    peer: AppServer, reported: list[BaseException]
) -> None:
    came: list[int] = []

    def leave(result: Any) -> None:
        came.append(result["n"])
        raise SystemExit(3)

    others: list[int] = []
    with (
        peer.connect_sync(on_result=leave) as leaving,
        peer.connect_sync(on_result=lambda result: others.append(result["n"])) as other,
    ):
        leaving.send({"count": 3})
        until_sync(lambda: len(came) == 3, "all results of the one that leaves")
        other.send({"n": 7})
        until_sync(lambda: others == [7], "the result of the other")
    assert [type(error) for error in reported] == [SystemExit] * 3


def test_results_that_came_before_there_was_a_callback_go_to_it(peer: AppServer) -> None:
    states: list[str] = []
    came: list[int] = []
    client = peer.sync_client()
    options: dict[str, Any] = {"use_jwt": False, "throttle_interval": 0, "connection_key": "one"}
    connection = client.connect("local/echo", on_state_change=states.append, **options)
    connection.send({"count": 10})
    until_sync(lambda: connection.stats()["received"] == 10, "the results")
    again = client.connect("local/echo", on_result=lambda result: came.append(result["n"]), **options)
    assert again is connection
    until_sync(lambda: came == list(range(10)), "what had come before")
    connection.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_threads_of_its_own(peer: AppServer) -> None:
    program = """
import os, sys, threading, warnings
from fal_realtime import SyncRealtimeClient

# From Python 3.12 on the fork of a process with threads is warned of: here it is what is tested.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

def use(url):
    came = threading.Event()
    client = SyncRealtimeClient("id:secret", base_url=url, trust_env=False)
    with client.connect("local/echo", use_jwt=False, on_result=lambda result: came.set()) as connection:
        connection.send({"n": 1})
        assert came.wait(20)
    return connection

kept = SyncRealtimeClient("id:secret", base_url=sys.argv[1], trust_env=False).connect(
    "local/echo", use_jwt=False, on_result=print)
use(sys.argv[1])
child = os.fork()
if child == 0:
    use(sys.argv[1])
    os._exit(0)
_, status = os.waitpid(child, 0)
use(sys.argv[1])
kept.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, peer.url], capture_output=True, text=True, timeout=50, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


# --- what nobody takes ---


def fail(peer: AppServer, **callbacks: Any) -> SyncRealtimeConnection:
    """A connection whose opening is refused for good, which no call tells of."""
    peer.refusals.append(404)
    connection = peer.connect_sync(**callbacks)
    connection.send_nowait({"n": 1})
    until_sync(lambda: connection.state == "closed", "the end")
    return connection


def test_without_on_error_what_ends_the_connection_is_told(peer: AppServer, reported: list[BaseException]) -> None:
    connection = fail(peer, on_result=lambda _: None)
    until_sync(lambda: reported, "the report")
    del connection
    gc.collect()
    [error] = reported
    assert isinstance(error, HandshakeError)
    assert error.status == 404


def test_without_on_error_what_does_not_end_the_connection_is_told_too(
    peer: AppServer, reported: list[BaseException]
) -> None:
    failed = '{"type": "x-fal-error", "error": "INVALID_INPUT", "reason": "no such field"}'
    with peer.connect_sync(on_result=lambda _: None) as connection:
        connection.send({"say": failed})
        until_sync(lambda: reported, "the report of the error")
        connection.send({"abort": True})
        until_sync(lambda: len(reported) == 2, "the report of the loss")
    assert [type(error) for error in reported] == [RealtimeError, ConnectionLostError]


@pytest.mark.parametrize("callbacks", [{}, {"on_state_change": lambda _: None}], ids=["none", "on_state_change"])
def test_an_end_that_nobody_was_told_of_is_told_when_the_connection_is_dropped(
    callbacks: dict[str, Any], peer: AppServer, reported: list[BaseException]
) -> None:
    connection = fail(peer, **callbacks)
    assert not reported
    del connection
    until_sync(lambda: gc.collect() is not None and reported, "the report")
    [error] = reported
    assert isinstance(error, HandshakeError)


def test_what_was_told_is_not_told_again(peer: AppServer, reported: list[BaseException]) -> None:
    told: list[BaseException] = []
    with_callback = fail(peer, on_result=lambda _: None, on_error=told.append)
    until_sync(lambda: told, "the callback")
    with_reason = fail(peer, on_state_change=lambda state, reason: None)
    raising = fail(peer)
    with pytest.raises(HandshakeError):
        raising.recv(timeout=1)
    del with_callback, with_reason, raising
    gc.collect()
    until_no_threads()
    assert reported == []
