"""The spans and metrics of a client's connections."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider
from opentelemetry.trace import SpanKind, TracerProvider

from fal_realtime._base import BaseClient
from fal_realtime._checks import wrong_type
from fal_realtime._observing import Totals, before_it_goes
from fal_realtime._options import ConnectOptions
from fal_realtime._version import version

from ._methods import TRACE, traced
from ._opening import APP, Left, Opening, before_attempt, failed, on_open

ClientT = TypeVar("ClientT", bound=BaseClient[Any, Any])

_OUTCOME = "fal_realtime.outcome"
_DIRECTION = "network.io.direction"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)
"""Seconds: those that the conventions advise for durations of HTTP, and two above."""


_COUNTERS: tuple[tuple[str, str, dict[str, dict[str, str]]], ...] = (
    (
        "fal_realtime.client.inputs",
        "{message}",
        {name: {_OUTCOME: name} for name in ("written", "coalesced", "dropped", "withdrawn", "failed")},
    ),
    (
        "fal_realtime.client.results",
        "{message}",
        {"delivered": {_OUTCOME: "delivered"}, "received_dropped": {_OUTCOME: "dropped"}, "late": {_OUTCOME: "late"}},
    ),
    (
        "fal_realtime.client.io",
        "By",
        {"bytes_sent": {_DIRECTION: "transmit"}, "bytes_received": {_DIRECTION: "receive"}},
    ),
    (
        "fal_realtime.client.openings",
        "{attempt}",
        {"openings": {_OUTCOME: "opened"}, "opening_failures": {_OUTCOME: "failed"}},
    ),
    ("fal_realtime.client.unanswered", "{message}", {"unanswered": {}}),
    ("fal_realtime.client.reconnects", "{session}", {"reconnects": {}}),
)
"""Name, unit, and the attributes of what is counted."""


def instrument(
    client: ClientT,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> ClientT:
    """Make spans and metrics of all connections that a client makes from now on; its pools and `with_options` too.

    Args:
        client: A `RealtimeClient` or `SyncRealtimeClient`, which is given back.
        tracer_provider: Default: the global one.
        meter_provider: Default: the global one.

    Raises:
        TypeError: It is no client.
        ValueError: It is instrumented already.
    """
    if not isinstance(client, BaseClient):
        name, expected = "client", "a RealtimeClient or SyncRealtimeClient"
        raise wrong_type(name, expected, client)
    if any(isinstance(observer, _Instrumentation) for observer in client._observers):  # noqa: SLF001 - of this package
        message = "the client is instrumented already"
        raise ValueError(message)
    meters = meter_provider or get_meter_provider()
    client._observe(_Instrumentation(trace.get_tracer("fal_realtime", version(), tracer_provider), meters))  # noqa: SLF001
    return client


class _Instrumentation:
    """The observer."""

    def __init__(self, tracer: trace.Tracer, meters: MeterProvider) -> None:
        self._tracer = tracer
        self._totals = Totals()
        self._left: deque[Left] = deque()
        meter = meters.get_meter("fal_realtime", version())
        self._duration = meter.create_histogram(
            "fal_realtime.client.request.duration",
            unit="s",
            description="From the call of request to its result or error.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        for name, unit, counted in _COUNTERS:
            meter.create_observable_counter(name, [self._counted(counted)], unit=unit)
        meter.create_observable_up_down_counter("fal_realtime.client.connections", [self._states], unit="{connection}")

    def _counted(self, counted: dict[str, dict[str, str]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for app, sums in self._totals.collect()[0].items():
                for name, attributes in counted.items():
                    yield Observation(sums.get(name, 0), {APP: app, **attributes})

        return observe

    def _end_left(self) -> None:
        """End the spans of connections that are gone."""
        while self._left:
            span, error, at = self._left.popleft()
            failed(span, error)
            span.end(at)

    def _states(self, _: CallbackOptions) -> Iterator[Observation]:
        self._end_left()
        for (app, state), number in self._totals.collect()[1].items():
            yield Observation(number, {APP: app, "fal_realtime.state": state})

    def options(self, address: str, options: ConnectOptions) -> tuple[ConnectOptions, Opening]:
        self._end_left()
        opening = Opening(self._tracer, address, self._left)
        hooks: dict[str, Any] = {
            "before_attempt": before_attempt(opening, options.before_attempt),
            "on_open": on_open(opening, options.on_open),
        }
        return replace(options, **hooks), opening

    def made(self, connection: Any, told: Opening | None) -> None:
        self._totals.add(connection)
        if told is None:  # it was there before, with its own hooks
            return
        told.app = connection.app
        before_it_goes(connection, told.farewell)
        setattr(connection, TRACE, (self, told))
        connection.__class__ = traced(connection.__class__)

    @contextmanager
    def request(self, connection: Any, opening: Opening) -> Iterator[None]:
        """The span and the duration of a request."""
        self._end_left()
        attributes: dict[str, Any] = {APP: opening.app}
        name, span_attributes = f"request {opening.app}", {**opening.attributes, **attributes}
        started = time.perf_counter()
        with self._tracer.start_as_current_span(
            name, None, SpanKind.CLIENT, span_attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                failed(span, error)
                attributes["error.type"] = type(error).__qualname__
                if connection.state == "closed":
                    opening.end(connection.last_error or error)
                raise
            finally:
                self._duration.record(time.perf_counter() - started, attributes)
