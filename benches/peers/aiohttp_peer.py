"""`aiohttp` with `msgspec`."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from .base import AwaitLink, Message, Peer, Target

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


class _Link(AwaitLink):
    def __init__(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self.socket = socket

    async def send(self, message: Message) -> None:
        await self.socket.send_bytes(encode(message))

    async def recv(self) -> object:
        return decode(await self.socket.receive_bytes())

    async def close(self) -> None:
        await self.socket.close()


class Aiohttp(Peer):
    """One session; its limit on connections is lifted."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.ssl = target.ssl_context() or True
        self.session: aiohttp.ClientSession | None = None

    async def open(self) -> AwaitLink:
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=self.ssl))
        return _Link(await self.session.ws_connect(self.target.address, max_msg_size=0))

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()
