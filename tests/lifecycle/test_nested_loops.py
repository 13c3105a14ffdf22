"""A loop that is run again inside a callback, as nest_asyncio, Qt's loop and debuggers do."""

from __future__ import annotations

import subprocess
import sys

import pytest

nest_asyncio = pytest.importorskip("nest_asyncio")

PROGRAM = """
import asyncio, nest_asyncio
from fal_realtime.testing import LocalServer

results, problems = [], []

async def main():
    loop = asyncio.get_running_loop()
    nest_asyncio.apply(loop)
    loop.set_exception_handler(lambda _, context: problems.append(context))
    with LocalServer() as server:
        other = server.client().connect("local/echo", use_jwt=False)
        own = server.client().connect("local/echo", use_jwt=False, on_result=lambda result: take(result))
        done = asyncio.Event()

        def take(result):
            # Both this connection and another are used while the callback waits.
            nested = [loop.run_until_complete(each.request({"n": result["n"]}, timeout=60)) for each in (own, other)]
            results.append([result["n"], *(each["n"] for each in nested)])
            if len(results) == 3:
                done.set()

        for n in range(3):
            await own.send({"n": n})
        await asyncio.wait_for(done.wait(), 30)
        await own.aclose()
        await other.aclose()

asyncio.run(main())
print(results, problems)
"""


def test_a_callback_may_run_the_loop_and_await_answers_in_it():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("[[0, 0, 0], [1, 1, 1], [2, 2, 2]] []", "")
