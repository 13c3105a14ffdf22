"""A client in a process whose address space is limited, so that memory without bound is a failure and no opinion.

Prints as JSON what its user sees. Run by hostile.py: URL, then the options of `connect` with `budget` (bytes of address
space for what comes) and `events` (after so many results and errors of messages it leaves).
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from fal_realtime import DecodeError, RealtimeClient, RealtimeError

OPENING = 512 << 20
"""Bytes of address space for what opening takes: stacks and arenas of threads, which are reserved and hardly used."""


def status(name: str) -> int:
    """One of the sizes in /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) << 10


def limit(budget: int) -> None:
    """Allow so much more address space than there is in use."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + budget, hard))


async def main(url: str, budget: int, events: int, options: dict[str, Any]) -> None:
    """Open, and receive until the connection ends."""
    client = RealtimeClient("key-id:key-secret", base_url=url, trust_env=False)
    options = {"use_jwt": False, "throttle_interval": 0, "close_timeout": 1, "reconnect": None, **options}
    connection = client.connect("local/app", **options)
    came: list[tuple[str, str]] = []
    seen: dict[str, Any] = {"events": came}
    started, resident = time.monotonic(), status("VmRSS")
    limit(OPENING)
    try:
        async with connection:
            # What the threads and buffers of an open connection reserve is there now; data must not add much.
            limit(budget)
            resident = status("VmRSS")
            while len(came) < events:
                try:
                    came.append(("result", repr(await asyncio.wait_for(connection.recv(), 15))[:80]))
                except (DecodeError, RealtimeError) as error:  # noqa: PERF203 - an error of one message
                    came.append((type(error).__name__, str(error)[:200]))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        seen |= {"error": type(error).__name__, "message": str(error)}
    seen |= {"seconds": time.monotonic() - started, "grown": status("VmHWM") - resident}
    seen["stats"] = connection.stats()
    print(json.dumps(seen))


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    asyncio.run(main(sys.argv[1], given.pop("budget"), given.pop("events"), given))
