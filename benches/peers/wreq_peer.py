"""`wreq` with `msgspec`: tokio and PyO3, a future for each message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import wreq

from .base import AwaitLink, Message, Peer, Target

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


class _Link(AwaitLink):
    def __init__(self, socket: wreq.WebSocket) -> None:
        self.socket = socket

    async def send(self, message: Message) -> None:
        await self.socket.send(wreq.Message.from_binary(encode(message)))

    async def recv(self) -> object:
        message = await self.socket.recv()
        if message is None or message.binary is None:
            raise ConnectionError
        return decode(message.binary)

    async def close(self) -> None:
        await self.socket.close()


class Wreq(Peer):
    """Default buffers."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        options: dict[str, Any] = {"tls_verify": Path(target.ca_file)} if target.ca_file else {}
        self.client = wreq.Client(**options)

    async def open(self) -> AwaitLink:
        return _Link(await self.client.websocket(self.target.address))
