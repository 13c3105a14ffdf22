"""Ctrl-C in every blocking call of the sync client: FAL_REALTIME_SCALE multiplies how often."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support import LIMIT, AppServer
from support.scale import SCALE, SEED, scaled

from fal_realtime.testing import LocalServer

pytestmark = pytest.mark.timeout(300 * max(1.0, SCALE))

INTERRUPTS = scaled(3)

BLOCKING_CALLS = {
    "open": "held.open()",
    "entering": "held.__enter__()",
    "send": "fill(held); held.send({'n': 1})",
    "request": "live.open(); live.request({'silent': True})",
    "request before the opening": "held.request({'n': 1})",
    "recv": "live.open(); live.recv()",
    "recv with a timeout": "live.open(); live.recv(timeout=100)",
    "iteration": "live.open(); list(live)",
    "drain": "held.send({'n': 1}); held.drain()",
    "close": "mute.open(); mute.close()",
    "leaving": "mute.__enter__(); mute.__exit__(None, None, None)",
}

INTERRUPTED = """
    import signal, sys, time
    from fal_realtime import BufferFullError, SyncRealtimeClient
    # What a shell starts in the background ignores it, and so would this program.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    def connect(url, **options):
        client = SyncRealtimeClient("id:secret", base_url=url, trust_env=False)
        return client.connect("local/echo", use_jwt=False, throttle_interval=0, **options)
    def fill(connection):
        try:
            while True: connection.send_nowait({{"n": 0}})
        except BufferFullError: pass
    kept = []
    for _ in range({times}):
        live, held, mute = connect("{peer}"), connect("{held}"), connect("{mute}", close_timeout=100)
        kept.append((live, held, mute))
        sys.stdin.readline()
        try:
            {before}
            print("ready", flush=True)
            sys.stdin.readline()
            {call}
        except KeyboardInterrupt:
            print(time.monotonic(), flush=True)
"""


@pytest.fixture(scope="module")
def live() -> Iterator[AppServer]:
    with AppServer() as peer:
        yield peer


@pytest.fixture(scope="module")
def held() -> Iterator[AppServer]:
    """Answers no handshake."""
    with AppServer() as peer:
        peer.hold()
        yield peer


@pytest.fixture
def mute() -> Iterator[LocalServer]:
    """Reads nothing while the test pauses it."""
    with LocalServer(key="id:secret") as running:
        yield running


@pytest.mark.parametrize("call", BLOCKING_CALLS)
def test_ctrl_c_interrupts_at_once(call: str, live: AppServer, held: AppServer, mute: LocalServer, figure: Any) -> None:
    *before, last = BLOCKING_CALLS[call].split("; ")
    source = textwrap.dedent(INTERRUPTED).format(
        times=INTERRUPTS,
        peer=live.url,
        held=held.url,
        mute=mute.base_url,
        before="; ".join(before) or "pass",
        call=last,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    rng = random.Random(SEED)
    took = []
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(INTERRUPTS):
            mute.resume()
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
            mute.pause()
            process.stdin.write("call\n")
            process.stdin.flush()
            # There is no way to see from outside that the call has begun to wait.
            time.sleep(0.05 + rng.random() / 10)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            took.append(float(process.stdout.readline()) - sent)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        mute.resume()
    assert (process.returncode, output, errors) == (0, "", "")
    figure(f"slowest of {INTERRUPTS}: {max(took) * 1000:.0f} ms")
    assert max(took) < LIMIT
