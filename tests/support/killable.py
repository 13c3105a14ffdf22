"""A server process that can be killed and started a thousand times: forked anew, so that a start takes milliseconds.

The nursery is a process that has imported everything and listens nowhere. For each start it forks a child that binds
the port, echoes, and notes each number in a file before it echoes it. The note survives the kill.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class KillableServer:
    """Starts and kills the server; what it has received."""

    def __init__(self, notes: Path) -> None:
        from .ports import HeldPort  # noqa: PLC0415 - the nursery is this file as a program of its own

        # Kept while it is dead, too.
        self._held = HeldPort()
        self.port = self._held.number
        self.url = f"ws://127.0.0.1:{self.port}"
        self.pid = 0
        self._notes = notes
        notes.touch()
        command = [sys.executable, __file__, str(self.port), str(notes)]
        self._nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._nursery.communicate(timeout=60)
        self._held.close()

    def start(self) -> None:
        """Start it; returns when it listens."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write("start\n")
        self._nursery.stdin.flush()
        self.pid = int(self._nursery.stdout.readline())

    def kill(self) -> None:
        """Kill it as the kernel kills what takes too much memory."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = 0

    def received(self) -> list[tuple[int, int]]:
        """The connection and the number of each message, in order."""
        return list(struct.iter_unpack("<QQ", self._notes.read_bytes()))  # type: ignore[arg-type]


def serve(port: int, notes: int) -> None:
    """Echo and note, until killed."""

    async def session(peer: ServerConnection) -> None:
        connection = int.from_bytes(os.urandom(8), "little")
        try:
            async for frame in peer:
                assert isinstance(frame, bytes)
                os.write(notes, struct.pack("<QQ", connection, msgpack.unpackb(frame)["n"]))
                await peer.send(frame)
        except ConnectionClosed:
            pass

    async def run() -> None:
        listener = None
        while listener is None:
            try:
                listener = socket.create_server(("127.0.0.1", port), backlog=100)
            except OSError:  # noqa: PERF203 - it has to be tried again
                # The one before is being killed, which takes the kernel a moment.
                await asyncio.sleep(0.001)
        async with websockets_serve(session, sock=listener, compression=None, ping_interval=None):
            print(os.getpid(), flush=True)
            await asyncio.get_running_loop().create_future()

    asyncio.run(run())


def main() -> None:
    """The nursery."""
    notes = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        if os.fork() == 0:
            os.close(0)
            serve(int(sys.argv[1]), notes)
            os._exit(0)


if __name__ == "__main__":
    import asyncio

    import msgpack
    from websockets.asyncio.server import ServerConnection, serve as websockets_serve
    from websockets.exceptions import ConnectionClosed

    main()
