"""A realtime app on PyPI's `websockets` that does what its inputs say, on a loop and thread (or process) of its own.

What an input may hold:

- `count`, `every`: send `{"n": 0}` to `{"n": count - 1}`, `every` seconds apart
- `after`: answer only so many seconds later; other inputs do not wait for it
- `silent`: do not answer
- `abort`: drop the TCP connection
- `say`: send this as text, as the server's control messages are
- `close`: close with this code (after `say`)
- `strays`: send so many results that nobody asked for
- anything else is echoed
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgpack
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from fal_realtime import RealtimeClient, RealtimeConnection, SyncRealtimeClient, SyncRealtimeConnection

from .ending import end_server, recording

if TYPE_CHECKING:
    from typing_extensions import Self

OPTIONS: dict[str, Any] = {"use_jwt": False, "throttle_interval": 0}
"""A connection without a token request and without a throttle."""


class _Address:
    """Where the peer listens, and clients for it."""

    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> RealtimeClient:
        return RealtimeClient("id:secret", base_url=self.url, trust_env=False, **options)

    def sync_client(self, **options: Any) -> SyncRealtimeClient:
        return SyncRealtimeClient("id:secret", base_url=self.url, trust_env=False, **options)

    def connect(self, **options: Any) -> RealtimeConnection:
        return self.client().connect("local/echo", **{**OPTIONS, **options})

    def connect_sync(self, **options: Any) -> SyncRealtimeConnection:
        return self.sync_client().connect("local/echo", **{**OPTIONS, **options})


class AppServer(_Address):
    """The app in a thread of this process."""

    def __init__(self, **options: Any) -> None:
        self.inputs: list[Any] = []
        """Everything that came, in order."""
        self.sockets: set[ServerConnection] = set()
        """The connections that are open."""
        self.opened = 0
        self.refusals: list[int] = []
        """The HTTP statuses with which the next handshakes are refused."""
        self._open = asyncio.Event()
        self._open.set()
        self._options = {
            "process_request": self._handshake,
            "ping_interval": None,
            "max_size": None,
            "compression": None,
            **options,
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._over: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="app server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the peer did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the peer did not stop"

    def hold(self) -> None:
        """Handshakes are not answered until `release`."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._open.set)

    async def _handshake(self, socket: ServerConnection, request: object) -> Response | None:
        await self._open.wait()
        return socket.respond(self.refusals.pop(0), "as the test wants") if self.refusals else None

    def abort(self) -> None:
        """Drops all TCP connections."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for socket in list(self.sockets):
            socket.transport.abort()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        transports: set[asyncio.Transport] = set()
        options = {"create_connection": recording(transports), **self._options}
        server: Server = await serve(self._session, "127.0.0.1", 0, **options)
        self.port = next(iter(server.sockets)).getsockname()[1]
        self._ready.set()
        await self._over.wait()
        self._open.set()
        await end_server(server, transports)

    async def _session(self, socket: ServerConnection) -> None:
        self.sockets.add(socket)
        self.opened += 1
        try:
            async for frame in socket:
                await self._answer(socket, frame)
        except ConnectionClosed:
            pass
        finally:
            self.sockets.discard(socket)

    async def _answer(self, socket: ServerConnection, frame: bytes | str) -> None:
        assert isinstance(frame, bytes)
        message = msgpack.unpackb(frame)
        self.inputs.append(message)
        command = message if isinstance(message, dict) else {}
        if command.get("abort"):
            socket.transport.abort()
        elif command.get("silent"):
            return
        elif "say" in command or "close" in command:
            if command.get("say"):
                await socket.send(command["say"])
            if command.get("close"):
                await socket.close(command["close"])
        elif "strays" in command:
            for n in range(command["strays"]):
                await socket.send(msgpack.packb({"stray": n}))
        elif "after" in command:
            self._start(self._send_later(socket, frame, command["after"]))
        elif "count" in command:
            self._start(self._send_many(socket, command["count"], command.get("every", 0)))
        else:
            await socket.send(frame)

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_later(self, socket: ServerConnection, frame: bytes, after: float) -> None:
        await asyncio.sleep(after)
        with contextlib.suppress(ConnectionClosed):
            await socket.send(frame)

    async def _send_many(self, socket: ServerConnection, count: int, every: float) -> None:
        start = self._loop.time()
        with contextlib.suppress(ConnectionClosed):
            for n in range(count):
                # Where it is late it does not wait, but lets handshakes and other connections have their turn.
                await asyncio.sleep(max(0.0, start + n * every - self._loop.time()))
                await socket.send(msgpack.packb({"n": n}))


class AppServerProcess(_Address):
    """The app in a process of its own, which this one's GIL cannot stop. It pings, and hangs up when unanswered."""

    def __init__(self, ping_interval: float, ping_timeout: float) -> None:
        arguments = [str(ping_interval), str(ping_timeout)]
        module = [sys.executable, "-m", "support.app_server", *arguments]
        tests = Path(__file__).parent.parent
        self._process = subprocess.Popen(module, cwd=tests, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It ends when its standard input does.
        self._process.communicate(timeout=60)


if __name__ == "__main__":
    with AppServer(ping_interval=float(sys.argv[1]), ping_timeout=float(sys.argv[2])) as peer:
        print(peer.port, flush=True)
        sys.stdin.read()
