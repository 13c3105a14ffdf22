"""Every Python program among the examples runs as it stands, against a local server in place of fal's."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import fal_realtime
from fal_realtime.testing import LocalServer

EXAMPLES = Path(__file__).parents[2] / "examples"
APP = "fal-ai/fast-lcm-diffusion"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Serves the examples' app; their clients go there, and their files go into a folder of the test's own."""
    with LocalServer() as server:

        @server.app(APP)
        async def images(message):
            return {**message, "images": [{"content": b"jpeg"}]}

        monkeypatch.setattr(fal_realtime, "RealtimeClient", server.client)
        monkeypatch.chdir(tmp_path)
        yield server


def test_the_pool_prints_each_result(server, capsys):
    runpy.run_path(str(EXAMPLES / "pool.py"))
    assert capsys.readouterr().out.splitlines() == [f"{n} {n}" for n in range(20)]
    assert server.connections_total <= 4
    server.wait_for_connections(0)


def test_the_batch_goes_on_where_it_was(server, capsys):
    for _ in range(2):
        runpy.run_path(str(EXAMPLES / "batch.py"))
        assert capsys.readouterr().out.splitlines()[-100:] == [f"{n} {n}" for n in range(100)]
    assert server.messages_received == 100


def test_each_of_them_is_run_here():
    tested = Path(__file__).read_text(encoding="utf-8")
    for example in EXAMPLES.glob("*.py"):
        assert f'"{example.name}"' in tested
