"""The work that blocking clients are put to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from common import Result, Spec, message, server_busy, server_stats

from .base import Message, SyncLink, SyncPeer
from .works import SAMPLES, WARM_UP, Meter, Snapshot, latencies, report


def _run(link: SyncLink, work: Message, window: int, seconds: float, tick: Callable[[], None]) -> None:
    end = time.perf_counter() + seconds
    for _ in range(window):
        link.send(work)
    while time.perf_counter() < end:
        link.recv()
        tick()
        link.send(work)
    for _ in range(window):
        link.recv()


def _throughput(spec: Spec, peer: SyncPeer) -> Result:
    link = peer.open()
    work = message(spec.size)
    _run(link, work, spec.window, WARM_UP, lambda: None)
    meter = Meter()
    server = server_stats(spec.rest_url)
    before = Snapshot(0)
    _run(link, work, spec.window, spec.seconds, meter.tick_interval if spec.window == 1 else meter.tick)
    after = Snapshot(meter.count)
    busy = server_busy(server, server_stats(spec.rest_url))
    result = {**report(before, after), "server_busy": busy}
    if spec.window == 1:
        result |= latencies(meter.intervals[1:])
    link.close()
    return result


def _connect(spec: Spec, new_peer: Callable[[], SyncPeer]) -> Result:
    work = message(spec.size)
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(SAMPLES):
        peer = new_peer()
        for times in (cold, warm):
            start = time.perf_counter()
            link = peer.open()
            link.roundtrip(work)
            times.append(time.perf_counter() - start)
            link.close()
        peer.close()
    return {"cold_ms": statistics.median(cold) * 1e3, "warm_ms": statistics.median(warm) * 1e3}


def measure(spec: Spec, new_peer: Callable[[], SyncPeer]) -> Result:
    """Measure one of the works that a blocking client can do."""
    if spec.work == "connect":
        return _connect(spec, new_peer)
    peer = new_peer()
    try:
        return _throughput(spec, peer)
    finally:
        peer.close()
