"""The example that needs Gradio, whose Pillow is not that of `fal`: in an environment without the latter."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import fal_realtime
from fal_realtime.testing import LocalServer

pytestmark = [pytest.mark.extras]

EXAMPLE = Path(__file__).parents[2] / "examples" / "gradio_app.py"


@pytest.mark.filterwarnings("default")  # Gradio's own
def test_the_page_shows_the_apps_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    gradio_client = pytest.importorskip("gradio_client", reason="not here: this environment is without Gradio")
    open_image = pytest.importorskip("PIL.Image").open
    with LocalServer() as server:
        server.serve_builtin("fal-ai/fast-lcm-diffusion", "image")
        monkeypatch.setattr(fal_realtime, "SyncRealtimeClient", server.sync_client)
        names = runpy.run_path(str(EXAMPLE))
        names["page"].launch(prevent_thread_lock=True, quiet=True)
        try:
            client = gradio_client.Client(names["page"].local_url, verbose=False)
            for seed in (7, 8):
                with open_image(client.predict("a cat", seed, api_name="/draw")) as image:
                    assert (image.format, image.size) == ("JPEG", (512, 512))
        finally:
            names["page"].close()
            names["pool"].close()
        assert server.messages_received == 2
