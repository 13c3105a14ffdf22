"""Token requests through the real `@fal-ai/server-proxy` (npm), which adds the key."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fal_realtime import ApiError, RealtimeClient
from fal_realtime.testing import LocalServer

_SCRIPT = Path(__file__).parents[1] / "node" / "proxy.mjs"

pytestmark = [
    pytest.mark.skipif(
        shutil.which("node") is None or not (_SCRIPT.parent / "node_modules" / "@fal-ai" / "server-proxy").is_dir(),
        reason="NOT TESTED through @fal-ai/server-proxy: node or the package is missing (npm ci --prefix tests/node)",
    ),
]

APP = "local/echo"


@contextmanager
def proxy(key: str, *allowed: str) -> Iterator[str]:
    """The `proxy_url` of a stock proxy with this key, and these addresses allowed beside its own."""
    with subprocess.Popen(
        ["node", str(_SCRIPT), *allowed],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PROXY_KEY": key},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/api/fal/proxy"
        finally:
            process.stdin.close()
            process.wait(10)


def address(server: LocalServer) -> str:
    return server.rest_url.removeprefix("http://")


async def test_a_proxy_that_allows_the_token_address_adds_the_key() -> None:
    with LocalServer() as server, proxy(server.key, f"{address(server)}/tokens/**") as proxy_url:
        server.serve_builtin(APP, "echo")
        client = RealtimeClient(base_url=server.base_url, rest_url=server.rest_url, proxy_url=proxy_url)
        async with client.connect(APP, throttle_interval=0) as connection:
            assert (await connection.request({"n": 1}))["n"] == 1
        assert [(mint.path, mint.status) for mint in server.mints] == [("/tokens/", 200)]


async def test_the_refusal_of_a_stock_proxy_is_named_for_what_it_is() -> None:
    with LocalServer() as server, proxy(server.key) as proxy_url:
        client = RealtimeClient(base_url=server.base_url, rest_url=server.rest_url, proxy_url=proxy_url)
        words = (
            rf"\(proxy_url\) did not pass the token request on, .* unless {address(server)}/tokens/ is in its allowed"
        )
        with pytest.raises(ApiError, match=words) as caught:
            await client.connect(APP)
        assert (caught.value.status, caught.value.body, caught.value.retryable) == (400, "Invalid request", False)
        assert server.mints == []
