"""What a type checker says to programs that use the package: mypy, strict, on the installed stubs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
from datetime import timedelta
from typing import Any

from fal_realtime import (
    ConnectionState,
    RealtimeClient,
    RealtimeConnection,
    ReconnectPolicy,
    Stats,
    SyncRealtimeClient,
    create_realtime_client,
)
from fal_realtime.testing import LocalServer


async def provide(app: str) -> str:
    return app


def show(result: Any) -> None:
    print(result)


async def log(error: Exception) -> None:
    print(error)


async def main(client: RealtimeClient) -> None:
    connection = client.connect(
        "fal-ai/app",
        on_result=show,
        on_error=log,
        throttle_interval=timedelta(milliseconds=64),
        token_provider=provide,
        reconnect=ReconnectPolicy(max_attempts=3),
    )
    opened: RealtimeConnection = await connection
    receiving: asyncio.Task[Any] = asyncio.create_task(opened.recv())
    sending: asyncio.Task[None] = asyncio.create_task(opened.send({"prompt": "a cat"}))
    async with asyncio.timeout(1):
        await asyncio.gather(receiving, sending, opened.drain())
    answer: Any = await asyncio.wait_for(opened.request({"prompt": "a dog"}, timeout=5), 6)
    async with client.connect("fal-ai/app", on_state_change=lambda state: print(state)) as entered:
        async for result in entered:
            print(result, answer)
    state: ConnectionState = entered.state
    stats: Stats = entered.stats()
    print(state, stats["coalesced"])


def blocking() -> None:
    with SyncRealtimeClient().connect("fal-ai/app") as connection:
        connection.send({"prompt": "a cat"}, timeout=1)
        for result in connection:
            print(result, connection.recv(timeout=1))


def served() -> None:
    with LocalServer(tls=True) as server:

        @server.app("me/upper")
        async def upper(input: dict[str, Any]) -> dict[str, Any]:
            return input

        asyncio.run(main(server.client()))


asyncio.run(main(create_realtime_client({"credentials": "id:secret"})))
"""

MISUSE = {
    "an unknown option": ('client.connect("a/b", onResult=print)', "Unexpected keyword argument"),
    "an option of the wrong type": ('client.connect("a/b", max_buffering="5")', "incompatible type"),
    "a state that there is not": ('client.connect("a/b").state == "open"', "Non-overlapping"),
    "a count that there is not": ('client.connect("a/b").stats()["sent"]', "has no key"),
    "a side that there is not": ('RealtimeClient(side="browser")', "incompatible type"),
}


def check(program: str, folder: Path) -> str:
    """What mypy says; empty when it has nothing to say."""
    file = folder / "program.py"
    file.write_text(program)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-version=3.11",
        "--no-error-summary",
        "--config-file=",
    ]
    ran = subprocess.run([*command, str(file)], cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert not ran.stderr, ran.stderr
    return ran.stdout


@pytest.mark.timeout(120)
def test_a_program_that_is_right_passes_a_strict_type_checker(tmp_path):
    assert check(PROGRAM, tmp_path) == ""


@pytest.mark.timeout(120)
def test_a_type_checker_finds_what_is_wrong(tmp_path):
    lines = ["from fal_realtime import RealtimeClient", "client = RealtimeClient()"]
    said = check("\n".join([*lines, *(statement for statement, _ in MISUSE.values())]), tmp_path).splitlines()
    for number, (what, (_, complaint)) in enumerate(MISUSE.items(), len(lines) + 1):
        assert any(f":{number}: " in line and complaint in line for line in said), (what, said)
