"""How a loop of a helper server is left."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from websockets.asyncio.server import Server, ServerConnection

_QUIET_ROUNDS = 3


def recording(transports: set[asyncio.Transport]) -> type[ServerConnection]:
    """A `create_connection` for `websockets`, whose server leaves open what is in its opening handshake at the end."""

    class Recorded(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transports.add(transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.discard(self.transport)
            super().connection_lost(exc)

    return Recorded


async def stop_accepting(server: asyncio.Server | Server) -> None:
    """Accept no more connections, and let what has been accepted have its transport, before the server is closed.

    asyncio gives it one in the next round. Where the server is closed by then it refuses that by an assertion, of which
    nobody hears, and leaves the half of a transport with its socket to the garbage collector.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)


async def end_server(server: Server, transports: Collection[asyncio.Transport]) -> None:
    """Stop a server of `websockets`, whatever its connections are at, and leave nothing on the loop."""
    await stop_accepting(server)
    server.close()
    closed = asyncio.ensure_future(server.wait_closed())
    # What asyncio had accepted may come to the server after it was closed.
    while not closed.done():
        for transport in list(transports):
            transport.abort()
        await asyncio.wait([closed], timeout=0.01)
    await end_all_tasks(transports)


async def end_all_tasks(transports: Collection[asyncio.Transport] = ()) -> None:
    """Cancel the other tasks of the loop, asyncio's own for accepting among them, and abort what is open then.

    Until there was nothing to do in several rounds: what one round ends, or has accepted, shows in the next.
    """
    quiet = 0
    while quiet < _QUIET_ROUNDS:
        # A task that is cancelled before it has begun would not close the socket that it was made for.
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # What asyncio has accepted is its own until the protocol hears of it, which may be never.
        of_the_loop = getattr(asyncio.get_running_loop(), "_transports", {})
        still_open = [each for each in (*transports, *of_the_loop.values()) if not each.is_closing()]
        for transport in still_open:
            transport.abort()
        quiet = 0 if tasks or still_open else quiet + 1
