"""What the reliability tests share: figures that are measured are shown at the end of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.echo import EchoServer
from support.fault_proxy import FaultProxy

_FIGURES = pytest.StashKey[list[str]]()

# What scripts/test_tools fetched, after what the machine has.
os.environ["PATH"] += f"{os.pathsep}{Path(__file__).parents[2] / '.tools' / 'bin'}"

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Any:
    """Call with words: shown in the summary of the run, beside the test's name."""
    lines = request.config.stash.setdefault(_FIGURES, [])
    return lambda text: lines.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Shows what was measured."""
    if lines := config.stash.get(_FIGURES, []):
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def server() -> Iterator[EchoServer]:
    """An echo server."""
    with EchoServer() as running:
        yield running


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[FaultProxy]:
    """The way to it."""
    with FaultProxy(server.port, scheme=server.scheme) as running:
        yield running
