"""Which pages may ask: CORS, with exact origins (<https://fetch.spec.whatwg.org/#http-cors-protocol>)."""

from __future__ import annotations

import re
from collections.abc import Collection

from fal_realtime import _checks as check

from ._http import Headers, Refusal, header
from ._types import Scope

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)

_PREFLIGHT_SECONDS = 600


def checked_origins(name: str, value: Collection[str]) -> frozenset[str]:
    """Exact origins, such as `https://app.example`."""
    check.instance(name, value, (list, tuple, set, frozenset), "a collection of origins such as 'https://app.example'")
    for origin in value:
        text = check.text(f"{name}: an origin", origin)
        if not _ORIGIN.fullmatch(text):
            message = (
                f"{name} must hold exact origins such as 'https://app.example' or 'http://localhost:3000' "
                f"(in lower case, without a path), not {origin!r}"
            )
            raise ValueError(message)
    return frozenset(value)


class Origins:
    """The origins of the pages that may ask from elsewhere."""

    def __init__(self, allowed: Collection[str], *, credentials: bool, methods: str) -> None:
        self._allowed = checked_origins("allow_origins", allowed)
        check.boolean("allow_credentials", credentials)
        self._credentials = credentials
        self._methods = methods.encode()

    def headers(self, scope: Scope) -> Headers:
        """The headers of an answer to a page."""
        if not self._allowed:
            return []
        # Caches must not give one page what was meant for another.
        headers: Headers = [(b"vary", b"origin")]
        origin = header(scope, b"origin")
        if origin in self._allowed:
            headers.append((b"access-control-allow-origin", origin.encode()))
            headers.append((b"access-control-expose-headers", b"retry-after, x-fal-request-id"))
            if self._credentials:
                headers.append((b"access-control-allow-credentials", b"true"))
        return headers

    def preflight(self, scope: Scope) -> Headers:
        """The headers of the answer to a preflight.

        Raises:
            Refusal: The origin is not allowed.
        """
        if header(scope, b"origin") not in self._allowed:
            raise Refusal(403, "this origin is not allowed")
        asked = header(scope, b"access-control-request-headers")
        headers = [
            *self.headers(scope),
            (b"access-control-allow-methods", self._methods),
            (b"access-control-max-age", str(_PREFLIGHT_SECONDS).encode()),
        ]
        if asked and asked.isascii() and asked.isprintable():
            headers.append((b"access-control-allow-headers", asked.encode()))
        return headers


def check_websocket_origin(scope: Scope, allowed: frozenset[str] | None) -> None:
    """Refuse a WebSocket of a page that may not open one: CORS does not hold for WebSockets (RFC 6455, section 10.2).

    `None` allows the pages of this very host; what is no browser names no origin.

    Raises:
        Refusal: The page may not.
    """
    origin = header(scope, b"origin")
    if origin is None:
        return
    if allowed is None:
        host = header(scope, b"host")
        if host is not None and origin.partition("://")[2].lower() == host.lower():
            return
    elif origin in allowed:
        return
    raise Refusal(403, "this origin is not allowed")
