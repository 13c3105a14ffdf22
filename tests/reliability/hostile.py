"""What a client sees of a peer that breaks the rules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import check
from support.raw_server import Raw, Script, ScriptedServer

MEBI = 1 << 20


def see(script: Script, *, budget: int = 256 * MEBI, events: int = 1000, **options: Any) -> dict[str, Any]:
    """Connect a client whose process is limited in memory to the script; `budget` bytes of address space for data."""
    given = json.dumps({"budget": budget, "events": events, **options})
    with ScriptedServer(script) as server:
        ran = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("hostile_client.py")), server.url, given],
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
            # One arena for all threads: glibc reserves 64 MiB of address space for each further one, whenever a thread
            # first allocates, and that would come out of the budget.
            env={**os.environ, "RUST_BACKTRACE": "0", "MALLOC_ARENA_MAX": "1"},
        )
    assert (ran.returncode, ran.stderr) == (0, ""), f"exit status {ran.returncode}, stderr: {ran.stderr!r}"
    seen: dict[str, Any] = json.loads(ran.stdout)
    check(seen.pop("stats"))
    seen["connections"] = server.connections
    return seen


def after_opening(*pieces: bytes) -> Script:
    """Accepts the handshake and says the pieces."""

    def script(raw: Raw) -> None:
        raw.answer()
        for piece in pieces:
            raw.say(piece)
        raw.linger()

    return script
