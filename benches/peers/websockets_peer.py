"""`websockets` with `ormsgpack`."""

from __future__ import annotations

import ormsgpack
from websockets.asyncio.client import ClientConnection, connect

from .base import AwaitLink, Message, Peer, Target


class _Link(AwaitLink):
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: Message) -> None:
        await self.socket.send(ormsgpack.packb(message))

    async def recv(self) -> object:
        return ormsgpack.unpackb(await self.socket.recv(decode=False))

    async def close(self) -> None:
        await self.socket.close()


class Websockets(Peer):
    """Without compression and without its limit on the size of a message."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.ssl = target.ssl_context()

    async def open(self) -> AwaitLink:
        return _Link(await connect(self.target.address, ssl=self.ssl, compression=None, max_size=None, proxy=None))
