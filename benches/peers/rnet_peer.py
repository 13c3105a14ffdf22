"""`rnet` with `msgspec`: tokio and PyO3 through `pyo3-async-runtimes`, a future for each message."""

from __future__ import annotations

from pathlib import Path

import msgspec
import rnet

from .base import AwaitLink, Message, Peer, Target

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


class _Link(AwaitLink):
    def __init__(self, socket: rnet.WebSocket) -> None:
        self.socket = socket

    async def send(self, message: Message) -> None:
        await self.socket.send(rnet.Message.from_binary(encode(message)))

    async def recv(self) -> object:
        message = await self.socket.recv()
        if message is None or message.binary is None:
            raise ConnectionError
        return decode(message.binary)

    async def close(self) -> None:
        await self.socket.close()


class Rnet(Peer):
    """Default buffers."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = rnet.Client(verify=Path(target.ca_file) if target.ca_file else None)

    async def open(self) -> AwaitLink:
        return _Link(await self.client.websocket(self.target.address))
