"""A port that stands before another one of this machine, and lets all bytes take longer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from fal_realtime._threads import start

if TYPE_CHECKING:
    from typing_extensions import Self

_CHUNK = 1 << 16
_UNDER_WAY = 256
"""Chunks that are delayed at once, in each direction of a connection; then no more is read."""


class DelayedPort:
    """Listens in a thread of its own, from `__enter__` to `__exit__`."""

    def __init__(self, host: str, port: int, behind: int, seconds: float) -> None:
        self.port = port
        self._host = host
        self._behind = behind
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._listening = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises:
            OSError: The address cannot be bound.
        """
        start(self._thread)
        self._listening.wait()
        if self._error is not None:
            self.__exit__(None, None, None)
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, and all connections."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        relaying: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._relay(reader, writer))
            relaying.add(task)
            task.add_done_callback(relaying.discard)

        try:
            server = await asyncio.start_server(accepted, self._host, self.port)
        except OSError as error:
            self._error = error
        else:
            self.port = server.sockets[0].getsockname()[1]
            self._listening.set()
            await self._end.wait()
            for listener in server.sockets:
                self._loop.remove_reader(listener.fileno())
            # What asyncio has accepted gets its transport in the next round, unless the server is closed by then: an
            # assertion would leave it half made, with its socket. Then the relaying of it begins.
            for _ in range(3):
                await asyncio.sleep(0)
            server.close()
            for task in relaying:
                task.cancel()
            await asyncio.gather(*relaying, return_exceptions=True)
            # Transports that were closed just now close their sockets in the next round.
            await asyncio.sleep(0)
        finally:
            self._listening.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection(self._host, self._behind)
        except OSError:
            _reset(writer)
            return
        except asyncio.CancelledError:
            _reset(writer)
            raise
        try:
            await asyncio.gather(self._pass_on(reader, other_writer), self._pass_on(other_reader, writer))
        except OSError:
            # Reset by one side: the other one sees that, too.
            _reset(writer)
            _reset(other_writer)
        finally:
            for each in (writer, other_writer):
                each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(_UNDER_WAY)

        async def read() -> None:
            data: bytes | OSError = b" "
            while data and not isinstance(data, OSError):
                try:
                    data = await reader.read(_CHUNK)
                except OSError as error:
                    data = error
                await waiting.put((loop.time() + self._seconds, data))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - loop.time())
                if isinstance(data, OSError):
                    raise data
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()
        finally:
            reading.cancel()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as by a crash: with RST, not with FIN."""
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
