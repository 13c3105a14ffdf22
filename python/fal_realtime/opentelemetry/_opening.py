"""The spans of the attempts to open a connection."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from fal_realtime._attempt import Attempt
from fal_realtime._exceptions import ConnectionClosedError, ForkedProcessError
from fal_realtime._functions import is_async

APP = "fal_realtime.app"

Left: TypeAlias = tuple[Span, BaseException, int]
"""A span of a connection that is gone, its error, and when that was, in nanoseconds of the epoch."""


class Opening:
    """The span of the attempt that is under way, of one connection."""

    def __init__(self, tracer: trace.Tracer, address: str, left: deque[Left]) -> None:
        self._tracer = tracer
        self._left = left
        self._parent = context.get_current()
        self._span: Span | None = None
        self.app = ""
        self.request_name = ""
        self.request_attributes: dict[str, str | int] = {}
        self.attributes: dict[str, str | int] = {}
        parts = urlsplit(address)
        if parts.hostname is not None:
            port = parts.port or (443 if parts.scheme in ("wss", "https") else 80)
            self.attributes = {"server.address": parts.hostname, "server.port": port}

    def belongs_to(self, app: str) -> None:
        """The connection is made, and says of which app it is."""
        self.app = app
        self.request_name = f"request {app}"
        self.request_attributes = {**self.attributes, APP: app}

    def begin(self, attempt: Attempt) -> None:
        """An attempt is about to be made; the one before it failed, if it has not opened."""
        self.end(attempt.error)
        attributes = {**self.attributes, APP: self.app, "fal_realtime.attempt": attempt.number}
        span = self._tracer.start_span(f"open {self.app}", self._parent, SpanKind.CLIENT, attributes)
        self._span = span
        propagate.inject(attempt.headers, trace.set_span_in_context(span, self._parent))

    def end(self, error: BaseException | None = None) -> None:
        """It has opened, or failed."""
        span, self._span = self._span, None
        if span is not None:
            if error is not None:
                failed(span, error)
            span.end()

    def farewell(self, connection: Any) -> None:
        """The connection is gone, and with it an attempt that is under way: its span is ended a little later.

        A finalizer may run in the middle of whatever exports spans, whose locks it must not wait for.
        """
        span, self._span = self._span, None
        if span is not None:
            with contextlib.suppress(ForkedProcessError):
                error = connection.last_error or ConnectionClosedError("nobody had the connection any more")
                self._left.append((span, error, time.time_ns()))


def failed(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__qualname__)
    status = getattr(error, "status", None)
    if isinstance(status, int):
        span.set_attribute("http.response.status_code", status)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def before_attempt(opening: Opening, hook: Any) -> Callable[[Attempt], Any]:
    """The caller's hook, whose changes come after ours."""
    if is_async(hook):

        async def asynchronous(attempt: Attempt) -> None:
            opening.begin(attempt)
            await hook(attempt)

        return asynchronous

    def plain(attempt: Attempt) -> Any:
        opening.begin(attempt)
        return None if hook is None else hook(attempt)

    return plain


def on_open(opening: Opening, hook: Any) -> Callable[[Any], Any]:
    if is_async(hook):

        async def asynchronous(connection: Any) -> None:
            opening.end()
            await hook(connection)

        return asynchronous

    def plain(connection: Any) -> Any:
        opening.end()
        return None if hook is None else hook(connection)

    return plain
