"""`fal-client`'s realtime connection on this core, used as that is used: the import is all that differs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from fal_realtime.compat import fal_client

from .base import AwaitLink, Peer, SyncLink, SyncPeer, Target
from .fal_realtime_peer import options_for


class _Link(AwaitLink):
    def __init__(
        self,
        context: AbstractAsyncContextManager[fal_client.AsyncRealtimeConnection],
        connection: fal_client.AsyncRealtimeConnection,
    ) -> None:
        self.context = context
        self.send = connection.send
        self.recv = connection.recv

    async def close(self) -> None:
        await self.context.__aexit__(None, None, None)


class Compat(Peer):
    """Mints a token for each connection, as `fal-client` does."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = fal_client.AsyncClient(**_keyed(target))

    async def open(self) -> AwaitLink:
        context = self.client.realtime(self.target.app)
        return _Link(context, await context.__aenter__())


class _SyncLink(SyncLink):
    def __init__(self, connection: fal_client.RealtimeConnection) -> None:
        self.connection = connection
        self.send = connection.send
        self.recv = connection.recv

    def close(self) -> None:
        self.connection.close()


class CompatSync(SyncPeer):
    """The blocking client."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = fal_client.SyncClient(**_keyed(target))

    def open(self) -> SyncLink:
        return _SyncLink(self.resources.enter_context(self.client.realtime(self.target.app)))


def _keyed(target: Target) -> dict[str, object]:
    options = options_for(target)
    key = options.pop("credentials")
    return {**options, "key": key}
