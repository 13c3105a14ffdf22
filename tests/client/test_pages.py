"""Every Python snippet of the README and of docs runs as it stands, with local servers in place of fal's, and ends.

Those that need Ray are run by `tests/extras/test_ray.py`.
"""

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
APP = "fal-ai/fast-lcm-diffusion"
KEY = "key_id:key_secret"
"""The key of the pages, as far as they show one."""
LIMIT = 60.0
"""Seconds after which a snippet does not end."""
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {"docs/ray.md"}
PAGES = {
    name: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if (name := path.relative_to(ROOT).as_posix()) not in ELSEWHERE and "node_modules" not in path.parts
}


def first_line(snippet: str) -> str:
    """What names a snippet in the report."""
    lines = (line for line in snippet.splitlines() if not line.startswith(("import ", "from ")) and line)
    return next(lines)


SNIPPETS = [
    pytest.param(snippet, id=f"{name.removeprefix('docs/')}: {first_line(snippet)}")
    for name, page in PAGES.items()
    for snippet in SNIPPET.findall(page)
]
PROGRAMS = [parameters for parameters in SNIPPETS if "def test_" not in parameters.values[0]]
TESTS = [parameters.values[0] for parameters in SNIPPETS if parameters not in PROGRAMS]


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Serves the pages' app; the clients that a snippet makes go there, its files into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    with LocalServer(key=KEY) as server:
        server.serve_builtin(APP, "image")

        @server.app("fal-ai/personaplex/realtime", kind="bidi")
        async def converse(chunks: Any):
            async for chunk in chunks:
                yield {"audio": chunk["audio"], "text": ""}

        for name, make in (("RealtimeClient", server.client), ("SyncRealtimeClient", server.sync_client)):
            monkeypatch.setattr(
                fal_realtime,
                name,
                lambda credentials=KEY, make=make, **options: make(credentials=credentials, **options),
            )
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


def is_asynchronous(code: CodeType) -> bool:
    """Whether it awaits outside of functions."""
    return bool(code.co_flags & inspect.CO_COROUTINE)


def run(snippet: str, names: dict[str, Any]) -> None:
    """Run it to its end."""
    code = compiled(snippet)
    if is_asynchronous(code):

        async def run_here() -> None:
            await asyncio.wait_for(eval(code, names), LIMIT)

        asyncio.run(run_here())
    else:
        eval(code, names)


def record_session(folder: Path) -> None:
    """Writes the recording that the pages read."""
    with LocalServer(key=KEY) as server, server.sync_client() as client:
        server.serve_builtin(APP, "image")
        with client.connect(APP) as connection, connection.record(folder / "session.mcap"):
            connection.request({"prompt": "a cat"}, timeout=LIMIT)


def asks_the_app(snippet: str) -> bool:
    """Whether it does more than to define what asks it."""
    acts = is_asynchronous(compiled(snippet)) or "asyncio.run(" in snippet or "SyncRealtimeClient()" in snippet
    return acts and APP in snippet


def test_there_are_snippets_of_both_kinds():
    assert len(PROGRAMS) >= 40
    assert len(TESTS) >= 3
    assert sum(page.count("```python") for page in PAGES.values()) == len(SNIPPETS)


@pytest.mark.parametrize("snippet", PROGRAMS)
def test_a_snippet_runs_and_ends(snippet, server, echo, tmp_path):
    if "session.mcap" in snippet and ".record(" not in snippet:
        record_session(tmp_path)
    # The client is what an earlier snippet of the page has made.
    names = {"client": fal_realtime.RealtimeClient(), "__name__": "__main__"}
    run(snippet.replace("wss://echo.example", echo), names)
    # Its names are still there: what it does not close stays open.
    assert names
    server.wait_for_connections(0, timeout=60)
    most = 8 if ".pool(" in snippet or "batch" in snippet else 1
    assert int(asks_the_app(snippet)) <= server.connections_total <= most


def test_the_tests_among_them_pass_with_pytest(tmp_path):
    record_session(tmp_path)
    for number, snippet in enumerate(TESTS):
        (tmp_path / f"test_snippet_{number}.py").write_text(snippet, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(snippet.count('def test_') for snippet in TESTS)} passed" in done.stdout
