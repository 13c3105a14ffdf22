"""A closed-loop load: on each connection one request after the other, for some seconds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import FalRealtimeError

from ._advice import described
from ._figures import milliseconds
from ._output import rows
from ._progress import Progress

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient
    from fal_realtime._connection import RealtimeConnection

_OPENING_AT_ONCE = 32
"""More at a time are a flood that servers refuse."""


class Load:
    """A load, and what was measured."""

    def __init__(
        self,
        client: RealtimeClient,
        app: str,
        given: dict[str, Any],
        *,
        connections: int,
        seconds: float,
        timeout: float,
    ) -> None:
        self.latencies: list[float] = []
        """Seconds, of each request that had its answer in time."""
        self.seconds = seconds
        self.cpu = 0.0
        """Seconds of CPU time of this process meanwhile."""
        self.errors: Counter[str] = Counter()
        self._client = client
        self._app = app
        self._given = given
        self._count = connections
        self._timeout = timeout

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return self.errors.total()

    async def run(self, progress: Progress) -> None:
        """Open all connections, have each answer once, then measure.

        Raises:
            FalRealtimeError: A connection cannot be opened, or its first request has no answer.
        """
        connections = [self._client.connect(self._app, open_timeout=self._timeout) for _ in range(self._count)]
        room = asyncio.Semaphore(_OPENING_AT_ONCE)

        async def warm(connection: RealtimeConnection[Any, Any]) -> None:
            async with room:
                await connection.open()
                # What is done once, by both sides, is no part of what is measured; nor is a cold start.
                await connection.request(self._given, timeout=self._timeout)

        try:
            await _all(warm(connection) for connection in connections)
            cpu, began = time.process_time(), time.perf_counter()
            showing = asyncio.create_task(self._show(progress, began))
            try:
                await _all(self._keep_busy(connection, began + self.seconds) for connection in connections)
            finally:
                showing.cancel()
            self.cpu = time.process_time() - cpu
            # Requests under way at the end of the time are not counted, but they take some.
            self.seconds = max(self.seconds, time.perf_counter() - began)
        finally:
            await asyncio.gather(*(connection.aclose() for connection in connections), return_exceptions=True)

    async def _keep_busy(self, connection: RealtimeConnection[Any, Any], until: float) -> None:
        while time.perf_counter() < until and connection.state != "closed":
            await self._ask(connection)

    async def _ask(self, connection: RealtimeConnection[Any, Any]) -> None:
        began = time.perf_counter()
        try:
            await connection.request(self._given, timeout=self._timeout)
        except FalRealtimeError as error:
            self.errors[described(error)] += 1
        else:
            self.latencies.append(time.perf_counter() - began)

    async def _show(self, progress: Progress, began: float) -> None:
        while True:
            seconds = time.perf_counter() - began
            rate = len(self.latencies) / seconds if seconds else 0
            progress.show(len(self.latencies), f"{rate:,.0f} a second, {self.failed} failed")
            await asyncio.sleep(0.1)

    # --- what was measured ---

    def as_json(self) -> dict[str, Any]:
        """The figures, for programs."""
        count = len(self.latencies)
        return {
            "app": self._app,
            "connections": self._count,
            "requests": count,
            "seconds": round(self.seconds, 3),
            "rate": round(count / self.seconds, 1),
            "p50_ms": milliseconds(self.latencies, 50),
            "p99_ms": milliseconds(self.latencies, 99),
            "cpu_us_per_request": round(self.cpu / count * 1e6, 1) if count else None,
            "cpu_percent": round(self.cpu / self.seconds * 100, 1),
            "failed": self.failed,
            "errors": dict(self.errors.most_common(5)),
        }

    def summary(self) -> str:
        """The figures, for a person."""
        seen = self.as_json()
        named = [("requests", f"{seen['requests']:,} in {seen['seconds']:.1f} s ({seen['rate']:,.1f} a second)")]
        if self.latencies:
            named.append(("latency", f"p50 {seen['p50_ms']:.3f} ms   p99 {seen['p99_ms']:.3f} ms"))
            used = f"{seen['cpu_us_per_request']:.1f} us a request ({seen['cpu_percent']:.0f} % of one core)"
            named.append(("CPU", f"{used}, this process"))
        named += [("failed", f"{count} times {error}") for error, count in self.errors.most_common(5)]
        return rows(named)


async def _all(work: Any) -> None:
    """Wait for all; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
