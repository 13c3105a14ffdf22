"""`fal-client`'s own realtime connection, through its public API, asynchronous and blocking."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import fal_client
import fal_client.client

from .base import AwaitLink, Peer, SyncLink, SyncPeer, Target


def _point_at(target: Target) -> None:
    """It has no option for its addresses, only constants. The CA comes from `SSL_CERT_FILE`."""
    fal_client.client.REALTIME_URL_FORMAT = f"{target.url}/"
    fal_client.client.REST_URL = target.rest_url


class _Link(AwaitLink):
    def __init__(
        self,
        context: AbstractAsyncContextManager[fal_client.client.AsyncRealtimeConnection],
        connection: fal_client.client.AsyncRealtimeConnection,
    ) -> None:
        self.context = context
        self.send = connection.send
        self.recv = connection.recv

    async def close(self) -> None:
        await self.context.__aexit__(None, None, None)


class FalClient(Peer):
    """Mints a token for each connection, as it does by default; it has no cache of them."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        _point_at(target)
        self.client = fal_client.AsyncClient(key="bench:key")

    async def open(self) -> AwaitLink:
        context = self.client.realtime(self.target.app)
        return _Link(context, await context.__aenter__())


class _SyncLink(SyncLink):
    def __init__(self, connection: fal_client.client.RealtimeConnection) -> None:
        self.connection = connection
        self.send = connection.send
        self.recv = connection.recv

    def close(self) -> None:
        self.connection.close()


class FalClientSync(SyncPeer):
    """The blocking client."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        _point_at(target)
        self.client = fal_client.SyncClient(key="bench:key")

    def open(self) -> SyncLink:
        return _SyncLink(self.resources.enter_context(self.client.realtime(self.target.app)))
