"""A drawing page: each stroke is an input, each result an image, by `@fal-ai/client` and the gateways of this package.

    npm ci --prefix examples/gateway && npm run build --prefix examples/gateway
    pip install fal-realtime fastapi uvicorn
    FAL_KEY=… uvicorn --app-dir examples/gateway app:app

Then open http://127.0.0.1:8000. With FAL_LOCAL=1 in place of FAL_KEY a local server plays fal. The page's client takes
its token from `/fal/token` and sends its other requests to `/fal/proxy`; its WebSocket goes through `/fal/relay`, so
that this process counts and bounds the sessions. Without the relay it would go to fal itself, with the same token.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from fal_realtime import RealtimeClient
from fal_realtime.asgi import ProxyEndpoint, Relay, RelaySession, TokenEndpoint

APP = "fal-ai/fast-lcm-diffusion"
resources = AsyncExitStack()


def make_client() -> RealtimeClient:
    """fal's, or with FAL_LOCAL that of a server on this machine."""
    if not os.environ.get("FAL_LOCAL"):
        return RealtimeClient()
    from fal_realtime.testing import LocalServer  # noqa: PLC0415 - not needed with fal

    server = LocalServer().start()
    resources.push_async_exit(server)
    server.serve_builtin(APP, "image")
    return server.client()


def authorize(scope: Any) -> bool:
    """Who may: here everybody. A real one looks at its session, `scope["session"]`."""
    return True


def session(scope: Any) -> RelaySession | None:
    """Where a WebSocket goes: the page's client dials /APP/realtime. Here a client is an address."""
    if not scope["path"].endswith(f"/{APP}/realtime"):
        return None
    return RelaySession(APP, client_key=scope["client"][0] if scope["client"] else None)


client = make_client()
relay = Relay(client, session, max_sessions=1000, max_sessions_per_client=4)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Sessions end before what they need."""
    async with resources, client, relay:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/fal/token", TokenEndpoint(client, apps=[APP], authorize=authorize))
app.mount("/fal/proxy", ProxyEndpoint(client, apps=[APP], authorize=authorize))
app.mount("/fal/relay", relay)


@app.get("/stats")
def stats() -> dict[str, int]:
    """What the relay has counted."""
    return {**relay.stats()}


app.mount("/", StaticFiles(directory=Path(__file__).parent / "page", html=True))
