"""The statistics of a client's connections for Prometheus, read when they are scraped.

```python
from prometheus_client import REGISTRY, start_http_server

from fal_realtime import RealtimeClient
from fal_realtime.prometheus import collector

client = RealtimeClient()
REGISTRY.register(collector(client))
start_http_server(9000)
```

Needs `pip install prometheus-client`. It costs nothing between two scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

try:
    import prometheus_client  # noqa: F401 - for the error
except ImportError as _error:
    _missing = f"fal_realtime.prometheus needs prometheus-client: pip install prometheus-client ({_error})"
    raise ImportError(_missing) from _error

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ._base import BaseClient
from ._checks import wrong_type
from ._core import LatencyHistogram
from ._observing import Totals
from ._options import ConnectOptions

__all__ = ["collector"]

_INPUTS = ("written", "coalesced", "dropped", "withdrawn", "failed")
_RESULTS = {"delivered": "delivered", "received_dropped": "dropped", "late": "late"}
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0)
"""Seconds. Each is an edge of the core's buckets, so that what is below it is exact."""


def collector(*clients: BaseClient[Any, Any]) -> Collector:
    """Make what collects the statistics of all connections of clients; register it with a registry.

    The connections that the clients have are watched, and those that they, their pools or their `with_options` will
    make. The labels are `app` (of more than 100 apps the rest is `other`), `outcome` and `state`.

    Raises:
        TypeError: One is no `RealtimeClient` or `SyncRealtimeClient`.
    """
    made = _ConnectionCollector()
    for client in clients:
        if not isinstance(client, BaseClient):
            name, expected = "a client", "a RealtimeClient or SyncRealtimeClient"
            raise wrong_type(name, expected, client)
        client._observe(made)  # noqa: SLF001 - of this package
    return made


class _ConnectionCollector(Collector):
    """The observer of the clients' connections."""

    def __init__(self) -> None:
        self._totals = Totals()

    def options(self, address: str, options: ConnectOptions) -> tuple[ConnectOptions, None]:  # noqa: ARG002 - as it is called
        """Change nothing: part of the package's own protocol."""
        return options, None

    def made(self, connection: Any, told: object = None) -> None:  # noqa: ARG002 - likewise
        """Watch a connection: part of the package's own protocol."""
        self._totals.add(connection)

    def collect(self) -> Iterator[Metric]:
        """Give the metrics, as the registry asks for them."""
        sums, states = self._totals.collect()
        inputs = CounterMetricFamily("fal_realtime_inputs", "Inputs by what became of them.", labels=["app", "outcome"])
        results = CounterMetricFamily(
            "fal_realtime_results", "Results by what became of them.", labels=["app", "outcome"]
        )
        by_app: list[tuple[CounterMetricFamily | GaugeMetricFamily, str]] = [
            (
                CounterMetricFamily("fal_realtime_unanswered", "Inputs whose session ended first.", labels=["app"]),
                "unanswered",
            ),
            (
                CounterMetricFamily("fal_realtime_reconnects", "Sockets opened after the first.", labels=["app"]),
                "reconnects",
            ),
            (
                CounterMetricFamily("fal_realtime_openings", "Times that a connection was open.", labels=["app"]),
                "openings",
            ),
            (
                CounterMetricFamily("fal_realtime_opening_failures", "Attempts to open that failed.", labels=["app"]),
                "opening_failures",
            ),
            (
                CounterMetricFamily("fal_realtime_sent_bytes", "Bytes of messages written.", labels=["app"]),
                "bytes_sent",
            ),
            (
                CounterMetricFamily("fal_realtime_received_bytes", "Bytes of messages received.", labels=["app"]),
                "bytes_received",
            ),
            (
                GaugeMetricFamily("fal_realtime_inputs_pending", "Inputs that wait to be written.", labels=["app"]),
                "pending",
            ),
            (
                GaugeMetricFamily("fal_realtime_results_pending", "Results that wait to be taken.", labels=["app"]),
                "received_pending",
            ),
        ]
        for app, counted in sums.items():
            for name in _INPUTS:
                inputs.add_metric([app, name], counted.get(name, 0))
            for name, outcome in _RESULTS.items():
                results.add_metric([app, outcome], counted.get(name, 0))
            for family, name in by_app:
                family.add_metric([app], counted.get(name, 0))
        yield from self._durations()
        connections = GaugeMetricFamily("fal_realtime_connections", "Connections.", labels=["app", "state"])
        for (app, state), number in states.items():
            connections.add_metric([app, state], number)
        yield from (inputs, results, *(family for family, _ in by_app), connections)

    def _durations(self) -> Iterator[HistogramMetricFamily]:
        """Give the histograms of all connections, whatever their app."""
        stats = self._totals.stats()
        yield _histogram(
            "fal_realtime_request_duration_seconds",
            "From when a request was written to when its answer was read.",
            stats["request_latency"],
        )
        yield _histogram(
            "fal_realtime_opening_duration_seconds",
            "From the beginning of an attempt to open to the open connection.",
            stats["opening_time"],
        )
        yield _histogram("fal_realtime_ping_duration_seconds", "From a ping to its pong.", stats["ping_latency"])


def _histogram(name: str, documentation: str, durations: LatencyHistogram) -> HistogramMetricFamily:
    """Make a histogram of durations."""
    fine = durations.buckets
    counts = [(str(bound), sum(count for _, to, count in fine if to <= bound)) for bound in _BOUNDS]
    total = sum(count for *_, count in fine)
    family = HistogramMetricFamily(name, documentation)
    family.add_metric([], [*counts, ("+Inf", total)], durations.sum)
    return family
