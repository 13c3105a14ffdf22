"""A first look at an installed wheel: does it do what the README shows? Needs nothing but the package itself.

    python scripts/smoke_test.py [VERSION]

It is not run from the repository, but from wherever the wheel is installed. VERSION is what that must be.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
import sysconfig
from pathlib import Path
from typing import Any

import fal_realtime
from fal_realtime import ConnectionClosedError, RealtimeClient, SyncRealtimeClient
from fal_realtime.testing import LocalServer

VALUES: list[Any] = [None, True, -(2**63), 2**64 - 1, 0.5, "text é 🦀", b"\x00\xff", [1, [2]], {"nested": {"key": []}}]


def check(condition: object, what: str) -> None:
    """Ends the program if it does not hold."""
    if not condition:
        print(f"smoke test failed: {what}", file=sys.stderr)
        sys.exit(1)


def look_at_what_was_installed(wanted: str | None) -> None:
    """The distribution: its version, its files, and that it depends on nothing."""
    distribution = importlib.metadata.distribution("fal-realtime")
    check(wanted in (None, distribution.version), f"version {distribution.version} instead of {wanted}")
    check(fal_realtime.__version__ == distribution.version, "__version__")
    check(Path(fal_realtime.__file__).is_relative_to(sysconfig.get_path("platlib")), "it is not the installed one")
    check(all("extra ==" in one for one in distribution.requires or []), "it has dependencies at run time")
    files = {Path(str(file)).name for file in distribution.files or []}
    check({"py.typed", "_core.pyi", "LICENSE-MIT", "LICENSE-APACHE"} <= files, "files are missing")


async def asyncio_client(server: LocalServer) -> None:
    """Requests, iteration, a reconnect, callbacks."""
    client = server.client()
    results: list[Any] = []
    lost = asyncio.Event()

    def on_state_change(state: str) -> None:
        if state != "active":
            lost.set()

    async with client.connect("local/echo", throttle_interval=0, on_state_change=on_state_change) as connection:
        lost.clear()
        for number, value in enumerate(VALUES):
            answer = await connection.request({"value": value, "number": number}, timeout=10)
            check((answer["value"], answer["number"]) == (value, number), f"{value!r} came back as {answer!r}")
        for number in range(100):
            await connection.send({"number": number})
        async for result in connection:
            results.append(result["number"])
            if len(results) == 100:
                break
        check(results == list(range(100)), "results in order")
        server.drop_connections()
        await asyncio.wait_for(lost.wait(), 10)
        check((await connection.request({"number": 1}, timeout=10))["number"] == 1, "reconnect")
        stats = connection.stats()
        ends = ("written", "coalesced", "dropped", "failed", "pending")
        check(stats["accepted"] == sum(stats[end] for end in ends), f"accounts: {stats}")  # type: ignore[literal-required]
    try:
        await connection.recv()
    except ConnectionClosedError:
        pass
    else:
        check(False, "a closed connection received")
    heard = asyncio.Event()
    connection = client.connect("local/echo", on_result=lambda _: heard.set())
    connection.send_nowait({"prompt": "a cat"})
    await asyncio.wait_for(heard.wait(), 10)
    await connection.aclose()


def blocking_client(server: LocalServer) -> None:
    """One message and its image."""
    client: SyncRealtimeClient = server.sync_client()
    with client.connect("local/image") as connection:
        connection.send({"prompt": "a cat"})
        image = connection.recv(timeout=10)["images"][0]
        check(image["content"].startswith(b"\xff\xd8"), "the image is a JPEG")


def main() -> None:
    """All of it, over ws and wss."""
    look_at_what_was_installed(sys.argv[1] if len(sys.argv) > 1 else None)
    for tls in (False, True):
        with LocalServer(tls=tls) as server:
            asyncio.run(asyncio_client(server))
            blocking_client(server)
    check(RealtimeClient("id:secret").connect("a/b").state == "idle", "a client needs no loop")
    print(f"{fal_realtime.__version__} works on {sys.implementation.cache_tag}, {sysconfig.get_platform()}")


if __name__ == "__main__":
    main()
