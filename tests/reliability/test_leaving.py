"""Interpreters and services that leave while everything is in use: in silence, soon, and with status 0.

FAL_REALTIME_SCALE=5 makes it 200 exits; FAL_REALTIME_SEED repeats them.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from checks import percentile
from support import LIMIT
from support.scale import SCALE, SEED, scaled

from fal_realtime.testing import LocalServer

pytestmark = pytest.mark.timeout(300 * max(1.0, SCALE))


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


# --- leaving the interpreter ---

EXITS = scaled(40)

EVERYTHING_AT_ONCE = """
    import asyncio, random, sys, threading, time
    from fal_realtime import RealtimeClient, SyncRealtimeClient
    rng = random.Random({seed})
    options = dict(base_url="{url}", rest_url="{url}".replace("ws", "http"), trust_env=False)
    client, sync = RealtimeClient("{key}", **options), SyncRealtimeClient("{key}", **options)
    plain = dict(use_jwt=False, throttle_interval=0)
    kept = []
    def take(value): kept.append(value)
    async def take_async(value): await asyncio.sleep(0.0001)

    # A blocking connection with callbacks, and one in which a daemon thread waits.
    with_callbacks = sync.connect("local/stream", on_result=take, on_state_change=take, **plain)
    with_callbacks.send({{"count": 1000000, "delay": 0.0001}})
    blocking = sync.connect("local/echo", **plain)
    blocking.open()
    threading.Thread(target=blocking.recv, daemon=True).start()

    async def main():
        for callback in (take, take_async):
            streaming = client.connect("local/stream", on_result=callback, on_timings=callback, **plain)
            await streaming.send({{"count": 1000000, "delay": 0.0001}})
            kept.append(streaming)
        echo = await client.connect("local/echo", throttle_interval=50)
        unopened = client.connect("local/echo")
        unopened.send_nowait({{"n": 1}})
        slow = echo.request({{"delay": 100}})
        tasks = [asyncio.ensure_future(work) for work in (echo.recv(), slow, echo.drain(), unopened.drain())]
        # asyncio reports tasks that nobody cancels, which is right: but it is the program's fault, not ours.
        for task in tasks: task._log_destroy_pending = False
        kept.extend([echo, unopened, *tasks])
        await asyncio.sleep(rng.random() / 50)
        if rng.random() < 0.5:
            print(time.monotonic(), flush=True)
            sys.exit(0)
    if rng.random() < 0.5:
        asyncio.run(main())
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
    print(time.monotonic(), flush=True)
"""


def test_interpreters_leave_in_silence_with_everything_live_at_once(server: LocalServer, figure: Any) -> None:
    def leave(seed: int) -> float:
        program = textwrap.dedent(EVERYTHING_AT_ONCE).format(seed=seed, url=server.base_url, key=server.key)
        ran = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        end = time.monotonic()
        assert (ran.returncode, ran.stderr) == (0, ""), f"{seed=}"
        return end - float(ran.stdout.split()[0])

    seeds = [SEED + n for n in range(EXITS)]
    with ThreadPoolExecutor(2) as pool:
        took = list(pool.map(leave, seeds))
    figure(
        f"{EXITS} exits from seed {SEED}: p50 {percentile(took, 50) * 1000:.0f} ms, slowest {max(took) * 1000:.0f} ms"
    )
    assert max(took) < LIMIT
    assert server._server.wait_for_connections(0, 10)


# --- a preloading gunicorn ---

SERVICE = """
    import json, os
    from fal_realtime import ForkedProcessError, RealtimeClient, SyncRealtimeClient

    options = dict(base_url=os.environ["PEER"], trust_env=False)
    client = RealtimeClient(os.environ["PEER_KEY"], **options)
    master = os.getpid()
    parents = SyncRealtimeClient(os.environ["PEER_KEY"], **options).connect("local/echo", use_jwt=False)
    if os.environ["USED_IN_MASTER"]:
        # The native threads run when the workers are forked, and a connection is open.
        assert parents.request({"x": 1}, timeout=60) is not None

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        connection = client.connect("local/echo", connection_key="one", use_jwt=False, throttle_interval=0)
        answer = await connection.request({"path": scope["path"]}, timeout=60)
        try:
            state = parents.state
        except ForkedProcessError:
            state = "forked"
        body = {"worker": os.getpid(), "preloaded": os.getpid() != master, "parents": state, "path": answer["path"]}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})
"""

WORKERS = 2
REQUESTS = 200


def ask(port: int, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        answer: dict[str, Any] = json.loads(response.read())
        return answer
    finally:
        connection.close()


@pytest.mark.parametrize("used_in_master", [False, True], ids=["made in the master", "used in the master"])
def test_a_preloading_gunicorn_with_uvicorn_workers(
    used_in_master: bool, server: LocalServer, tmp_path: Path, figure: Any
) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "service.py").write_text(textwrap.dedent(SERVICE), encoding="utf-8")
    environment = {**os.environ, "PEER": server.base_url, "PEER_KEY": server.key}
    environment["USED_IN_MASTER"] = "yes" if used_in_master else ""
    # uvicorn announces that its worker class moves to another package.
    environment["PYTHONWARNINGS"] = "ignore::DeprecationWarning"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(WORKERS), "--log-level", "warning"]
        command += ["--worker-class", "uvicorn.workers.UvicornWorker", "--bind", f"fd://{listener.fileno()}"]
        process = subprocess.Popen(
            [*command, "service:app"],
            cwd=tmp_path,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        workers: Counter[int] = Counter()
        # Many at a time, so that every worker gets some; the first ones wait for the workers to start.
        with ThreadPoolExecutor(8) as pool:
            for number, answer in enumerate(pool.map(lambda n: ask(port, f"/{n}"), range(REQUESTS))):
                assert answer["path"] == f"/{number}"
                assert answer["preloaded"]
                assert answer["parents"] == "forked" if used_in_master else answer["parents"] in ("idle", "forked")
                workers[answer["worker"]] += 1
        assert process.pid not in workers
        stop = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=15)
        took = time.monotonic() - stop
    finally:
        process.kill()
        process.wait()
    figure(f"{REQUESTS} requests by workers {sorted(workers.values())}, stopped in {took:.2f} s")
    assert (process.returncode, output, errors) == (0, "", "")
    assert server._server.wait_for_connections(0, 5)
