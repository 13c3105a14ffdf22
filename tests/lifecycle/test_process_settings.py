"""The settings of the process, which the environment holds."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fal_realtime import RealtimeClient, SyncRealtimeClient

PROGRAM = """
    import contextlib
    import os
    from pathlib import Path
    from fal_realtime.testing import LocalServer

    with LocalServer() as server:
        client = server.sync_client()
        connections = [client.connect("local/echo", use_jwt=False) for _ in range(6)]
        for n, connection in enumerate(connections):
            assert connection.request({"n": n}, timeout=60)["n"] == n
        tasks = Path("/proc/self/task")
        names = set()  # a thread that is just being started has the name of the one that started it
        for task in tasks.iterdir():
            with contextlib.suppress(OSError):  # it has ended
                names.add((task / "comm").read_text().strip())
        numbers = [name.removeprefix("fal-realtime-") for name in names if name.startswith("fal-realtime-")]
        print(len([number for number in numbers if number.isdigit()]))
        for connection in connections:
            connection.close()
"""


def io_threads(**environment: str) -> int:
    """How many I/O threads six connections have."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
        env={**os.environ, **environment},
    )
    return int(ran.stdout)


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the names of threads are read from /proc")


@linux
@pytest.mark.parametrize(("setting", "threads"), [("1", 1), ("3", 3)])
def test_the_connections_are_spread_over_as_many_io_threads_as_asked_for(setting, threads):
    assert io_threads(FAL_REALTIME_IO_THREADS=setting) == threads


@linux
def test_one_io_thread_serves_all_connections_by_default():
    environment = dict.fromkeys(("FAL_REALTIME_IO_THREADS", "FAL_REALTIME_SPIN_US"), "")
    assert io_threads(**environment) == 1


@linux
@pytest.mark.parametrize("setting", ["200", "0"])
def test_a_thread_that_polls_before_it_sleeps_does_the_same_work(setting):
    assert io_threads(FAL_REALTIME_SPIN_US=setting) == 1


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
@pytest.mark.parametrize(
    ("name", "bounds", "setting"),
    [
        *(
            ("FAL_REALTIME_IO_THREADS", "from 1 to 64", setting)
            for setting in ("lots", "0", "65", "-1", "2.0", "\u00b2")
        ),
        *(("FAL_REALTIME_SPIN_US", "from 0 to 10000", setting) for setting in ("fast", "-1", "10001", "1e3")),
    ],
)
def test_a_setting_that_cannot_be_carried_out_is_refused_by_its_name(client, name, bounds, setting, monkeypatch):
    monkeypatch.setenv(name, setting)
    with pytest.raises(ValueError, match=f"^{name} must be an int {bounds}, not"):
        client("key")


WRONG_DRIVER = """
import asyncio, gc, logging, sys
from fal_realtime import RealtimeClient, SyncRealtimeClient

logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
options = {"base_url": "ws://127.0.0.1:1", "trust_env": False}

def blocking(use):
    connection = SyncRealtimeClient("id:secret", **options).connect("local/echo", use_jwt=False)
    try:
        use(connection)
    except ValueError as error:
        print(error)

async def on_a_loop(use):
    connection = RealtimeClient("id:secret", **options).connect("local/echo", use_jwt=False)
    try:
        await use(connection)
    except ValueError as error:
        print(error)

for use in (lambda it: it.open(), lambda it: it.send({}), lambda it: it.request({}, timeout=9)):
    blocking(use)
    gc.collect()
    asyncio.run(on_a_loop(use))
    gc.collect()
"""


def test_a_driver_that_there_is_not_is_told_once_by_the_call_that_would_open():
    environment = {**os.environ, "FAL_REALTIME_DRIVER": "foo"}
    command = [sys.executable, "-c", WRONG_DRIVER]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (
        ran.stdout.splitlines()
        == [
            'FAL_REALTIME_DRIVER is "foo", but must be auto, io-thread or alternate',
        ]
        * 6
    )
