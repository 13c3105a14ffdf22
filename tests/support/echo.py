"""A server on PyPI's `websockets` that records what comes and echoes it, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgpack
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .ending import end_server, recording

if TYPE_CHECKING:
    from typing_extensions import Self


class EchoServer:
    """Echoes every message, but for those that hold `silent`."""

    def __init__(self, *, host: str = "127.0.0.1", **options: Any) -> None:
        self.received: list[Any] = []
        """What came over all connections, decoded, in order."""
        self.sessions: list[list[Any]] = []
        """The same by connection: of one that was lost the rest may be read when the next one has begun."""
        self.headers: list[dict[str, str]] = []
        """The headers of each handshake, with the request's path under `:path`."""
        self._host = host
        self._options = {"ping_interval": None, "max_size": None, "compression": None, "close_timeout": 1, **options}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="echo", daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the echo server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the echo server did not stop"

    @property
    def scheme(self) -> str:
        """How it is spoken to."""
        return "wss" if "ssl" in self._options else "ws"

    @property
    def url(self) -> str:
        """The `base_url` of the server."""
        return f"{self.scheme}://{self._host}:{self.port}"

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        transports: set[asyncio.Transport] = set()
        options = {"create_connection": recording(transports), **self._options}
        server: Server = await serve(self._session, self._host, 0, **options)
        self.port = next(iter(server.sockets)).getsockname()[1]
        self._ready.set()
        await self._over.wait()
        await end_server(server, transports)

    async def _session(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}
        self.headers.append({**headers, ":path": socket.request.path})
        session: list[Any] = []
        self.sessions.append(session)
        try:
            async for frame in socket:
                assert isinstance(frame, bytes)
                message = msgpack.unpackb(frame)
                self.received.append(message)
                session.append(message)
                if not (isinstance(message, dict) and "silent" in message):
                    await socket.send(frame)
        except ConnectionClosed:
            pass
