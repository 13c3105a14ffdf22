"""One WebSocket as a script on the server's side sees it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections import deque
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgpack
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from .waiting import LIMIT, Changes

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER with which closing resets the connection."""


class SessionEnded(Exception):  # noqa: N818 - the end is no error
    """The client is gone; ends a script that has nothing to say about it."""


class Session:
    """A WebSocket in the hands of a script, which runs in a thread of its own.

    The handshake is answered by `accept` or `refuse`, or by the first thing that needs an open connection. The socket
    is read only inside of the calls that wait, so that a script which does not wait is a server that does not read.
    """

    def __init__(self, sock: socket.socket, number: int, changes: Changes) -> None:
        self.number = number
        """1 for the first connection."""
        self.messages: list[bytes | str] = []
        """The messages that came, as they came."""
        self.pings = 0
        self.close_code: int | None = None
        """The code that the client closed with; 1006 without a close frame; None while it is there."""
        self.path = ""
        self.query: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self._sock = sock
        self._changes = changes
        self._protocol = ServerProtocol(max_size=None)
        self._request: Request | None = None
        self._partial = b""
        self._is_text = False
        self._inbox: deque[bytes | str] = deque()
        self._pongs = 0

    # --- the handshake ---

    def read_request(self) -> None:
        """Wait for the client's part of the handshake."""
        while self._request is None:
            self._read(LIMIT)
        parts = urlsplit(self._request.path)
        self.path = unquote(parts.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.headers = {name.lower(): value for name, value in self._request.headers.raw_items()}

    @property
    def token(self) -> str | None:
        """The token in the address."""
        return self.query.get("fal_jwt_token")

    def accept(self, headers: dict[str, str] | None = None) -> None:
        """Complete the handshake, if that has not been done."""
        if self._protocol.state is State.CONNECTING and self._request is not None:
            response = self._protocol.accept(self._request)
            response.headers.update(headers or {})
            self._protocol.send_response(response)
            self._flush()

    def refuse(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> None:
        """Refuse the handshake."""
        response = self._protocol.reject(status, body)
        response.headers.update(headers or {})
        self._protocol.send_response(response)
        self._flush()
        self.leave()

    # --- messages ---

    def recv(self, timeout: float = LIMIT) -> Any:
        """The next message: msgpack decoded, or the text."""
        message = self.recv_raw(timeout)
        return message if isinstance(message, str) else msgpack.unpackb(message)

    def recv_raw(self, timeout: float = LIMIT) -> bytes | str:
        """The next message as it came."""
        self.accept()
        end = time.monotonic() + timeout
        while not self._inbox:
            self._read(end - time.monotonic())
        return self._inbox.popleft()

    def wait_for_bytes(self) -> None:
        """Wait until some of the next message has come, and leave it unread."""
        self._sock.settimeout(LIMIT)
        self._sock.recv(1, socket.MSG_PEEK)

    def send(self, result: Any) -> None:
        """Send a result as msgpack."""
        self.send_raw(msgpack.packb(result))

    def send_json(self, **message: Any) -> None:
        """Send JSON text, as control messages are."""
        self.send_raw(json.dumps(message))

    def send_timeout(self) -> None:
        """Say what the server says at the end of a session."""
        self.send_json(type="x-fal-error", error="TIMEOUT", reason="no inputs, reconnect when needed!")

    def send_raw(self, message: bytes | str) -> None:
        """Send bytes as a binary, str as a text message."""
        self.accept()
        if self._protocol.state is not State.OPEN:
            raise SessionEnded
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()

    def send_wire(self, data: bytes) -> None:
        """Send bytes that need not be a frame."""
        self.accept()
        self._sendall(data)

    def echo(self) -> None:
        """Answer every message with itself, until the client is gone."""
        while True:
            self.send(self.recv())

    def fence(self) -> None:
        """Return when the client has read all that was sent: it has answered a ping."""
        self.accept()
        wanted = self._pongs + 1
        self._protocol.send_ping(b"fence")
        self._flush()
        while self._pongs < wanted:
            self._read(LIMIT)

    # --- the end ---

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close, and wait for the client's answer."""
        self.accept()
        self._protocol.send_close(code, reason)
        self._flush()
        self.wait_closed()
        self.leave()

    def wait_closed(self) -> int | None:
        """Read until the client is gone, and give its close code."""
        self.accept()
        try:
            while True:
                self._read(LIMIT)
        except SessionEnded:
            return self.close_code

    def drop(self) -> None:
        """Reset the TCP connection."""
        if self._sock.fileno() >= 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._sock.close()

    def leave(self) -> None:
        """Close the TCP connection."""
        self._sock.close()

    def interrupt(self) -> None:
        """Make the script's calls fail; called by another thread."""
        with contextlib.suppress(OSError):  # it may be gone already
            self._sock.shutdown(socket.SHUT_RDWR)

    # --- reading and writing ---

    def _read(self, timeout: float) -> None:
        try:
            self._sock.settimeout(max(timeout, 0.001))
            data = self._sock.recv(1 << 16)
        except TimeoutError:
            message = "the client did not send what the script waits for"
            raise AssertionError(message) from None
        except OSError:
            data = b""
        if not data:
            if self.close_code is None:
                self._changes.note(lambda: setattr(self, "close_code", CloseCode.ABNORMAL_CLOSURE))
            raise SessionEnded
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._request = event
            else:
                self._take(event)
        self._flush()

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.PING:
                self._changes.note(lambda: setattr(self, "pings", self.pings + 1))
            case Opcode.PONG:
                self._pongs += 1
            case Opcode.CLOSE:
                code = int.from_bytes(frame.data[:2], "big") if frame.data else int(CloseCode.NO_STATUS_RCVD)
                self._changes.note(lambda: setattr(self, "close_code", code))
            case _:
                if frame.opcode is not Opcode.CONT:
                    self._is_text = frame.opcode is Opcode.TEXT
                self._partial += bytes(frame.data)
                if frame.fin:
                    whole, self._partial = self._partial, b""
                    self._keep(whole.decode() if self._is_text else whole)

    def _keep(self, message: bytes | str) -> None:
        self._inbox.append(message)

        self._changes.note(lambda: self.messages.append(message))

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._sendall(data)

    def _sendall(self, data: bytes) -> None:
        try:
            self._sock.settimeout(LIMIT)
            self._sock.sendall(data)
        except OSError as error:
            raise SessionEnded from error
