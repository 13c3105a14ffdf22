"""No client either, but its system calls: a frame made beforehand, one `send` and one `recv` a message, nothing parsed.

What remains between a client and this is the client's own; what remains below it, no client can save.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from urllib.parse import urlsplit

import msgspec

from .base import CallbackLink, Message, Peer, Target

LARGEST_SMALL = 125
"""Payloads up to this many bytes have a header of two bytes (RFC 6455, section 5.2)."""
LARGEST_MEDIUM = 65535
"""Up to this many, of four; beyond, of ten."""


def masked(payload: bytes) -> bytes:
    """A binary frame of a client, masked with zeros, which leave the payload as it is."""
    if len(payload) <= LARGEST_SMALL:
        header = bytes((0x82, 0x80 | len(payload)))
    elif len(payload) <= LARGEST_MEDIUM:
        header = bytes((0x82, 0x80 | 126)) + len(payload).to_bytes(2, "big")
    else:
        header = bytes((0x82, 0x80 | 127)) + len(payload).to_bytes(8, "big")
    return header + bytes(4) + payload


class _Link(CallbackLink):
    def __init__(self, connected: socket.socket) -> None:
        super().__init__()
        self.socket = connected
        self.frames: dict[int, bytes] = {}
        asyncio.get_running_loop().add_reader(connected, self.readable)

    def readable(self) -> None:
        self.on_message(self.socket.recv(65536))

    def post(self, message: Message) -> None:  # type: ignore[override]
        frame = self.frames.get(id(message))
        if frame is None:
            frame = self.frames[id(message)] = masked(msgspec.msgpack.encode(message))
        self.socket.send(frame)

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()


class Sockets(Peer):
    """A bare socket a connection: for messages whose answers come in one piece, over `ws`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        if target.ca_file:
            problem = "bare sockets: over ws alone"
            raise NotImplementedError(problem)

    async def open(self) -> CallbackLink:
        parts = urlsplit(self.target.address)
        connected = socket.create_connection((parts.hostname, parts.port))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(bytes(16)).decode()
        connected.sendall(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connected.recv(4096)
        connected.setblocking(False)
        return _Link(connected)
