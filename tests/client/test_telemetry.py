"""Spans, metrics and scrapes of connections, with the real SDK of OpenTelemetry and the real client of Prometheus."""

from __future__ import annotations

import asyncio
import gc
import inspect
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id, get_current_span
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from support import LIMIT, Peer, Session, result_of, until
from websockets.sync.server import serve

from fal_realtime import (
    HandshakeError,
    RealtimeClient,
    RealtimeConnection,
    ReconnectPolicy,
    RequestTimeoutError,
    msgpack,
)
from fal_realtime.opentelemetry import instrument
from fal_realtime.prometheus import collector

APP = "local/echo/realtime"
QUICK = ReconnectPolicy(initial_delay=0.01, max_delay=0.01)


class Telemetry:
    """An SDK of one's own, and what it was given."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader])
        self.tracer = self.tracers.get_tracer("test")

    def instrument(self, client: Any, **options: Any) -> Any:
        return instrument(client, tracer_provider=self.tracers, meter_provider=self._meters, **options)

    def spans(self, kind: str) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.name == f"{kind} {APP}"]

    def metrics(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def counted(self, name: str) -> dict[str, int]:
        """By the attribute that is not the app."""
        points = self.metrics()[f"fal_realtime.client.{name}"]
        assert all(point.attributes["fal_realtime.app"] == APP for point in points)
        return {
            "".join(value for key, value in point.attributes.items() if key != "fal_realtime.app"): point.value
            for point in points
        }


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.tracers.shutdown()
    telemetry._meters.shutdown()


@pytest.fixture
def scrape() -> Iterator[Callable[..., Callable[[], dict[tuple[str, ...], float]]]]:
    """Serves the collector of some clients over HTTP; what it gives scrapes it."""
    servers = []

    def scraping(*clients: Any) -> Callable[[], dict[tuple[str, ...], float]]:
        registry = CollectorRegistry()
        registry.register(collector(*clients))
        server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        servers.append((server, thread))

        def scrape_it() -> dict[tuple[str, ...], float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as response:
                families = text_string_to_metric_families(response.read().decode())
                samples = [sample for family in families for sample in family.samples]
            return {(sample.name, *sample.labels.values()): sample.value for sample in samples}

        return scrape_it

    yield scraping
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def only(spans: list[ReadableSpan]) -> ReadableSpan:
    (span,) = spans
    return span


# --- spans ---


async def test_an_opening_and_a_request_are_spans_below_the_one_around(fal_local_server, telemetry):
    client = telemetry.instrument(fal_local_server.client())
    with telemetry.tracer.start_as_current_span("around") as around:
        async with client.connect("local/echo") as connection:
            assert (await connection.request({"a": 1}, timeout=20))["a"] == 1
    for span in (opening := only(telemetry.spans("open")), only(telemetry.spans("request"))):
        assert span.parent.span_id == around.get_span_context().span_id
        assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
        assert span.attributes["server.address"] == "127.0.0.1"
        assert span.attributes["fal_realtime.app"] == APP
    handshake = [seen for seen in fal_local_server.requests if "traceparent" in seen.headers]
    trace_id, span_id = format_trace_id(opening.context.trace_id), format_span_id(opening.context.span_id)
    assert [seen.headers["traceparent"].split("-")[1:3] for seen in handshake] == [[trace_id, span_id]]


@pytest.mark.parametrize("is_async", [False, True])
async def test_hooks_of_the_callers_run_as_ever(fal_local_server, telemetry, is_async):
    seen = []

    def before(attempt: Any) -> None:
        seen.append(attempt.number)
        attempt.headers["x-mine"] = "yes"

    def opened(connection: Any) -> None:
        seen.append(connection)

    async def before_async(attempt: Any) -> None:
        before(attempt)

    async def opened_async(connection: Any) -> None:
        await asyncio.sleep(0)
        opened(connection)

    hooks = (
        {"before_attempt": before_async, "on_open": opened_async}
        if is_async
        else {"before_attempt": before, "on_open": opened}
    )
    client = telemetry.instrument(fal_local_server.client())
    async with client.connect("local/echo", **hooks) as connection:
        assert seen == [1, connection]
    assert {"traceparent", "x-mine"} <= set(fal_local_server.requests[-1].headers)


async def test_each_attempt_is_a_span_and_one_that_failed_says_why(fal_local_server, telemetry):
    fal_local_server.refuse(503)

    def second(attempt: Any) -> None:
        if attempt.number == 2:
            fal_local_server.refuse(None)

    client = telemetry.instrument(fal_local_server.client())
    connection = client.connect("local/echo", reconnect=QUICK, before_attempt=second)
    await connection.request({}, timeout=20)
    await connection.aclose()
    failed, opened = telemetry.spans("open")
    assert (failed.status.status_code, failed.attributes["error.type"]) == (StatusCode.ERROR, "HandshakeError")
    assert (failed.attributes["http.response.status_code"], failed.attributes["fal_realtime.attempt"]) == (503, 1)
    assert (opened.status.status_code, opened.attributes["fal_realtime.attempt"]) == (StatusCode.UNSET, 2)
    assert telemetry.counted("openings") == {"opened": 1, "failed": 1}


async def test_the_last_failure_of_an_opening_ends_its_span(fal_local_server, telemetry):
    fal_local_server.refuse(404)
    client = telemetry.instrument(fal_local_server.client())
    with pytest.raises(HandshakeError):
        await client.connect("local/echo", reconnect=None).open()
    span = only(telemetry.spans("open"))
    assert (span.attributes["http.response.status_code"], span.status.status_code) == (404, StatusCode.ERROR)


async def test_an_attempt_of_a_connection_that_is_let_go_ends_with_it(fal_local_server, telemetry):
    client = telemetry.instrument(fal_local_server.client())
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    fal_local_server.handshake_delay(60)
    connection = client.connect("local/echo", before_attempt=lambda _: loop.call_soon_threadsafe(begun.set))
    connection.send_nowait({})
    await asyncio.wait_for(begun.wait(), 20)
    await connection.aclose()
    del connection
    gc.collect()
    telemetry.metrics()
    assert only(telemetry.spans("open")).status.status_code is StatusCode.ERROR


async def test_a_request_that_fails_says_why(fal_local_server, telemetry):
    client = telemetry.instrument(fal_local_server.client())
    async with client.connect("local/echo") as connection:
        with pytest.raises(RequestTimeoutError):
            await connection.request({"delay": 30}, timeout=0.01)
        await connection.close()
    span = only(telemetry.spans("request"))
    assert (span.attributes["error.type"], span.status.status_code) == ("RequestTimeoutError", StatusCode.ERROR)
    (point,) = telemetry.metrics()["fal_realtime.client.request.duration"]
    assert dict(point.attributes) == {"fal_realtime.app": APP, "error.type": "RequestTimeoutError"}
    assert (point.count, point.sum >= 0.01) == (1, True)


def test_a_blocking_client_has_them_too(fal_local_server, telemetry):
    client = telemetry.instrument(fal_local_server.sync_client())
    with telemetry.tracer.start_as_current_span("around"), client, client.connect("local/echo") as connection:
        connection.request({}, timeout=20)
    assert only(telemetry.spans("open")).parent == only(telemetry.spans("request")).parent
    assert "traceparent" in fal_local_server.requests[-1].headers


async def test_a_raw_connection_has_a_span_and_no_address_in_it(telemetry):
    headers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def handler(websocket: Any) -> None:
        headers.put(websocket.request.headers)
        websocket.recv()

    with serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        client = telemetry.instrument(RealtimeClient("key:secret", trust_env=False))
        async with client.connect_raw(f"ws://127.0.0.1:{port}/path?token=hidden") as connection:
            await connection.send("hello")
        server.shutdown()
        thread.join()
    (span,) = telemetry._spans.get_finished_spans()
    assert headers.get(timeout=60)["traceparent"].split("-")[2] == format_span_id(span.context.span_id)
    assert (span.attributes["server.port"], "hidden" in span.to_json()) == (port, False)


async def test_pools_and_clients_made_of_it_are_watched_too(fal_local_server, telemetry):
    client = telemetry.instrument(fal_local_server.client())
    async with client.with_options(user_agent="other").connect("local/echo") as connection:
        await connection.request({}, timeout=20)
    async with client.pool("local/echo", size=1) as pool:
        await pool.request({}, timeout=20)
    assert len(telemetry.spans("request")) == len(telemetry.spans("open")) == 2


def test_a_blocking_pool_is_watched_too(fal_local_server, telemetry):
    with telemetry.instrument(fal_local_server.sync_client()) as client, client.pool("local/echo", size=1) as pool:
        pool.request({}, timeout=20)
    assert len(telemetry.spans("request")) == len(telemetry.spans("open")) == 1


async def test_a_request_has_no_span_where_none_is_wanted_and_the_rest_is_as_ever(fal_local_server, telemetry):
    client = telemetry.instrument(fal_local_server.client(), request_spans=False)
    async with client.connect("local/echo") as connection:
        assert "request" not in vars(type(connection))
        await connection.request({}, timeout=20)
    assert telemetry.spans("request") == []
    assert only(telemetry.spans("open")).status.status_code is StatusCode.UNSET
    assert "fal_realtime.client.request.duration" not in telemetry.metrics()
    assert telemetry.counted("inputs")["written"] == 1
    with pytest.raises(TypeError, match="request_spans must be"):
        telemetry.instrument(fal_local_server.client(), request_spans=None)


async def test_the_span_of_a_request_is_current_while_it_runs_and_not_after(fal_local_server, telemetry):
    seen = []

    def encode(value: Any) -> bytes:
        seen.append(get_current_span().get_span_context().span_id)
        return msgpack.encode(value)

    client = telemetry.instrument(fal_local_server.client())
    async with client.connect("local/echo", encode_message=encode) as connection:
        await connection.request({}, timeout=20)
        assert get_current_span().get_span_context().span_id == 0
    assert seen == [only(telemetry.spans("request")).context.span_id]


# --- metrics ---


@pytest.mark.parametrize("request_spans", [True, False])
async def test_how_long_answers_took_is_read_from_what_the_core_counted(fal_local_server, telemetry, request_spans):
    client = telemetry.instrument(fal_local_server.client(), request_spans=request_spans)
    async with client.connect("local/echo") as connection:
        await connection.request({"delay": 0.1}, timeout=20)
        await connection.request({}, timeout=20)
    metrics = telemetry.metrics()
    [answered] = metrics["fal_realtime.client.request.answered"]
    [seconds] = metrics["fal_realtime.client.request.answer_time"]
    assert (answered.value, seconds.value) == (2, client.stats()["request_latency"].sum)
    assert seconds.value >= 0.1


async def test_metrics_are_the_statistics_of_all_connections_gone_or_not(fal_local_server, telemetry, scrape):
    client = telemetry.instrument(fal_local_server.client())
    scraped = scrape(client)
    sums: dict[str, int] = {}
    for _ in range(3):
        connection = client.connect("local/echo")
        async with connection:
            for _ in range(4):
                await connection.request({"text": "x" * 100}, timeout=20)
        for name, value in connection.stats().items():
            sums[name] = sums.get(name, 0) + value
        del connection
    gc.collect()
    assert telemetry.counted("inputs") == {"written": 12, "coalesced": 0, "dropped": 0, "withdrawn": 0, "failed": 0}
    assert telemetry.counted("results") == {"delivered": 12, "dropped": 0, "late": 0}
    assert telemetry.counted("io") == {"transmit": sums["bytes_sent"], "receive": sums["bytes_received"]}
    found = scraped()
    assert found["fal_realtime_inputs_total", APP, "written"] == 12
    assert found["fal_realtime_results_total", APP, "delivered"] == 12
    assert found["fal_realtime_sent_bytes_total", APP] == sums["bytes_sent"] > 1200
    assert found["fal_realtime_received_bytes_total", APP] == sums["bytes_received"]
    assert not any(name[0] == "fal_realtime_connections" for name in found)


async def test_a_scrape_sees_connections_that_were_there_before(fal_local_server, scrape):
    client = fal_local_server.client()
    async with client.connect("local/echo") as connection:
        scraped = scrape(client)
        assert scraped()["fal_realtime_connections", APP, "active"] == 1
        await connection.request({}, timeout=20)
        assert scraped()["fal_realtime_inputs_total", APP, "written"] == 1
        await connection.request({}, timeout=20)
        assert scraped()["fal_realtime_inputs_total", APP, "written"] == 2
    assert scraped()["fal_realtime_connections", APP, "closed"] == 1


async def test_what_is_not_written_when_a_connection_is_let_go_has_failed(fal_local_server, scrape):
    client = fal_local_server.client()
    scraped = scrape(client)
    fal_local_server.handshake_delay(60)
    connection = client.connect("local/echo", throttle_interval=0)
    connection.send_nowait({})
    assert scraped()["fal_realtime_inputs_pending", APP] == 1
    await connection.aclose()
    del connection
    gc.collect()
    found = scraped()
    assert found["fal_realtime_inputs_total", APP, "failed"] == 1
    assert found.get(("fal_realtime_inputs_pending", APP), 0) == 0


async def test_no_counter_becomes_less_where_a_session_is_refused_with_its_messages(scrape):
    refuse = threading.Event()

    def refuse_later(session: Session) -> None:
        session.recv()
        refuse.wait(LIMIT)
        session.send_json(status="error", error="Unauthorized")
        session.wait_closed()

    come_back = threading.Event()

    def answer_later(session: Session) -> None:
        come_back.wait(LIMIT)
        session.echo()

    with Peer(refuse_later, answer_later) as peer:
        client = peer.client()
        scraped = scrape(client)
        async with client.connect("local/echo", throttle_interval=0) as connection:
            await connection.send({"number": 0})
            await connection.drain()
            written = ("fal_realtime_inputs_total", APP, "written")
            before = scraped()
            assert before[written] == connection.stats()["written"] == 1
            lowest = asyncio.ensure_future(until(lambda: connection.stats()["written"] == 0, "the refusal"))
            refuse.set()
            await lowest
            assert scraped()[written] == 1
            assert scraped()["fal_realtime_sent_bytes_total", APP] == before["fal_realtime_sent_bytes_total", APP]
            come_back.set()
            assert (await result_of(connection.recv()))["number"] == 0
            assert scraped()[written] == connection.stats()["written"] == 1


def test_of_very_many_apps_the_rest_has_one_label(fal_local_server, scrape):
    client = fal_local_server.sync_client()
    scraped = scrape(client)
    connections = [client.connect(f"me/app-{number}") for number in range(150)]
    found = {key: value for key, value in scraped().items() if key[0] == "fal_realtime_connections"}
    assert len(found) == 101
    assert found["fal_realtime_connections", "other", "idle"] == 50
    del connections


async def test_a_scrape_has_openings_and_how_long_things_took(fal_local_server, scrape):
    client = fal_local_server.client()
    scraped = scrape(client)
    async with client.connect("local/echo") as connection:
        await connection.request({"delay": 0.11}, timeout=20)
        await connection.request({}, timeout=20)
    del connection
    gc.collect()
    found = scraped()
    assert found["fal_realtime_openings_total", APP] == 1
    assert found["fal_realtime_opening_failures_total", APP] == 0
    assert found["fal_realtime_opening_duration_seconds_count",] == 1
    name = "fal_realtime_request_duration_seconds"
    assert (found[f"{name}_count",], found[f"{name}_bucket", "+Inf"]) == (2, 2)
    assert found[f"{name}_bucket", "0.1"] <= 1
    buckets = [value for key, value in found.items() if key[0] == f"{name}_bucket"]
    assert buckets == sorted(buckets)
    latency = client.stats()["request_latency"]
    assert found[f"{name}_sum",] == pytest.approx(latency.sum)


# --- what is not watched ---


async def test_what_is_not_watched_is_as_ever(fal_local_server):
    connection = fal_local_server.client().connect("local/echo")
    assert type(connection) is RealtimeConnection
    assert not {"request", "open"} & set(vars(connection))
    assert not hasattr(type(connection), "__del__")
    await connection.aclose()


async def test_a_client_is_instrumented_once(fal_local_server, telemetry):
    client = telemetry.instrument(fal_local_server.client())
    with pytest.raises(ValueError, match="instrumented already"):
        telemetry.instrument(client.with_options(user_agent="other"))


async def test_a_watched_connection_looks_like_any_other(fal_local_server, telemetry):
    plain = fal_local_server.client().connect("local/echo")
    watched = telemetry.instrument(fal_local_server.client()).connect("local/echo")
    assert isinstance(watched, RealtimeConnection)
    assert repr(watched) == repr(plain)
    for name in ("open", "request"):
        assert inspect.iscoroutinefunction(getattr(watched, name))
        assert getattr(watched, name).__doc__ == getattr(plain, name).__doc__
    assert inspect.signature(watched.request) == inspect.signature(plain.request)
    await asyncio.gather(plain.aclose(), watched.aclose())


@pytest.mark.parametrize("watch", [instrument, collector])
def test_what_is_no_client_is_refused(watch):
    with pytest.raises(TypeError, match="must be a RealtimeClient or SyncRealtimeClient, not str"):
        watch("client")


@pytest.mark.parametrize(
    ("module", "needs", "package"),
    [("opentelemetry", "opentelemetry", "opentelemetry-api"), ("prometheus", "prometheus_client", "prometheus-client")],
)
def test_without_its_package_a_module_says_what_to_install(module, needs, package):
    program = f"import sys\nsys.modules[{needs!r}] = None\nimport fal_realtime.{module}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"ImportError: fal_realtime.{module} needs" in ran.stderr
    assert f"pip install {package}" in ran.stderr
