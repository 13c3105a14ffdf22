"""What the HTTP gateways have in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

from fal_realtime import _checks as check

from ._hooks import authorize, checked_hook
from ._http import Disconnected, Refusal, error_body, respond_json
from ._lifespan import serve_lifespan
from ._origins import Origins
from ._types import AuthorizeHook, Receive, Scope, Send

_MAX_TOKEN_SECONDS = 86_400
"""Seconds; who needs longer ones for browsers is mistaken about the unit."""

log = logging.getLogger("fal_realtime")


class Endpoint(ABC):
    """An ASGI application for HTTP requests of browsers."""

    _methods: tuple[str, ...]

    def __init__(
        self, authorize: AuthorizeHook, max_expires_in: float, allow_origins: Collection[str], *, credentials: bool
    ) -> None:
        checked_hook("authorize", authorize)
        if check.positive("max_expires_in", max_expires_in) > _MAX_TOKEN_SECONDS:
            message = f"max_expires_in must be at most {_MAX_TOKEN_SECONDS} seconds (a day), not {max_expires_in!r}"
            raise ValueError(message)
        self._authorize = authorize
        self._max_expires_in = max_expires_in
        self._origins = Origins(allow_origins, credentials=credentials, methods=", ".join(self._methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: an HTTP request, or the lifespan of a server whose only application this is."""
        if scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = self._origins.headers(scope)
        except Refusal as refusal:
            await respond_json(send, refusal.status, error_body(refusal))
            return
        begun = _Begun(send)
        try:
            if scope["method"] == "OPTIONS":
                await send({"type": "http.response.start", "status": 204, "headers": self._origins.preflight(scope)})
                await send({"type": "http.response.body", "body": b""})
            elif scope["method"] not in self._methods:
                allowed = ", ".join(self._methods)
                body = error_body(Refusal(405, f"the method must be {allowed}"))
                await respond_json(send, 405, body, [*headers, (b"allow", allowed.encode())])
            else:
                await self._serve(scope, receive, begun, headers)
        except Refusal as refusal:
            if begun.yes:
                raise
            await respond_json(send, refusal.status, error_body(refusal), [*headers, *refusal.headers()])
        except Disconnected:
            return
        except Exception:
            if begun.yes:
                raise
            log.exception("%s: a request failed", type(self).__name__)
            body = error_body(Refusal(500, "the server could not answer this request"))
            await respond_json(send, 500, body, headers)

    async def _check_authorized(self, scope: Scope) -> None:
        await authorize(self._authorize, scope)

    def _check_expiry(self, name: str, value: Any, default: float) -> float:
        """Seconds that a browser asks for.

        Raises:
            Refusal: They are none, or more than it may have.
        """
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 1 <= value <= self._max_expires_in:
            message = f"{name} must be a number of seconds from 1 to {self._max_expires_in:g}"
            raise Refusal(400, message)
        return value  # type: ignore[no-any-return] # it is a number

    @abstractmethod
    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer a request of an allowed method, with these headers among others; raise `Refusal` otherwise."""


class _Begun:
    """A `send` that remembers whether an answer has begun: then no other one can be given."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.yes = False

    async def __call__(self, event: Scope) -> None:
        self.yes = True
        await self._send(event)
