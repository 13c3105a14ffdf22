"""The process has no file descriptor left: that is an error of the connection, which says what could not be opened."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no limit of descriptors that can be set")

PROGRAM = """
import asyncio, contextlib, os, resource
from fal_realtime import FalRealtimeError, RealtimeClient, SyncRealtimeClient

# Nobody needs to listen there.
ADDRESSES = dict(base_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1", trust_env=False)

@contextlib.contextmanager
def no_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    try:
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

def told(error):
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return " | ".join(f"{type(each).__name__}: {each}" for each in causes)

async def with_a_loop():
    async def hook(*_):
        pass

    if not FIRST:
        with contextlib.suppress(FalRealtimeError):
            earlier = RealtimeClient("id:secret", **ADDRESSES).connect("local/echo", use_jwt=False)
            await earlier.open()
    connection = RealtimeClient("id:secret", **ADDRESSES).connect("local/echo", open_timeout=1, **OPTIONS)
    with no_descriptors():
        try:
            await USE
        except FalRealtimeError as error:
            print(told(error))
        await connection.aclose()

def without_a_loop():
    hook = lambda *_: None
    if not FIRST:
        with contextlib.suppress(FalRealtimeError):
            # It is kept: what it has would be given back at some later time.
            earlier = SyncRealtimeClient("id:secret", **ADDRESSES).connect("local/echo", use_jwt=False)
            earlier.open()
    connection = SyncRealtimeClient("id:secret", **ADDRESSES).connect("local/echo", open_timeout=1, **OPTIONS)
    with no_descriptors():
        try:
            USE
        except FalRealtimeError as error:
            print(told(error))
        connection.close()

RUN
"""


@pytest.mark.parametrize("first", [True, False], ids=["the first connection", "a later one"])
@pytest.mark.parametrize("run", ["asyncio.run(with_a_loop())", "without_a_loop()"], ids=["asyncio", "blocking"])
@pytest.mark.parametrize(
    ("options", "use"),
    [
        ("use_jwt=False", "connection.open()"),
        ("use_jwt=True", "connection.open()"),
        ("token_provider=hook", "connection.open()"),
        ("use_jwt=False, before_attempt=hook", "connection.open()"),
        ("use_jwt=False, on_open=hook, on_error=hook, on_state_change=lambda *_: None", "connection.open()"),
        ("use_jwt=False", "connection.request({}, timeout=1, retries=2)"),
        ("use_jwt=False", "(connection.send_nowait({}), connection.finish(timeout=0.2))[1]"),
    ],
)
def test_whatever_is_used_first_raises_an_error_of_the_package(first, run, options, use):
    if "without" in run:
        options = options.replace("on_error=hook, ", "")
    options = f"dict({options})"
    program = PROGRAM.replace("RUN", run).replace("FIRST", str(first))
    program = program.replace("**OPTIONS", f"**{options}").replace("USE", use)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    if "token_provider" in options:
        # It returns nothing, which is found only if it was called.
        assert "AuthenticationError" in ran.stdout or "Too many open files" in ran.stdout
    else:
        assert "Too many open files" in ran.stdout
