"""One payload and its response over `ws.fal.run`, without I/O: what the two kinds of endpoint of `ws_run` share."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from . import _checks as check
from ._exceptions import (
    ApiError,
    ConnectionClosedError,
    DecodeError,
    EncodeError,
    RequestTimeoutError,
    ValidationError,
)
from ._secrets import Redaction

_FIRST_ERROR = 400
_UNPROCESSABLE = 422
_HOST_VARIABLE = "FAL_WS_RUN_HOST"


@dataclass(frozen=True)
class Response:
    """What an endpoint answered to one payload."""

    request_id: str
    """fal's id of the request."""
    status: int
    """The HTTP status."""
    headers: dict[str, str]
    """Those of the HTTP response, as they came."""
    chunks: list[bytes | str] = field(repr=False)
    """The body, in the messages in which it came."""

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(chunk.encode() if isinstance(chunk, str) else chunk for chunk in self.chunks)

    def json(self) -> Any:
        """The body, decoded from JSON.

        Raises:
            DecodeError: It is none.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            message = f"the response is no JSON: {error}"
            raise DecodeError(message) from error


class IncompleteResponseError(ConnectionClosedError):
    """The connection was closed before the whole response had come; the app has run, or is still running."""

    def __init__(self, message: str, code: int = 1006, reason: str = "", response: Response | None = None) -> None:
        super().__init__(message, code, reason)
        self.args: tuple[Any, ...] = (message, code, reason, response)
        self.response = response
        """What had come: `status` is 0 before the start, and `chunks` are those that `stream` has not given."""


class Exchange:
    """Takes the messages of a response, and says what they are. `keeps`: the body is kept, not given."""

    def __init__(self, redaction: Redaction, *, keeps: bool) -> None:
        self.is_over = False
        self._redaction = redaction
        self._keeps = keeps
        self._has_started = False
        self._response = Response("", 0, {}, [])
        self._messages = 0
        self._bytes = 0

    def take(self, message: bytes | str) -> bytes | str | None:
        """A part of the body that is not kept, or None."""
        said = _frame(message)
        if not self._has_started:
            self._start(said)
            return None
        # An app's own JSON may look like this, but for the id.
        if said is not None and said["type"] == "end" and str(said["request_id"]) == self._response.request_id:
            self.is_over = True
            return None
        self._messages += 1
        self._bytes += len(message.encode() if isinstance(message, str) else message)
        if self._keeps or self._response.status >= _FIRST_ERROR:
            self._response.chunks.append(message)
            return None
        return message

    def _start(self, said: dict[str, Any] | None) -> None:
        if said is None or said["type"] != "start":
            why = "the response does not begin with its start: is this app behind fal's HTTP over WebSockets?"
            raise DecodeError(why)
        self._has_started = True
        status, headers = said.get("status"), said.get("headers")
        self._response = Response(
            str(said["request_id"]),
            status if isinstance(status, int) else 0,
            {str(name): str(value) for name, value in cast("dict[object, object]", headers).items()}
            if isinstance(headers, dict)
            else {},
            [],
        )

    def response(self) -> Response:
        """The response, now that it is whole.

        Raises:
            ApiError: Its status is an error's.
        """
        response = self._response
        if response.status < _FIRST_ERROR:
            return response
        try:
            body = response.json()
        except DecodeError:
            body = self._redaction.text(response.body.decode(errors="replace"))[:2048]
        kind = ValidationError if response.status == _UNPROCESSABLE else ApiError
        message = f"the endpoint answered with status {response.status}"
        told = self._told()
        error = kind(message, response.status, self._redaction(body), told.request_id)
        error.headers = {name.lower(): value for name, value in told.headers.items()}
        raise error

    def incomplete(self, error: ConnectionClosedError) -> IncompleteResponseError:
        """The error for a connection that was closed before the end."""
        message = f"the response was incomplete: {self.arrived()} when it ended: {error}"
        return IncompleteResponseError(message, error.code, error.reason, self._told())

    def _told(self) -> Response:
        """The response without the secrets that its id and headers repeat, for an error; the body is as it came."""
        response, redaction = self._response, self._redaction
        return Response(
            redaction.text(response.request_id), response.status, redaction(response.headers), response.chunks
        )

    def arrived(self) -> str:
        """What has come so far, in words."""
        if not self._has_started:
            return "nothing of it had come"
        body = f"{self._messages} messages with {self._bytes} bytes of its body" if self._messages else "no body"
        request_id = self._redaction.text(self._response.request_id)
        return f"its start (status {self._response.status}, request {request_id}) and {body} had come"


def _frame(message: bytes | str) -> dict[str, Any] | None:
    """The start or end that a message is, or None."""
    if not isinstance(message, str) or not message.lstrip().startswith("{"):
        return None
    try:
        loaded = json.loads(message)
    except ValueError:
        return None
    said = cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}
    return said if said.get("type") in ("start", "end") and "request_id" in said else None


def encoded(payload: object) -> str:
    """The message for a payload."""
    try:
        return json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"the payload cannot be written as JSON: {error}"
        raise EncodeError(message) from error


class Clock:
    """Seconds left of a timeout."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = check.timeout(timeout)
        self._end = None if self._timeout is None else time.monotonic() + self._timeout

    def left(self) -> float | None:
        """So many, or None for no limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def error(self, what_arrived: str) -> RequestTimeoutError:
        """The error when there are none."""
        return RequestTimeoutError(f"the response was not complete within {self._timeout} s: {what_arrived}")


def address(base_url: str) -> str:
    """Where to, for a client of `base_url`: `wss://$FAL_WS_RUN_HOST`, else `ws.` before the host's name."""
    if host := os.environ.get(_HOST_VARIABLE):
        if "/" in host or "@" in host:
            message = f"{_HOST_VARIABLE} must be a host name such as 'ws.fal.run', without scheme or path"
            raise ValueError(message)
        return f"wss://{host}"
    parts = urlsplit(base_url)
    name = parts.hostname or ""
    if name.startswith("ws.") or _has_no_names_below(name):
        return base_url
    return parts._replace(netloc=f"ws.{parts.netloc}").geturl()


def _has_no_names_below(host: str) -> bool:
    """An address, or the name of a machine: there is no other one whose name is this with `ws.` before it."""
    if "." not in host or host.endswith(".localhost"):
        return True
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
