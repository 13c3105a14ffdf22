"""HTTP over ASGI: requests with a limit, JSON answers, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from fal_realtime import _checks as check

from ._types import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

_MAX_RETRY_AFTER = 86_400


class Refusal(Exception):  # noqa: N818 - the outcome of a hook, not a fault
    """Raised by a hook, or by a gateway itself: the request is answered with this status and message.

    The body is `{"message": …, "detail": …}`: the message of `ApiError` in `@fal-ai/client`, and of this package's.
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        """Refuse.

        Args:
            status: The HTTP status, 400 to 599.
            message: What is told. It must hold no secret.
            retry_after: Seconds after which the client may ask again.

        Raises:
            ValueError: The status is none of an error, or `retry_after` is not finite.
            TypeError: `retry_after` is no number.
        """
        if not 400 <= status <= 599:  # noqa: PLR2004 - RFC 9110, sections 15.5 and 15.6
            text = f"status must be one of an error, 400 to 599, not {status!r}"
            raise ValueError(text)
        if retry_after is not None:
            check.number("retry_after", retry_after, "a number of seconds, or None")
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message

    def headers(self) -> Headers:
        """Those that go with it."""
        if self.retry_after is None:
            return []
        seconds = min(max(0, round(self.retry_after)), _MAX_RETRY_AFTER)
        return [(b"retry-after", str(seconds).encode())]


class Disconnected(Exception):  # noqa: N818 - likewise
    """The client has left: nobody waits for an answer."""


def header_values(scope: Scope, name: bytes) -> list[str]:
    """The values of a header field, whose name is given in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if bytes(key).lower() == name]


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a header field that may stand there once.

    Raises:
        Refusal: It stands there several times.
    """
    values = header_values(scope, name)
    if len(values) > 1:
        message = f"the header {name.decode()} must be given once"
        raise Refusal(400, message)
    return values[0] if values else None


async def read_body(receive: Receive, limit: int) -> bytes:
    """The body of a request.

    Raises:
        Refusal: It has more than `limit` bytes.
        Disconnected: The client left.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected
        part = event.get("body") or b""
        size += len(part)
        if size > limit:
            message = f"the request's body must have at most {limit} bytes"
            raise Refusal(413, message)
        parts.append(part)
        if not event.get("more_body"):
            return b"".join(parts)


async def read_json(scope: Scope, receive: Receive, limit: int) -> dict[str, Any]:
    """The JSON object that a request holds.

    Raises:
        Refusal: It is none, is said to be none, or is too large.
        Disconnected: The client left.
    """
    # Else a page of anybody's could send it without a preflight: a "simple request" of the Fetch standard.
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        message = "the request's content-type must be application/json"
        raise Refusal(415, message)
    body = await read_body(receive, limit)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        message = "the request's body must be a JSON object"
        raise Refusal(400, message)
    return cast("dict[str, Any]", value)


async def respond_json(
    send: Send, status: int, value: Any, headers: Iterable[tuple[bytes, bytes]] = (), *, kind: str = "http"
) -> None:
    """Answer with JSON that nobody may keep; `kind` is the prefix of ASGI's event types."""
    body = json.dumps(value).encode()
    fixed: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": f"{kind}.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": f"{kind}.response.body", "body": body})


def error_body(refusal: Refusal) -> Mapping[str, str]:
    """What a refusal says, under the names that both clients look for."""
    return {"message": refusal.message, "detail": refusal.message}
