"""A TCP proxy that does to its connections what networks and broken servers do.

It runs on a loop and thread of its own, so that a blocked test does not make the network slow. Its methods may be
called from any thread and have taken effect when they return.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .ending import end_all_tasks, stop_accepting
from .ports import HeldPort

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER with which closing resets the connection."""
_CHUNK = 1 << 16


@dataclass
class Faults:
    """What is wrong with the network; read at each step, so that a change holds for open connections too."""

    latency: float = 0.0
    """Seconds that a chunk is under way, in each direction."""
    jitter: float = 0.0
    """Seconds of random latency on top; order is kept, as TCP does."""
    bandwidth: float | None = None
    """Bytes a second, in each direction."""
    slice: int | None = None
    """Bytes that are sent at once."""
    answer: Literal["forward", "stall"] | bytes = "forward"
    """What becomes of a new connection: `stall` accepts it and says nothing more (a stalled WebSocket handshake, or a
    stalled TLS handshake where the client speaks TLS), bytes are sent in answer to its first bytes, then it closes."""
    answer_delay: float = 0.0
    """Seconds before those bytes."""
    down_limit: int | None = None
    """Bytes from the server after which the connection is closed, wherever in a frame that is."""
    up_limit: int | None = None
    """The same for bytes to the server."""
    frozen: bool = False
    """Half-open: the sockets stay, and nothing goes through."""


def http_answer(status: int, body: str = "") -> bytes:
    """An HTTP answer for `Faults.answer`."""
    return f"HTTP/1.1 {status} Scripted\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()


class FaultProxy:
    """Forwards TCP connections to a port of this machine, with the faults of the moment."""

    def __init__(self, upstream_port: int, faults: Faults | None = None, scheme: str = "ws") -> None:
        self.faults = faults or Faults()
        self.attempts: list[float] = []
        """When each connection came (`time.monotonic`)."""
        self.ended: list[float] = []
        """When each connection was gone."""
        self._upstream_port = upstream_port
        self._scheme = scheme
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thawed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        # Kept while it refuses, too.
        self._held = HeldPort()
        self.port = self._held.number

    @property
    def url(self) -> str:
        """The `base_url` through the proxy."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the fault proxy did not stop"
        self._loop.close()
        self._held.close()

    # --- what can go wrong at once ---

    def listen(self) -> None:
        """Accept connections again."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Refuse new connections; the open ones stay."""
        self._run(self._refuse())

    def reset(self) -> None:
        """Reset all connections."""
        self._call(lambda: [_reset(writer) for writer in list(self._writers)])

    def freeze(self) -> None:
        """Make all connections half-open, new ones too."""
        self._call(lambda: (setattr(self.faults, "frozen", True), self._thawed.clear()))

    def thaw(self) -> None:
        """Forward again, what was held back first."""
        self._call(lambda: (setattr(self.faults, "frozen", False), self._thawed.set()))

    def thaw_after_reset(self) -> None:
        """Reset all connections, and forward again for new ones."""
        self._call(
            lambda: (
                [_reset(writer) for writer in list(self._writers)],
                setattr(self.faults, "frozen", False),
                self._thawed.set(),
            )
        )

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self.attempts) - len(self.ended)

    # --- the loop's thread ---

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _call(self, work: Callable[[], T]) -> None:
        async def call() -> None:
            work()

        self._run(call())

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self.port, reuse_address=True, limit=_CHUNK
            )

    async def _refuse(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await stop_accepting(server)
            server.close()

    async def _end(self) -> None:
        for writer in list(self._writers):
            _reset(writer)
        await end_all_tasks()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Chosen before the attempt is seen: whoever has seen it may change the faults for the next one.
        answer = self.faults.answer
        self.attempts.append(time.monotonic())
        self._start(self._serve(reader, writer, answer))

    def _start(self, work: Any) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: str | bytes) -> None:
        self._writers.add(writer)
        try:
            if answer == "forward":
                await self._forward(reader, writer)
            elif isinstance(answer, bytes):
                await reader.read(_CHUNK)
                await asyncio.sleep(self.faults.answer_delay)
                await self._until_thawed()
                writer.write(answer)
                await writer.drain()
            else:
                while await reader.read(_CHUNK):
                    pass
        except OSError:
            pass  # one of the two is gone
        finally:
            self._writers.discard(writer)
            writer.close()
            self.ended.append(time.monotonic())

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not with `open_connection` of a name: a new connection of a frozen network does not come through either.
        await self._until_thawed()
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port, limit=_CHUNK)
        self._writers.add(up_writer)
        for each in (writer, up_writer):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [
            self._start(self._pump(reader, up_writer, "up_limit")),
            self._start(self._pump(up_reader, writer, "down_limit")),
        ]
        try:
            # One direction that ends ends both: WebSockets know no half-closed connection.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            self._writers.discard(up_writer)
            up_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit_name: str) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
        reading = self._start(self._read(reader, under_way))
        passed = 0
        try:
            while True:
                due, chunk = await under_way.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await self._until_thawed()
                limit = getattr(self.faults, limit_name)
                if limit is not None:
                    chunk = chunk[: max(0, limit - passed)]
                await self._write(writer, chunk)
                passed += len(chunk)
                if not chunk or (limit is not None and passed >= limit):
                    return
        except OSError:
            pass  # the other side's pump ends the connection
        finally:
            reading.cancel()

    async def _read(self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        due = 0.0
        chunk = b"-"
        while chunk:
            try:
                chunk = await reader.read(_CHUNK)
            except OSError:
                chunk = b""
            delay = self.faults.latency + self.faults.jitter * random.random()
            due = max(due, self._loop.time() + delay)
            await under_way.put((due, chunk))

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        faults = self.faults
        size = faults.slice or len(chunk) or 1
        for at in range(0, len(chunk), size):
            piece = chunk[at : at + size]
            writer.write(piece)
            await writer.drain()
            if faults.bandwidth:
                await asyncio.sleep(len(piece) / faults.bandwidth)
            elif faults.slice:
                await asyncio.sleep(0)

    async def _until_thawed(self) -> None:
        while self.faults.frozen:
            await self._thawed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # the peer has closed it
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
