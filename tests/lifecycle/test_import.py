"""What `import fal_realtime` loads: programs that use only a part do not pay for the rest."""

from __future__ import annotations

import json
import subprocess
import sys

ON_DEMAND = {
    "asyncio",
    "dataclasses",
    "difflib",
    "fal_realtime._codec",
    "fal_realtime._delivery",
    "fal_realtime._calls",
    "fal_realtime.asgi",
    "fal_realtime.batch",
    "fal_realtime.media",
    "fal_realtime.opentelemetry",
    "fal_realtime.pool",
    "fal_realtime.pool._pool",
    "fal_realtime.prometheus",
    "fal_realtime.ray",
    "fal_realtime.testing",
    "importlib.metadata",
    "inspect",
    "ipaddress",
    "json",
    "logging",
    "pathlib",
    "sqlite3",
    "ssl",
    "urllib.parse",
    "uuid",
}
"""What costs much, and what is needed only where it is used."""


def loaded_by(program: str) -> set[str]:
    """The modules that an interpreter has after the program, and had not without it."""
    # Without `site`, which may load anything: what `.pth` files in the environment want.
    found = f"import sys\nsys.path[:0] = {sys.path!r}\nbefore = set(sys.modules)\n{program}\n"
    show = "import json\nprint(json.dumps(sorted(loaded)))"
    code = f"{found}loaded = set(sys.modules) - before\n{show}"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


def test_what_not_everybody_needs_is_loaded_where_it_is_used():
    loaded = loaded_by("from fal_realtime import RealtimeClient, SyncRealtimeClient")
    assert {"fal_realtime._core", "fal_realtime._client"} <= loaded
    assert sorted(loaded & ON_DEMAND) == []


def test_a_blocking_client_needs_no_event_loop():
    program = """
import fal_realtime
client = fal_realtime.SyncRealtimeClient("id:secret", base_url="ws://127.0.0.1:1", trust_env=False)
try:
    client.connect("local/echo", use_jwt=False, open_timeout=0.1).open()
except fal_realtime.FalRealtimeError:
    pass
client.close()
"""
    loaded = loaded_by(program)
    assert "fal_realtime._sync" in loaded
    assert "asyncio" not in loaded
