"""The documentation's site in headless Chromium: each diagram is drawn, and no page is wider than a screen."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.extras, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".docs" / "site"
PAGES = [
    *("", "quickstart/", "how-to/connection/", "errors/", "reference/", "api/clients/", "performance/", "versioning/"),
    "project/contributing/",
]
PATIENCE = 60_000.0
"""Milliseconds until a page is there."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and tells nobody."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Say nothing."""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = [str(ROOT / ".browser" / "chromium"), *map(shutil.which, ("chromium", "chromium-headless-shell"))]
    for program in found:
        if program and Path(program).exists():
            return program
    pytest.skip("NOT TESTED in a browser: there is no Chromium (scripts/test_browser)")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the site is, built from the pages as they are."""
    if shutil.which("npm") is None:
        pytest.skip("NOT TESTED in a browser: npm is missing")
    subprocess.run([ROOT / "scripts" / "docs"], check=True, timeout=500)
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1360, 390])
async def test_the_pages_fit_and_their_diagrams_are_drawn(address: str, chromium: str, width: int, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.async_api", reason="NOT TESTED in a browser: playwright is missing")
    drawn = [
        path.parent.relative_to(SITE).as_posix() + "/"
        for path in SITE.rglob("index.html")
        if '<pre class="mermaid">' in path.read_text(encoding="utf-8")
    ]
    assert len(drawn) >= 6
    wrong: list[str] = []
    async with playwright.async_playwright() as tools:
        browser = await tools.chromium.launch(executable_path=chromium)
        page = await browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
        page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(address) else None)
        for name in dict.fromkeys([*PAGES, *drawn]):
            await page.goto(address + name, timeout=PATIENCE)
            await page.wait_for_function("!document.querySelector('pre.mermaid')", timeout=PATIENCE)
            if await page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                wrong.append(f"{name} is wider than {width} pixels")
            dark = await page.evaluate("document.body.dataset.mdColorScheme")
            if dark != {"light": "default", "dark": "slate"}[scheme]:
                wrong.append(f"{name} is {dark} where {scheme} is preferred")
        await browser.close()
    assert wrong == []
