"""Serves the apps under the real `fal`: `python -m differential.serve [SERVER]` on a free port of loopback.

Prints `LISTENING <port>`, and leaves when its standard input ends. SERVER is `uvicorn` (the default),
`uvicorn-websockets`, `uvicorn-wsproto`, `hypercorn` or `granian`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

NAME = "local/differential"
"""The app; fal serves its routes at the root, and the gateway puts this before them."""

SERVERS = ("uvicorn", "uvicorn-websockets", "uvicorn-wsproto", "hypercorn", "granian")

CHILDREN: list[subprocess.Popen[bytes]] = []

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Any, Any], Awaitable[None]]


def below_app_id(app: AsgiApp) -> AsgiApp:
    """Serve `app` under its id, as fal's gateway does."""
    prefix = f"/{NAME}"

    async def wrapped(scope: Scope, receive: Any, send: Any) -> None:
        if "path" in scope:
            path = scope["path"].removeprefix(prefix)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return wrapped


_held: list[socket.socket] = []
"""Holds the port until the process ends: the system gives it to nobody who asks for any."""


def _held_port() -> int:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])


def _build() -> AsgiApp:
    from .apps import fal_app  # noqa: PLC0415

    return below_app_id(fal_app())


def application() -> AsgiApp:
    """What granian's worker serves."""
    return _build()


def serve(server: str, port: int) -> None:
    """Serve until the process ends."""
    if server.startswith("uvicorn"):
        import uvicorn  # noqa: PLC0415

        ws: Any = server.partition("-")[2] or "auto"
        uvicorn.run(_build(), port=port, ws=ws, log_level="critical", loop="asyncio")
    elif server == "hypercorn":
        import asyncio  # noqa: PLC0415

        from hypercorn.asyncio import serve as hypercorn_serve  # noqa: PLC0415
        from hypercorn.config import Config  # noqa: PLC0415

        config = Config()
        config.bind = [f"127.0.0.1:{port}"]
        asyncio.run(hypercorn_serve(_build(), config))
    elif server == "granian":
        command = ["-m", "granian", "--interface", "asgi", "--factory", "--port", str(port), "--log-level", "critical"]
        granian = subprocess.Popen(
            [sys.executable, *command, f"{__package__}.serve:application"], stdin=subprocess.DEVNULL
        )
        CHILDREN.append(granian)
        granian.wait()
    else:
        sys.exit(f"unknown server {server}; there are {', '.join(SERVERS)}")


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    for child in CHILDREN:
        child.terminate()
        child.wait(10)
    os._exit(0)


def main() -> None:
    """Serve what the command line says."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    port = _held_port()
    print(f"LISTENING {port}", flush=True)
    serve(sys.argv[1] if len(sys.argv) > 1 else "uvicorn", port)


if __name__ == "__main__":
    main()
