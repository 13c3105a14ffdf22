"""A realtime session that measures itself: frames out at a steady rate, results in, latency from one to the other."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ._client import RealtimeClient
    from ._connection import RealtimeConnection
    from ._display import Display
    from ._types import Stats

_PATIENCE_SECONDS = 10.0
"""Seconds without a result after which the missing ones count as not answered."""


@dataclass(frozen=True)
class Plan:
    """What the session is to do."""

    app: str
    frames: int
    fps: float
    image_bytes: int
    """The size of the input image; 0 sends the prompt alone."""
    throttle: float
    """Milliseconds."""
    prompt: str


@dataclass
class Measured:
    """What the session saw."""

    stats: Stats
    seconds: float = 0.0
    results: int = 0
    latencies: list[float] = field(default_factory=list[float])
    """Seconds from the call of `send` to the result, of each result that carries its `request_id`."""

    def milliseconds(self, percent: float) -> float:
        """The percentile of the latencies (nearest rank)."""
        ordered = sorted(self.latencies)
        return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1] * 1000

    def line(self) -> str:
        """The state of things in a few words."""
        latency = f"p50 {self.milliseconds(50):.1f} ms" if self.latencies else "waiting for the first result"
        coalesced, dropped = self.stats["coalesced"], self.stats["dropped"]
        return f"{self.stats['accepted']} sent  {coalesced} coalesced  {dropped} dropped  {latency}"

    def as_json(self) -> dict[str, Any]:
        """The whole of it, for programs; seconds where it says nothing else."""
        dropped = self.stats["dropped"] + self.stats["received_dropped"]
        return {
            "sent": self.stats["accepted"],
            "results": self.results,
            "seconds": round(self.seconds, 6),
            "coalesced": self.stats["coalesced"],
            "dropped": dropped,
            "bytes_sent": self.stats["bytes_sent"],
            "bytes_received": self.stats["bytes_received"],
            "p50_ms": round(self.milliseconds(50), 3) if self.latencies else None,
            "p99_ms": round(self.milliseconds(99), 3) if self.latencies else None,
        }

    def summary(self) -> str:
        """The whole of it, in lines."""
        dropped = self.stats["dropped"] + self.stats["received_dropped"]
        missing = max(self.stats["written"] - self.results - self.stats["received_dropped"], 0)
        rows = [
            ("frames sent", f"{self.stats['accepted']} in {self.seconds:.1f} s"),
            ("results", f"{self.results} ({self.results / self.seconds:.1f} a second)" if self.seconds else "0"),
            ("coalesced", f"{self.stats['coalesced']} (replaced by a newer frame in the throttle)"),
            ("dropped", f"{dropped} here, {missing} not answered by the server"),
            ("bytes", f"{self.stats['bytes_sent']:,} sent, {self.stats['bytes_received']:,} received"),
        ]
        if self.latencies:
            percentiles = "   ".join(f"p{percent} {self.milliseconds(percent):.2f} ms" for percent in (50, 99))
            rows.append(("latency", percentiles))
        return "\n".join(f"{name:<12} {text}" for name, text in rows)


class Session:
    """One run of a plan."""

    def __init__(self, client: RealtimeClient, plan: Plan) -> None:
        self._plan = plan
        self._connection: RealtimeConnection = client.connect(plan.app, throttle_interval=plan.throttle)
        self._sent_at: dict[str, float] = {}
        self._last_result = 0.0
        self.measured = Measured(self._connection.stats())

    async def run(self, display: Display) -> None:
        """Open, send all frames, and wait for their results; raises what the connection raised."""
        async with self._connection:
            started = self._last_result = time.perf_counter()
            receiving = asyncio.create_task(self._receive())
            showing = asyncio.create_task(self._show(display))
            sending = asyncio.create_task(self._send())
            try:
                # An error ends the receiving first; then there is no use in sending on.
                await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done():
                    sending.cancel()
                else:
                    sending.result()
                    await self._wait_for_the_rest(receiving)
                if receiving.done():
                    receiving.result()
            finally:
                await _stopped(sending, receiving, showing)
                self.measured.seconds = self._last_result - started
                self.measured.stats = self._connection.stats()
                display.update(self.measured.results, self.measured.line())

    async def _send(self) -> None:
        image = os.urandom(self._plan.image_bytes)
        started = time.perf_counter()
        for number in range(self._plan.frames):
            delay = started + number / self._plan.fps - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            request_id = f"frame-{number}"
            message: dict[str, Any] = {"prompt": self._plan.prompt, "seed": number, "request_id": request_id}
            if image:
                message["image_bytes"] = image
            self._sent_at[request_id] = time.perf_counter()
            await self._connection.send(message)
        await self._connection.drain()

    async def _receive(self) -> None:
        async for result in self._connection:
            self._last_result = time.perf_counter()
            self.measured.results += 1
            request_id = cast("Mapping[str, object]", result).get("request_id") if isinstance(result, Mapping) else None
            if isinstance(request_id, str) and (sent_at := self._sent_at.pop(request_id, None)) is not None:
                self.measured.latencies.append(self._last_result - sent_at)

    async def _wait_for_the_rest(self, receiving: asyncio.Task[None]) -> None:
        expected = self._connection.stats()["written"]
        while self.measured.results < expected and not receiving.done():
            left = self._last_result + _PATIENCE_SECONDS - time.perf_counter()
            if left <= 0:
                return
            await asyncio.wait({receiving}, timeout=min(left, 0.01))

    async def _show(self, display: Display) -> None:
        while True:
            await asyncio.sleep(display.interval)
            self.measured.stats = self._connection.stats()
            display.update(self.measured.results, self.measured.line())


async def _stopped(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
