"""Leaving a blocking connection: what was received and has a callback is delivered, or its loss told."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import AppServer, until_sync

from fal_realtime import SyncRealtimeConnection

COUNT = 20


@pytest.fixture(scope="module")
def peer() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


class Gate:
    """An `on_result` that waits until it is opened."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.opened = threading.Event()

    def __call__(self, result: Any) -> None:
        assert self.opened.wait(20)
        self.results.append(result["n"])

    def open_when(self, condition: Callable[[], object]) -> threading.Thread:
        def work() -> None:
            until_sync(condition, "what opens the gate")
            self.opened.set()

        thread = threading.Thread(target=work)
        thread.start()
        return thread


def filled(peer: AppServer, **options: Any) -> SyncRealtimeConnection:
    """A connection with results that its callback has not been called with."""
    connection = peer.connect_sync(**options)
    connection.send({"count": COUNT})
    until_sync(lambda: connection.stats()["received"] == COUNT, "the results")
    return connection


def by_with(connection: SyncRealtimeConnection) -> None:
    with connection:
        pass


def by_an_exception(connection: SyncRealtimeConnection) -> None:
    with pytest.raises(LookupError), connection:
        raise LookupError


def by_finish(connection: SyncRealtimeConnection) -> None:
    connection.finish(20)


def by_close(connection: SyncRealtimeConnection) -> None:
    connection.close()


@pytest.mark.parametrize("leave", [by_with, by_an_exception, by_finish, by_close])
def test_everything_that_came_is_delivered_before_it_is_left(
    leave: Callable[[SyncRealtimeConnection], None], peer: AppServer
) -> None:
    gate, states = Gate(), []
    connection = filled(peer, on_result=gate, on_state_change=states.append)
    opener = gate.open_when(lambda: connection.state == "closed")
    leave(connection)
    assert gate.results == list(range(COUNT))
    assert states[-1] == "closed"
    stats = connection.stats()
    assert (stats["delivered"], stats["received_pending"]) == (COUNT, 0)
    opener.join()


def test_closing_the_client_delivers_too(peer: AppServer) -> None:
    gate = Gate()
    with peer.sync_client() as client:
        connection = client.connect("local/echo", use_jwt=False, throttle_interval=0, on_result=gate)
        connection.send({"count": COUNT})
        until_sync(lambda: connection.stats()["received"] == COUNT, "the results")
        opener = gate.open_when(lambda: connection.state == "closed")
    assert gate.results == list(range(COUNT))
    opener.join()


def test_a_callback_that_closes_its_connection_does_not_wait_for_itself(peer: AppServer) -> None:
    came: list[int] = []

    def close_at_once(result: Any) -> None:
        if result["n"] == 0:
            connection.close()
        came.append(result["n"])

    connection = peer.connect_sync(on_result=close_at_once, close_timeout=1000)
    connection.send({"n": 0})
    until_sync(lambda: came == [0], "the end of the callback")
    connection.close()


def test_a_callback_that_takes_too_long_is_told_and_what_waits_for_it_is_delivered_later(
    peer: AppServer, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    connection = filled(peer, on_result=gate, close_timeout=0.05)
    # One is with the callback.
    until_sync(lambda: connection.stats()["delivered"] == 1, "the first call")
    with caplog.at_level(logging.WARNING, "fal_realtime"):
        connection.close()
    assert f"callbacks were not called with {COUNT - 1} results and 0 other events: 0.05 s after" in caplog.text
    assert connection.stats()["received_pending"] == COUNT - 1
    gate.opened.set()
    until_sync(lambda: gate.results == list(range(COUNT)), "the rest")


PROLOGUE = """
import sys, threading
from fal_realtime import SyncRealtimeClient
client = SyncRealtimeClient("id:secret", base_url=sys.argv[1], trust_env=False)
options = dict(use_jwt=False, throttle_interval=0)
"""

CLOSED_IN_A_CALLBACK = """
closed = threading.Event()
def on_result(result):
    if result["n"] == 0:
        while connection.stats()["received"] < 200:
            pass
        connection.close()
        closed.set()
    print(result["n"])
connection = client.connect("local/echo", on_result=on_result, **options)
connection.send({"count": 200})
assert closed.wait(20)
"""

STUCK = """
stuck = threading.Event()
def on_result(result):
    stuck.set()
    threading.Event().wait()
connection = client.connect("local/echo", on_result=on_result, close_timeout=0.05, **options)
connection.send({"count": 5})
while connection.stats()["received"] < 5:
    pass
assert stuck.wait(20)
connection.finish(20)
"""


def run(program: str, peer: AppServer) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROLOGUE + program, peer.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_a_process_that_leaves_delivers_what_came_before_a_close_in_a_callback(peer: AppServer) -> None:
    ran = run(CLOSED_IN_A_CALLBACK, peer)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == [str(n) for n in range(200)]


def test_a_process_that_leaves_says_what_was_not_delivered(peer: AppServer) -> None:
    ran = run(STUCK, peer)
    assert ran.returncode == 0
    late, lost = ran.stderr.splitlines()
    assert "callbacks were not called with 4 results and 0 other events: 0.05 s after its end" in late
    assert lost.endswith("callbacks were not called with 4 results and 0 other events: the process leaves")
