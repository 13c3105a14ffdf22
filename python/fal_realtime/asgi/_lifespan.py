"""ASGI's lifespan, for a gateway that is a server's only application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ._types import Receive, Send


async def serve_lifespan(receive: Receive, send: Send, shutdown: Callable[[], Awaitable[None]] | None = None) -> None:
    """Say that all is ready, and at the end that `shutdown` is done."""
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif event["type"] == "lifespan.shutdown":
            try:
                if shutdown is not None:
                    await shutdown()
            finally:
                await send({"type": "lifespan.shutdown.complete"})
            return
