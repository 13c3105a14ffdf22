"""The span and the duration of a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind

from ._opening import APP, Opening, failed

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram


class Request:
    """One request, from its call to its result or error."""

    __slots__ = ("_began", "_duration", "_error", "_opening", "_span", "_token")

    def __init__(self, tracer: trace.Tracer, duration: Histogram, opening: Opening) -> None:
        self._duration = duration
        self._opening = opening
        self._error: BaseException | None = None
        self._span = tracer.start_span(opening.request_name, None, SpanKind.CLIENT, opening.request_attributes)
        self._token = context.attach(trace.set_span_in_context(self._span))
        self._began = time.perf_counter()

    def failed(self, connection: Any, error: BaseException) -> None:
        """It has no result."""
        self._error = error
        failed(self._span, error)
        if connection.state == "closed":
            self._opening.end(connection.last_error or error)

    def end(self) -> None:
        """It is over."""
        seconds = time.perf_counter() - self._began
        attributes = {APP: self._opening.app}
        if self._error is not None:
            attributes["error.type"] = type(self._error).__qualname__
        # While the span is current, as an example of the duration.
        self._duration.record(seconds, attributes)
        context.detach(self._token)
        self._span.end()
