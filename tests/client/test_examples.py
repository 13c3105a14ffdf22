"""Each Python program among the examples runs as it stands, against a local server in place of fal's.

Those with heavy packages are run by `tests/extras`, the gateway by `tests/asgi/test_example.py`.
"""

from __future__ import annotations

import math
import os
import runpy
import shutil
import struct
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

import fal_realtime
from fal_realtime.testing import LocalServer

EXAMPLES = Path(__file__).parents[2] / "examples"
TESTS = [
    "client/test_examples.py",
    "extras/test_video_example.py",
    "extras/test_gradio_example.py",
    "asgi/test_example.py",
]
APP = "fal-ai/fast-lcm-diffusion"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Serves the examples' app; their clients go there, and their files go into a folder of the test's own."""
    with LocalServer() as server:

        @server.app(APP)
        async def images(message):
            return {**message, "images": [{"content": b"jpeg", "width": 512, "height": 512}]}

        monkeypatch.setattr(fal_realtime, "RealtimeClient", server.client)
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture
def run(server, capsys, monkeypatch):
    """Runs an example to its end, and gives the lines that it has printed."""

    def run_it(name: str, *arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        server.wait_for_connections(0)
        return capsys.readouterr().out.splitlines()

    return run_it


def test_the_callbacks_get_the_newest_of_what_changed(run, server):
    lines = run("callbacks.py")
    assert all(line.startswith("image ") for line in lines)
    assert lines[-1].startswith("image 29 ")
    assert server.messages_received == len(lines) < 30


def test_the_iteration_has_each_result(run, server):
    assert sorted(run("iteration.py")) == [f"{seed} 512" for seed in range(10)]
    assert server.connections_total == 1


def test_requests_at_once_have_their_own_results_over_one_connection(run, server):
    assert sorted(run("requests_at_once.py")) == [f"{seed} 512" for seed in range(5)]
    assert server.connections_total == 1


def test_requests_that_fail_say_so(run, server):
    @server.app(APP)
    async def broken(message):
        raise ValueError(message)

    lines = run("requests_at_once.py")
    assert sorted(line[:8] for line in lines) == [f"{seed} failed" for seed in range(5)]


def test_typed_results_are_models(run):
    assert run("typed_results.py") == ["7 512 512 4 bytes"]


def test_typed_results_say_what_is_not_as_declared(run, server):
    @server.app(APP)
    async def other(message):
        return {**message, "images": [{"content": b"jpeg", "width": "wide", "height": 1}]}

    (line,) = run("typed_results.py")
    assert line.startswith("not what was declared, at images[0].width")


def test_speech_comes_back_as_it_went_out(run, server, tmp_path):
    @server.app("me/echo", kind="bidi")
    async def talk(chunks: Any):
        async for chunk in chunks:
            yield chunk

    samples = [int(9000 * math.sin(n / 8)) for n in range(8000 * 3 // 10 + 77)]  # ends within a chunk
    with wave.open(str(tmp_path / "question.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    assert run("speech.py", "me/echo", "question.wav", "answer.wav") == ["answer.wav: 0.31 s"]
    assert (tmp_path / "answer.wav").read_bytes() == (tmp_path / "question.wav").read_bytes()
    assert server.messages_received == 16


def test_the_pool_prints_each_result(run, server):
    assert run("pool.py") == [f"{n} {n}" for n in range(20)]
    assert server.connections_total <= 4


def test_the_batch_goes_on_where_it_was(run, server):
    for _ in range(2):
        assert run("batch.py")[-100:] == [f"{n} {n}" for n in range(100)]
    assert server.messages_received == 100


def test_the_tests_of_a_service_pass(tmp_path):
    # That pytest finds the fixture by itself is tested with the one of the README; other plugins take seconds to load.
    plugins = ["no:cacheprovider", "pytest_asyncio.plugin", "fal_realtime._pytest_plugin"]
    options = [word for plugin in plugins for word in ("-p", plugin)]
    command = [sys.executable, "-m", "pytest", "-q", *options, "-o", "asyncio_mode=auto", "testing"]
    shutil.copytree(EXAMPLES / "testing", tmp_path / "testing")  # away from this repository's settings
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout


def test_each_of_them_is_run_and_told_of():
    tested = "".join((Path(__file__).parents[1] / name).read_text(encoding="utf-8") for name in TESTS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for example in EXAMPLES.iterdir():
        if example.suffix == ".py" or (example.is_dir() and list(example.glob("*.py"))):
            assert f'"{example.name}"' in tested, example
            assert f"({example.name})" in readme, example
