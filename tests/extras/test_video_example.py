"""The example that needs PyAV runs as it stands, against a local server in place of fal's."""

from __future__ import annotations

import base64
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fal_realtime
from fal_realtime.testing import LocalServer

pytestmark = [pytest.mark.extras]

EXAMPLES = Path(__file__).parents[2] / "examples"
APP = "fal-ai/fast-lcm-diffusion"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalServer]:
    """The examples' clients go here, and their files into a folder of the test's own."""
    with LocalServer() as server:
        monkeypatch.setattr(fal_realtime, "RealtimeClient", server.client)
        monkeypatch.chdir(tmp_path)
        yield server


def test_live_video_becomes_a_video_of_the_results(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    av = pytest.importorskip("av", reason="NOT TESTED: PyAV is missing")
    seen: list[bytes] = []

    @server.app(APP)
    async def same(message: Any) -> Any:
        kind, _, content = message["image_url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        seen.append(base64.b64decode(content))
        return {"images": [{"content": seen[-1]}], "request_id": message.get("request_id")}

    monkeypatch.setattr(sys, "argv", ["live_video.py", "testsrc=size=160x120:rate=10:duration=2"])
    runpy.run_path(str(EXAMPLES / "live_video.py"), run_name="__main__")
    server.wait_for_connections(0)
    assert 2 <= len(seen) <= 20
    assert all(content.startswith(b"\xff\xd8") for content in seen)
    assert len(set(seen)) == len(seen)
    assert capsys.readouterr().out == f"results.mp4: {len(seen)} frames\n"
    with av.open(str(tmp_path / "results.mp4")) as video:
        assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(160, 120)] * len(seen)
