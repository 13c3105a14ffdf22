"""A program that serves the three gateways: `python gateway.py SERVER OPTIONS`, on a free port of loopback.

SERVER is one of `SERVERS`. OPTIONS is JSON: `key`, `base_url` and `rest_url` of the client, and under `token`, `proxy`
and `relay` options of the gateways at `/token`, `/proxy` and `/relay`; `/stats` shows what the relay has counted.

A request is authorised unless its query has `user=nobody`; `user=NAME` is whose session a WebSocket is, and its path
below `/relay` names the app. Prints `LISTENING <port>`; leaves when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fal_realtime import RealtimeClient
from fal_realtime.asgi import ProxyEndpoint, Refusal, Relay, RelaySession, TokenEndpoint

SERVERS = ("uvicorn", "uvicorn-websockets", "uvicorn-wsproto", "hypercorn", "granian")


def user_of(scope: Any) -> str | None:
    return parse_qs(scope["query_string"].decode()).get("user", [None])[0]


def authorize(scope: Any) -> bool:
    user = user_of(scope)
    if user == "banned":
        raise Refusal(403, "you are banned")
    if user == "bug":
        raise LookupError
    return user != "nobody"


async def session(scope: Any) -> RelaySession | None:
    user = user_of(scope)
    if not authorize(scope):
        return None
    # /relay/owner/alias[/path]
    owner, alias, *path = scope["path"].removeprefix("/relay/").split("/")
    return RelaySession(f"{owner}/{alias}", "/" + "/".join(path or ["realtime"]), client_key=user)


def application() -> Any:
    options = json.loads(os.environ["GATEWAY_OPTIONS"])
    client = RealtimeClient(options["key"], base_url=options["base_url"], rest_url=options["rest_url"], trust_env=False)
    http_url = options.get("http_url")
    # A client whose WebSockets go elsewhere than its HTTP requests: fal.run is one host for both.
    proxied = client if http_url is None else client.with_options(base_url=http_url.replace("http", "ws", 1))
    for name in ("token", "proxy"):
        apps = options[name]["apps"]
        options[name]["apps"] = [tuple(app) if isinstance(app, list) else app for app in apps]
    relay = Relay(client, session, **options.get("relay", {}))
    routes = {
        "token": TokenEndpoint(client, authorize=authorize, **options["token"]),
        "proxy": ProxyEndpoint(proxied, authorize=authorize, **options["proxy"]),
        "relay": relay,
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await relay(scope, receive, send)
        elif scope["path"] == "/stats":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps(relay.stats()).encode()})
        else:
            await routes[scope["path"].split("/")[1]](scope, receive, send)

    return app


_held: list[socket.socket] = []
"""Holds the port until the process ends: the system gives it to nobody who asks for any."""


def _held_port() -> int:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])


def serve(server: str, port: int) -> None:
    if server.startswith("uvicorn"):
        import uvicorn  # noqa: PLC0415

        ws: Any = server.partition("-")[2] or "auto"
        uvicorn.run(application(), port=port, ws=ws, log_level="debug")
    elif server == "hypercorn":
        from hypercorn.asyncio import serve as hypercorn_serve  # noqa: PLC0415
        from hypercorn.config import Config  # noqa: PLC0415

        config = Config()
        config.bind = [f"127.0.0.1:{port}"]
        config.graceful_timeout = 0.5
        asyncio.run(hypercorn_serve(application(), config))
    else:
        command = ["-m", "granian", "--interface", "asgi", "--factory", "--loop", "asyncio", "--port", str(port)]
        os.chdir(Path(__file__).parent)
        process = subprocess.Popen([sys.executable, *command, "gateway:application"], stdin=subprocess.DEVNULL)
        _children.append(process)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        process.wait()


_children: list[subprocess.Popen[bytes]] = []


def _leave_with_parent() -> None:
    while os.read(0, 1):
        pass
    for child in _children:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
    os._exit(0)


if __name__ == "__main__":
    os.environ["GATEWAY_OPTIONS"] = sys.argv[2]
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    free = _held_port()
    print(f"LISTENING {free}", flush=True)
    serve(sys.argv[1], free)
