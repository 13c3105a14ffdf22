"""The system gives no more threads: that is an error of the connection, and passes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can become somebody whose threads are limited"
)

PROLOGUE = """
import contextlib, gc, importlib, os, pkgutil, resource, sys, tempfile, threading
import fal_realtime
from fal_realtime import FalRealtimeError
from fal_realtime.testing import LocalServer

def give_no_threads():
    # Somebody who may have none, and perhaps not read modules that are imported later.
    global hard
    for module in pkgutil.walk_packages(fal_realtime.__path__, "fal_realtime."):
        with contextlib.suppress(Exception):  # what it needs is not installed
            importlib.import_module(module.name)
    fal_realtime.SyncRealtimeClient("id:secret")  # which reads the version of the package
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))

def give_threads():
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
"""

OPENINGS = """
with LocalServer() as server:
    options = {"base_url": f"ws://localhost:{server.port}"}
    with server.sync_client().connect("local/echo", use_jwt=False) as connection:
        connection.request({"n": 0}, timeout=60)  # the I/O thread runs now
    give_no_threads()
    for options in ({"use_jwt": False}, {"token_provider": lambda app: "token"}):
        client = server.sync_client(base_url=f"ws://localhost:{server.port}")
        connection = client.connect("local/echo", open_timeout=1, **options)
        try:
            connection.open()
        except FalRealtimeError as error:
            print(error)
    give_threads()
    with client.connect("local/echo", use_jwt=False) as connection:
        print(connection.request({"n": 1}, timeout=60)["n"])
"""


HOOKS = """
with LocalServer() as server:
    client = server.sync_client()
    client.connect("local/echo").request({"n": 0}, timeout=60)  # the I/O thread runs now
    # Threads that start calls are Rust's; those that make them are Python's, and their stacks are large here.
    limit, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    for name in ("on_open", "before_attempt"):
        connection = client.connect("local/echo", open_timeout=20, **{name: lambda _: None})
        threading.stack_size(512 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), hard))
        try:
            connection.open()
        except FalRealtimeError as error:
            print(error.retryable, error)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
            threading.stack_size(0)
    with client.connect("local/echo", on_open=lambda _: print("opened")) as connection:
        print(connection.request({"n": 1}, timeout=60)["n"])
"""

CALLBACKS = """
server = LocalServer().start()
give_no_threads()
client, came, called = server.sync_client(), [], threading.Event()
for options in ({}, {"connection_key": "k"}):
    try:
        client.connect("local/echo", use_jwt=False, on_result=came.append, **options)
    except FalRealtimeError as error:
        print(type(error).__name__, error.retryable, error)
later = client.connect("local/echo", use_jwt=False, throttle_interval=0)
callbacks = dict.fromkeys(("on_error", "on_timings", "on_state_change"))
try:
    later.set_callbacks(on_result=came.append, **callbacks)
except FalRealtimeError as error:
    print(type(error).__name__, error.retryable, error)
try:
    client.pool("local/echo", size=1)
except FalRealtimeError as error:
    print(type(error).__name__, error.retryable, error)
with tempfile.NamedTemporaryFile("w+") as kept:
    kept.write("kept")
    kept.flush()
    try:
        later.record(kept.name)
    except FalRealtimeError as error:
        print(type(error).__name__, error.retryable, error)
    kept.seek(0)
    assert kept.read() == "kept", "what a recording would replace is there until it begins"
give_threads()

def on_result(result):
    came.append(result["n"])
    called.set()

with client.connect("local/echo", use_jwt=False, throttle_interval=0, on_result=on_result) as connection:
    connection.send({"n": 1})
    called.wait(20)
called.clear()
with later:
    later.send({"n": 2})
    print(later.recv(timeout=20)["n"])
    later.set_callbacks(on_result=on_result, **callbacks)
    later.send({"n": 3})
    called.wait(20)
print(came)
server.stop()
"""

TOLD_ONCE = """
threading.excepthook = lambda told: print("told nobody:", told.exc_value)
server = LocalServer().start()
give_no_threads()
client = server.sync_client()

def enter(connection):
    with connection:
        pass

def send(connection):
    connection.send({"n": 1})

for attempt in (lambda connection: connection.open(), enter, send):
    connection = client.connect("local/echo", use_jwt=False)
    try:
        attempt(connection)
    except FalRealtimeError as error:
        print(error)
    del connection
    gc.collect()
give_threads()
server.stop()
"""


def output_of(program: str) -> list[str]:
    """The lines that it printed; it says nothing else."""
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", PROLOGUE + program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def test_a_hook_for_which_there_is_no_thread_is_named_and_may_have_one_later():
    on_open, before_attempt, opened, again = output_of(HOOKS)
    assert on_open.startswith("True on_open could not be called: FalRealtimeError: the thread")
    assert before_attempt.startswith("True before_attempt could not be called: FalRealtimeError: the thread")
    assert (opened, again) == ("opened", "1")


def test_an_opening_for_which_there_is_no_thread_fails_with_the_reason_and_later_ones_work():
    lookup, provider, again = output_of(OPENINGS)
    assert "localhost" in lookup
    assert "Resource temporarily unavailable" in lookup + provider
    assert again == "1"


def test_callbacks_for_which_there_is_no_thread_are_refused_with_the_reason_and_later_ones_are_called():
    *refused, received, came = output_of(CALLBACKS)
    callbacks = "fal-realtime-callbacks"
    for line, name in zip(
        refused, [callbacks, callbacks, callbacks, "fal-realtime-pool", "fal-recording"], strict=True
    ):
        assert line.startswith(f"FalRealtimeError True the thread {name} could not be started: ")
        assert "start new thread" in line or "Resource temporarily unavailable" in line
    assert received == "2", "without callbacks it goes on"
    assert came == "[1, 3]"


def test_an_opening_for_which_there_is_no_thread_is_told_once():
    told = output_of(TOLD_ONCE)
    assert len(told) == 3
    assert {line.partition(" could not")[0] for line in told} == {"the I/O thread"}
