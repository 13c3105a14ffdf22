"""The real fal server, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_APP = Path(__file__).with_name("fal_app.py")
_START_TIMEOUT = 45.0


@pytest.fixture(scope="session")
def fal_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `base_url` of a running fal server; its process is started once and killed at the end in any case."""
    missing = [name for name in ("fal", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED against the real fal server: missing {', '.join(missing)} (pip install '.[dev]')")
    log = tmp_path_factory.mktemp("fal-server") / "log.txt"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FAL_", "PYTHONWARN"))}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, str(_APP)], stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment
        ) as process,
    ):
        try:
            yield f"ws://127.0.0.1:{_listening_port(process, log)}"
        finally:
            process.kill()


def _listening_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("LISTENING ") and line[10:].isdigit():
                return int(line[10:])
        time.sleep(0.05)
    status = "exited" if process.poll() is not None else f"was not ready after {_START_TIMEOUT:.0f} s"
    pytest.fail(f"the fal server {status}; its output ends with:\n{log.read_text(errors='replace')[-3000:]}")
