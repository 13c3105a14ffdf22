"""The example in a browser: `examples/gateway` under uvicorn, its page in headless Chromium, a local server as fal."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import HeldPort

pytestmark = [pytest.mark.extras]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gateway"
PATIENCE = 30.0


@pytest.fixture(scope="module")
def chromium() -> str:
    found = [str(ROOT / ".browser" / "chromium"), *map(shutil.which, ("chromium", "chromium-headless-shell"))]
    for program in found:
        if program and Path(program).exists():
            return program
    pytest.skip("NOT TESTED in a browser: there is no Chromium (scripts/test_browser)")


@pytest.fixture(scope="module")
def _bundle() -> None:
    if shutil.which("npm") is None:
        pytest.skip("NOT TESTED in a browser: npm is missing")
    for command in (["ci", "--no-audit", "--no-fund", "--loglevel=error"], ["run", "build"]):
        subprocess.run(["npm", *command], cwd=EXAMPLE, check=True, timeout=60)


@pytest.fixture
def url(_bundle: None) -> Iterator[str]:
    """The example's address."""
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLE), "app:app", "--port"]
    environment = {**os.environ, "FAL_LOCAL": "1"}
    with HeldPort() as held, subprocess.Popen([*uvicorn, str(held.number)], env=environment) as server:
        port = held.number
        until = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=PATIENCE)
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        server.terminate()
        assert server.wait(PATIENCE) in (0, -15)


def stats(url: str) -> Any:
    return json.load(urllib.request.urlopen(f"{url}/stats", timeout=PATIENCE))


async def test_whoever_draws_sees_the_images_change(url: str, chromium: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.async_api", reason="NOT TESTED in a browser: playwright is missing")
    wrong: list[str] = []
    async with playwright.async_playwright() as tools:
        browser = await tools.chromium.launch(executable_path=chromium)
        page = await browser.new_page(viewport={"width": 860, "height": 580})
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(url)
        box = await page.locator("#drawing").bounding_box()
        assert box is not None
        seen = set()
        for stroke in range(3):
            await draw(page.mouse, box, stroke)
            # Each stroke brings newer images: what is shown changes.
            before = int(await page.locator("#status").get_attribute("data-results") or 0)
            await page.mouse.up()
            await draw(page.mouse, box, stroke + 3)
            await page.mouse.up()
            wait = "before => Number(document.getElementById('status').dataset.results || 0) > before"
            await page.wait_for_function(wait, arg=before, timeout=PATIENCE * 1000)
            seen.add(await page.locator("#result").get_attribute("src"))
            await page.wait_for_function("document.getElementById('result').naturalWidth === 512")
        assert len(seen) == 3
        counted = await asyncio.to_thread(stats, url)
        assert (counted["sessions"], counted["sessions_total"], counted["refused"]) == (1, 1, 0)
        assert counted["to_browser"] >= 3
        await page.screenshot(path=os.environ.get("GATEWAY_SCREENSHOT", tmp_path / "page.jpg"), quality=80)
        await browser.close()
    assert wrong == []


async def draw(mouse: Any, box: Any, stroke: int) -> None:
    """A line across the drawing, which ends with the button still down."""
    top = box["y"] + box["height"] * (0.2 + 0.12 * stroke)
    await mouse.move(box["x"] + 50, top)
    await mouse.down()
    for step in range(1, 9):
        await mouse.move(box["x"] + 50 + step * 34, top + (18 if step % 2 else -18))
