"""A WebSocket server that says, byte for byte, what a test wants: the peers that a library would not let one write."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

Script = Callable[["Raw"], object]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Raw:
    """One connection of the scripted server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""

    def read_request(self) -> bytes:
        """The head of the client's handshake."""
        while b"\r\n\r\n" not in self.request:
            self.request += self._some()
        return self.request

    def accept_key(self) -> str:
        """The right `Sec-WebSocket-Accept` for the request."""
        lines = dict(line.split(b": ", 1) for line in self.request.split(b"\r\n") if b": " in line)
        key = next(value for name, value in lines.items() if name.lower() == b"sec-websocket-key")
        return base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()

    def answer(self, *extra: str, accept: str | None = None) -> None:
        """Accept the handshake, with more header lines."""
        self.read_request()
        lines = (
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept or self.accept_key()}",
            *extra,
        )
        self.say("\r\n".join(lines).encode() + b"\r\n\r\n")

    def say(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def flood(self, data: bytes) -> None:
        """Send the same bytes until the client is gone or nothing goes out for a second."""
        self.sock.settimeout(1)
        while True:
            self.sock.sendall(data)

    def binary(self, payload: bytes) -> None:
        """Send a binary message."""
        self.say(frame(payload))

    def text(self, payload: bytes) -> None:
        """Send a text message."""
        self.say(frame(payload, first=0x81))

    def linger(self) -> None:
        """Read what comes until the client is gone."""
        while self._some():
            pass

    def _some(self) -> bytes:
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        return data


def frame(payload: bytes, first: int = 0x82) -> bytes:
    """An unmasked frame; by default a whole binary message."""
    if len(payload) < 126:
        head = struct.pack(">BB", first, len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack(">BBH", first, 126, len(payload))
    else:
        head = struct.pack(">BBQ", first, 127, len(payload))
    return head + payload


class ScriptedServer:
    """Serves every connection with the script, in a thread of its own."""

    def __init__(self, script: Script, timeout: float = 20) -> None:
        self._script = script
        self._timeout = timeout
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # it is gone already
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(self._timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock, contextlib.suppress(OSError):  # the client may leave when it likes
            self._script(Raw(sock))
