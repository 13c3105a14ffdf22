"""Leaving the interpreter: whatever is open or pending, it ends at once, with status 0 and in silence."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import AppServer

RUNS = 50
LIMIT = 20.0

PROLOGUE = """
    import asyncio, os, sys, threading, time
    import fal_realtime
    from fal_realtime import RealtimeClient, SyncRealtimeClient
    options = dict(base_url="{url}", rest_url="{stalled}", trust_env=False)
    client = RealtimeClient("id:secret", **options)
    sync = SyncRealtimeClient("id:secret", **options)
    plain = dict(use_jwt=False, throttle_interval=0)
    kept = []
"""

PROGRAMS = {
    "open connections and pending receives, the loop given up": """
        loop = asyncio.new_event_loop()
        async def main():
            connection = await client.connect("local/echo", on_state_change=print_nothing, **plain)
            kept.extend([connection, connection.recv(), connection.request({"silent": True})])
            kept[1].send(None), kept[2].send(None)
            await connection.send({"count": 100000, "every": 0.0001})
            await asyncio.sleep(0.01)
        def print_nothing(state): pass
        loop.run_until_complete(main())
        loop.close()
    """,
    "callbacks while results arrive": """
        async def main():
            def take(result): kept.append(result)
            async def take_slowly(result): await asyncio.sleep(0.0001)
            for callback in (take, take_slowly):
                connection = await client.connect("local/echo", on_result=callback, **plain)
                kept.append(connection)
                await connection.send({"count": 100000, "every": 0.0001})
            await asyncio.sleep(0.02)
        asyncio.run(main())
    """,
    "a pending receive and sys.exit in the loop": """
        async def main():
            connection = await client.connect("local/echo", **plain)
            kept.extend([connection, asyncio.ensure_future(connection.recv())])
            await asyncio.sleep(0)
            sys.exit(0)
        asyncio.run(main())
    """,
    "a token request that nobody answers": """
        async def main():
            connection = client.connect("local/echo")
            kept.append(connection)
            connection.send_nowait({"n": 1})
            while connection.state != "authenticating": await asyncio.sleep(0.001)
        asyncio.run(main())
    """,
    "an asynchronous token provider that hangs": """
        async def provider(app):
            asked.set()
            await asyncio.sleep(1000)
        async def main():
            global asked
            asked = asyncio.Event()
            connection = client.connect("local/echo", token_provider=provider)
            kept.append(connection)
            connection.send_nowait({"n": 1})
            await asked.wait()
        asyncio.run(main())
    """,
    "a blocking token provider that hangs": """
        asked = threading.Event()
        def provider(app):
            asked.set()
            time.sleep(1000)
        async def main():
            connection = client.connect("local/echo", token_provider=provider)
            kept.append(connection)
            connection.send_nowait({"n": 1})
            while not asked.is_set(): await asyncio.sleep(0.001)
        asyncio.run(main())
    """,
    "a blocking token provider that ends while the interpreter does": """
        asked = threading.Event()
        def provider(app):
            asked.set()
            time.sleep(0.003)
            return "token"
        for n in range(8):
            connection = sync.connect(f"local/echo{n}", token_provider=provider)
            kept.append(connection)
            connection.send_nowait({"n": 1})
        asked.wait()
    """,
    "blocking calls in daemon threads": """
        connection = sync.connect("local/echo", **plain)
        connection.open()
        started = threading.Barrier(4)
        def wait(call, *arguments):
            started.wait()
            call(*arguments)
        for call, *arguments in [(connection.recv,), (connection.request, {"silent": True}), (next, connection)]:
            threading.Thread(target=wait, args=(call, *arguments), daemon=True).start()
        started.wait()
    """,
    "the callback thread of the blocking client": """
        connection = sync.connect("local/echo", on_result=kept.append, on_state_change=kept.append, **plain)
        connection.open()
        connection.send({"count": 100000, "every": 0.0001})
        while len(kept) < 20: time.sleep(0.001)
    """,
    "an abandoned loop in a daemon thread": """
        ready = threading.Event()
        async def main():
            async with client.connect("local/echo", **plain) as connection:
                await connection.send({"count": 100000, "every": 0.0001})
                async for result in connection:
                    ready.set()
        threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
        ready.wait()
    """,
}


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """A peer, and a token endpoint that accepts connections and says nothing."""
    with AppServer() as peer, socket.create_server(("127.0.0.1", 0), backlog=200) as stalled:
        yield {"url": peer.url, "stalled": f"http://127.0.0.1:{stalled.getsockname()[1]}"}


def run(program: str) -> tuple[int, str, str, float]:
    """Its status, what it wrote, and how long it took to end after its last line."""
    stamp = "import time; print(f'last line at {time.monotonic()!r}', flush=True)"
    if "sys.exit" in program:
        program = program.replace("sys.exit(0)", f"{stamp}; sys.exit(0)")
    else:
        program += "\n" + stamp
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    end = time.monotonic()
    output, _, stamped = ran.stdout.partition("last line at ")
    return ran.returncode, output, ran.stderr, end - float(stamped or "-inf")


@pytest.mark.parametrize("pending", PROGRAMS)
def test_the_interpreter_leaves_in_silence_with(pending: str, addresses: dict[str, str]) -> None:
    program = textwrap.dedent(PROLOGUE).format(**addresses) + textwrap.dedent(PROGRAMS[pending])
    # Fifty in a row would test one moment of the exit fifty times; fifty over all programs test fifty.
    with ThreadPoolExecutor(2) as pool:
        for status, output, errors, took in pool.map(run, [program] * (RUNS // len(PROGRAMS))):
            assert (status, output, errors) == (0, "", "")
            assert took < LIMIT


EVERYTHING_AT_ONCE = """
    async def main():
        for number in range(3):
            connection = await client.connect("local/echo", **plain)
            kept.extend([connection, asyncio.ensure_future(connection.recv())])
            kept.append(asyncio.ensure_future(connection.request({"silent": True})))
            await connection.send({"count": 1000, "every": 0.001})
            minting = client.connect(f"local/minting{number}")
            minting.send_nowait({"n": 1})
            kept.extend([minting, asyncio.ensure_future(minting.recv())])
            while minting.state != "authenticating": await asyncio.sleep(0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    kept.append(sync.connect("local/echo", **plain))
    kept[-1].open()
    # asyncio reports tasks that are destroyed while they wait; this is about what we would report.
    for task in asyncio.all_tasks(loop): task._log_destroy_pending = False
"""


def test_the_interpreter_leaves_in_silence_fifty_times_in_a_row_with_everything_pending(
    addresses: dict[str, str],
) -> None:
    program = textwrap.dedent(PROLOGUE).format(**addresses) + textwrap.dedent(EVERYTHING_AT_ONCE)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(run, [program] * RUNS))
    assert [outcome[:3] for outcome in outcomes] == [(0, "", "")] * RUNS
    assert max(took for *_, took in outcomes) < LIMIT


def test_nothing_can_be_opened_once_the_interpreter_is_leaving(addresses: dict[str, str]) -> None:
    program = textwrap.dedent(PROLOGUE).format(**addresses) + textwrap.dedent("""
        import atexit
        connection = sync.connect("local/echo", **plain)
        connection.open()
        # Registered after the package's own, which therefore runs later; and one that runs after it.
        def late():
            try:
                sync.connect("local/echo", **plain).open()
            except fal_realtime.ConnectionClosedError as error:
                print(error.code)
        class Last:
            def __del__(self): late()
        sys.last_one = Last()
    """)
    status, output, errors, _ = run(program)
    assert (status, errors) == (0, "")
    assert output in ("1001\n", "")  # module state may be gone by then; what matters is that it ends


def test_a_coroutine_that_is_resumed_while_modules_are_torn_down_gets_an_error(addresses: dict[str, str]) -> None:
    program = textwrap.dedent(PROLOGUE).format(**addresses) + textwrap.dedent("""
        connection = client.connect("local/echo", **plain)
        async def receive():
            await connection.recv()
        class Last:
            def __init__(self, steps): self.steps = steps
            def __del__(self, write=os.write):
                try:
                    self.steps.send(None)
                except BaseException as error:
                    write(2, f"{type(error).__name__}: {error}".encode())
        sys.last_one = Last(receive())
    """)
    status, output, errors, _ = run(program)
    assert (status, output) == (0, "")
    assert re.fullmatch(r"\w+Error: .*", errors)  # which one depends on what is torn down already
