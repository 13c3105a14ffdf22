"""Refusing a WebSocket."""

from __future__ import annotations

from ._close_codes import of_status, reason
from ._http import Refusal, error_body, respond_json
from ._types import Scope, Send

EXTENSION = "websocket.http.response"
"""ASGI's extension with which a WebSocket can be refused by any HTTP answer."""


async def refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Refuse by an HTTP status, or where the server cannot send one, by a close code.

    Closing before the WebSocket is accepted would be 403 for everybody (ASGI says so): it is accepted first, and its
    close code stands for the status.
    """
    if EXTENSION in (scope.get("extensions") or {}):
        await respond_json(send, refusal.status, error_body(refusal), refusal.headers(), kind="websocket.http")
        return
    await send({"type": "websocket.accept"})
    await send(
        {"type": "websocket.close", "code": of_status(refusal.status), "reason": reason(refusal.message)},
    )
