"""Every Python snippet of these pages runs as it stands, with local servers in place of fal's, and ends by itself."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from websockets.sync.server import serve

import fal_realtime
from fal_realtime.testing import LocalServer

ROOT = Path(__file__).parents[2]
PAGES = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/typed-results.md")]
APP = "fal-ai/fast-lcm-diffusion"
LIMIT = 60.0
"""Seconds after which a snippet does not end."""

SNIPPETS = [
    snippet for page in PAGES for snippet in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
]
TESTS = [snippet for snippet in SNIPPETS if "def test_" in snippet]
PROGRAMS = [snippet for snippet in SNIPPETS if snippet not in TESTS]


def first_line(snippet: str) -> str:
    """What names a snippet in the report."""
    lines = (line for line in snippet.splitlines() if not line.startswith(("import ", "from ")) and line)
    return next(lines)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Serves the pages' app; the clients that a snippet makes go there, its files into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    with LocalServer() as server:
        server.serve_builtin(APP, "image")
        monkeypatch.setattr(fal_realtime, "RealtimeClient", server.client)
        monkeypatch.setattr(fal_realtime, "SyncRealtimeClient", server.sync_client)
        yield server


@pytest.fixture
def echo():
    """The address of a plain WebSocket server that echoes."""
    with serve(lambda websocket: [websocket.send(message) for message in websocket], "127.0.0.1", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        finally:
            listening.shutdown()
            thread.join()


def compiled(snippet: str) -> CodeType:
    """A snippet, in which `await` may stand outside of functions as in a notebook."""
    return compile(snippet, "page.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def run(snippet: str, names: dict[str, Any]) -> None:
    """Run it to its end."""
    code = compiled(snippet)
    if code.co_flags & inspect.CO_COROUTINE:

        async def run_here() -> None:
            await asyncio.wait_for(eval(code, names), LIMIT)

        asyncio.run(run_here())
    else:
        eval(code, names)


def test_there_are_snippets_of_both_kinds():
    assert len(PROGRAMS) >= 12
    assert len(TESTS) == 1
    assert sum(page.count("```python") for page in PAGES) == len(SNIPPETS)


@pytest.mark.parametrize("snippet", PROGRAMS, ids=first_line)
def test_a_snippet_runs_and_ends(snippet, server, echo):
    # The client is what an earlier snippet of the page has made.
    names = {"client": fal_realtime.RealtimeClient(), "__name__": "__main__"}
    run(snippet.replace("wss://echo.example", echo), names)
    # Its names are still there: what it does not close stays open.
    assert names
    server.wait_for_connections(0, timeout=10)
    most = 8 if ".pool(" in snippet or "batch" in snippet else 1
    assert (0 if "connect_raw" in snippet else 1) <= server.connections_total <= most


@pytest.mark.parametrize("snippet", TESTS, ids=first_line)
def test_a_test_among_them_passes_with_pytest(snippet, tmp_path):
    (tmp_path / "test_snippet.py").write_text(snippet, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        "test_snippet.py",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
