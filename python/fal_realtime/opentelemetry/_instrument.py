"""The spans and metrics of a client's connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider
from opentelemetry.trace import TracerProvider

from fal_realtime._base import BaseClient
from fal_realtime._checks import boolean, wrong_type
from fal_realtime._observing import Totals, before_it_goes
from fal_realtime._options import ConnectOptions
from fal_realtime._version import version

from ._methods import TRACE, traced
from ._opening import APP, Left, Opening, before_attempt, failed, on_open
from ._request import Request

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
    request_spans: bool = True,
) -> ClientT:
    """Make spans and metrics of all connections that a client makes from now on; its pools and `with_options` too.

    Args:
        client: A `RealtimeClient` or `SyncRealtimeClient`, which is given back.
        tracer_provider: Default: the global one.
        meter_provider: Default: the global one.
        request_spans: Whether each `request` is a span, and recorded in `fal_realtime.client.request.duration`. Both
            are made in Python, at the call; all other metrics are what the core counts, read when they are exported.

    Raises:
        TypeError: It is no client, or `request_spans` is no bool.
        ValueError: It is instrumented already.
    """
    if not isinstance(client, BaseClient):
        name, expected = "client", "a RealtimeClient or SyncRealtimeClient"
        raise wrong_type(name, expected, client)
    if any(isinstance(observer, _Instrumentation) for observer in client._observers):  # noqa: SLF001 - of this package
        message = "the client is instrumented already"
        raise ValueError(message)
    boolean("request_spans", request_spans)
    meters = meter_provider or get_meter_provider()
    tracer = trace.get_tracer("fal_realtime", version(), tracer_provider)
    client._observe(_Instrumentation(tracer, meters, request_spans=request_spans))  # noqa: SLF001 - of this package
    return client


class _Instrumentation:
    """The observer."""

    def __init__(self, tracer: trace.Tracer, meters: MeterProvider, *, request_spans: bool) -> None:
        self._tracer = tracer
        self._request_spans = request_spans
        self._totals = Totals()
        self._left: deque[Left] = deque()
        meter = meters.get_meter("fal_realtime", version())
        if request_spans:
            self._duration = meter.create_histogram(
                "fal_realtime.client.request.duration",
                unit="s",
                description="From the call of request to its result or error.",
                explicit_bucket_boundaries_advisory=_BUCKETS,
            )
        meter.create_observable_counter("fal_realtime.client.request.answered", [self._answered], unit="{request}")
        meter.create_observable_counter("fal_realtime.client.request.answer_time", [self._answer_time], unit="s")
        for name, unit, counted in _COUNTERS:
            meter.create_observable_counter(name, [self._counted(counted)], unit=unit)
        meter.create_observable_up_down_counter("fal_realtime.client.connections", [self._states], unit="{connection}")

    def _counted(self, counted: dict[str, dict[str, str]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for app, sums in self._totals.collect()[0].items():
                for name, attributes in counted.items():
                    yield Observation(sums.get(name, 0), {APP: app, **attributes})

        return observe

    def _answered(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self._totals.stats()["request_latency"].count)

    def _answer_time(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self._totals.stats()["request_latency"].sum)

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
        told.belongs_to(connection.app)
        before_it_goes(connection, told.farewell)
        setattr(connection, TRACE, (self, told))
        connection.__class__ = traced(connection.__class__, requests=self._request_spans)

    def begin_request(self, opening: Opening) -> Request:
        """A request is called."""
        self._end_left()
        return Request(self._tracer, self._duration, opening)
