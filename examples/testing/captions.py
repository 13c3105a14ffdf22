"""A service that calls fal: what `test_captions.py` tests. It takes its client, so that a test can give it another."""

from __future__ import annotations

from fal_realtime import RealtimeClient


class Captions:
    """Captions for images, each asked once."""

    def __init__(self, client: RealtimeClient) -> None:
        self._connection = client.connect("me/captions")
        self._known: dict[str, str] = {}

    async def caption(self, url: str) -> str:
        if url not in self._known:
            answer = await self._connection.request({"image_url": url}, timeout=30, retries=3, idempotent=True)
            self._known[url] = answer["caption"]
        return self._known[url]

    async def close(self) -> None:
        await self._connection.aclose()
