"""The work that asynchronous clients are put to, and what is measured of it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from common import Result, Spec, message, server_busy, server_stats

from . import blocked_works
from .base import Link, Peer

NewPeer = Callable[[], Peer]

WARM_UP = 0.3
"""Seconds of work before anything is measured."""
OPENING_AT_ONCE = 100
"""How many connections are opened at the same time."""
SAMPLES = 20
"""How often the time to the first result is taken."""
WARMING = 20
"""Round trips of 10 KB that make a connection warm."""


@dataclass
class Snapshot:
    """The clocks at one moment, on the loop's thread."""

    count: int
    wall: float = field(default_factory=time.perf_counter)
    loop_cpu: float = field(default_factory=time.thread_time)
    cpu: float = field(default_factory=time.process_time)


class Meter:
    """Counts results; with `intervals` it also takes the time between one and the next.

    With one message in flight that time is the round trip: encode, send, receive, decode, and the hand-over.
    """

    def __init__(self) -> None:
        self.count = 0
        self.intervals: list[int] = []
        self._last = time.perf_counter_ns()

    def tick(self) -> None:
        """One result."""
        self.count += 1

    def tick_interval(self) -> None:
        """One result, with the time since the one before."""
        now = time.perf_counter_ns()
        self.intervals.append(now - self._last)
        self._last = now
        self.count += 1


def report(before: Snapshot, after: Snapshot) -> Result:
    """Rates and costs between two moments."""
    messages = after.count - before.count
    each = 1e6 / max(messages, 1)
    return {
        "messages": messages,
        "rate": messages / (after.wall - before.wall),
        "loop_us": (after.loop_cpu - before.loop_cpu) * each,
        "cpu_us": (after.cpu - before.cpu) * each,
        "wall": after.wall - before.wall,
    }


def latencies(intervals: Sequence[int]) -> Result:
    """Median and 99th percentile, in microseconds."""
    ordered = sorted(intervals)
    if not ordered:
        return {"p50_us": float("nan"), "p99_us": float("nan")}
    at = [ordered[int((len(ordered) - 1) * share)] / 1e3 for share in (0.50, 0.99)]
    return {"p50_us": at[0], "p99_us": at[1]}


def resident_kb() -> float:
    """Resident memory of this process now (where the system does not say, its maximum so far)."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1024 if sys.platform == "darwin" else used


async def open_links(peer: Peer, count: int) -> list[Link]:
    """`count` connections, some at a time."""
    room = asyncio.Semaphore(OPENING_AT_ONCE)

    async def one() -> Link:
        async with room:
            return await peer.open()

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def close_all(peer: Peer, links: Sequence[Link]) -> None:
    """Close the connections and the client, without waiting for ever."""
    await asyncio.wait_for(asyncio.gather(*(link.close() for link in links), return_exceptions=True), 60)
    await peer.close()


async def stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel running work; a failure in it is raised."""
    failed = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in failed:
        task.result()


async def throughput(spec: Spec, new_peer: NewPeer) -> Result:
    """Round trips one at a time, pipelined, or on many connections: a window on each of some connections."""
    peer = new_peer()
    links = await open_links(peer, spec.connections)
    single = spec.window * spec.connections == 1
    meter = Meter()
    tick = meter.tick_interval if single else meter.tick
    work = message(spec.size)
    tasks = [asyncio.ensure_future(link.run(work, spec.window, tick)) for link in links]
    await asyncio.sleep(WARM_UP)
    server = server_stats(spec.rest_url)
    skip = len(meter.intervals) + 1  # the next interval holds the pause for the server's statistics
    before = Snapshot(meter.count)
    await asyncio.sleep(spec.seconds)
    after = Snapshot(meter.count)
    busy = server_busy(server, server_stats(spec.rest_url))
    result = {**report(before, after), "server_busy": busy, "rss_kb": resident_kb()}
    if single:
        result |= latencies(meter.intervals[skip : skip + after.count - before.count])
    await stop(tasks)
    await close_all(peer, links)
    if after.count == before.count:
        problem = "nothing came back"
        raise RuntimeError(problem)
    return result


async def sparse(spec: Spec, new_peer: NewPeer) -> Result:
    """Each connection makes a round trip and then thinks for a random time: what services see."""
    peer = new_peer()
    links = await open_links(peer, spec.connections)
    work = message(spec.size)
    meter = Meter()
    stopping = False

    async def user(link: Link, seed: int) -> None:
        random = Random(seed)
        while not stopping:
            await asyncio.sleep(random.expovariate(1e3 / spec.think_ms))
            start = time.perf_counter_ns()
            await link.roundtrip(work)
            meter.intervals.append(time.perf_counter_ns() - start)
            meter.count += 1

    tasks = [asyncio.ensure_future(user(link, seed)) for seed, link in enumerate(links)]
    await asyncio.sleep(WARM_UP + spec.think_ms / 1e3)
    wakes, skip, before = wakes_of_network_threads(), len(meter.intervals), Snapshot(meter.count)
    await asyncio.sleep(spec.seconds)
    after = Snapshot(meter.count)
    messages = max(after.count - before.count, 1)
    woken = wakes_of_network_threads() - wakes
    result = {**report(before, after), **latencies(meter.intervals[skip:]), "wakes": woken / messages}
    stopping = True
    await stop(tasks)
    await close_all(peer, links)
    return result


def wakes_of_network_threads() -> int:
    """How often this client's network threads woke up; other clients' do not say."""
    core = sys.modules.get("fal_realtime._core")
    counters = getattr(core, "_io_counters", None)
    return counters()["io_wakes"] if counters else 0


async def application(spec: Spec, new_peer: NewPeer) -> Result:
    """A closed loop on many connections whose results each cost the loop some Python."""
    peer = new_peer()
    links = await open_links(peer, spec.connections)
    work = message(spec.size)
    meter = Meter()

    def tick() -> None:
        until = time.perf_counter() + spec.callback_us / 1e6
        while time.perf_counter() < until:
            pass
        meter.tick()

    tasks = [asyncio.ensure_future(link.run(work, 1, tick)) for link in links]
    await asyncio.sleep(2 * WARM_UP)
    before = Snapshot(meter.count)
    await asyncio.sleep(spec.seconds)
    after = Snapshot(meter.count)
    await stop(tasks)
    await close_all(peer, links)
    return report(before, after)


async def idle(spec: Spec, new_peer: NewPeer) -> Result:
    """What connections without traffic cost, pings included."""
    peer = new_peer()
    links = await open_links(peer, spec.connections)
    await asyncio.sleep(1)
    before = Snapshot(0)
    await asyncio.sleep(spec.seconds)
    after = Snapshot(0)
    await close_all(peer, links)
    return {"cpu_percent": 100 * (after.cpu - before.cpu) / (after.wall - before.wall)}


async def memory(spec: Spec, new_peer: NewPeer) -> Result:
    """Resident memory that one more connection takes: idle after opening, and warm after round trips."""
    peer = new_peer()
    first = await open_links(peer, 20)
    await asyncio.gather(*(link.roundtrip(message("10KB")) for link in first))
    start = resident_kb()
    links = await open_links(peer, spec.connections)
    await asyncio.sleep(0.2)
    idle = resident_kb()
    work = message("10KB")
    for _ in range(WARMING):
        await asyncio.gather(*(link.roundtrip(work) for link in links))
    await asyncio.sleep(0.2)
    warm = resident_kb()
    await close_all(peer, [*first, *links])
    return {"idle_kb": (idle - start) / spec.connections, "warm_kb": (warm - start) / spec.connections}


async def connect(spec: Spec, new_peer: NewPeer) -> Result:
    """Time from `connect` to the first result: with a new client (cold token), and again with the same one (warm)."""
    work = message(spec.size)
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(SAMPLES):
        peer = new_peer()
        for times in (cold, warm):
            start = time.perf_counter()
            link = await peer.open()
            await link.roundtrip(work)
            times.append(time.perf_counter() - start)
            await link.close()
        await peer.close()
    return {"cold_ms": statistics.median(cold) * 1e3, "warm_ms": statistics.median(warm) * 1e3}


async def saturated(spec: Spec, new_peer: NewPeer) -> Result:
    """Round trips completed while the loop runs callbacks of `callback_us` back to back."""
    peer = new_peer()
    link = await peer.open()
    work = message(spec.size)
    await link.roundtrip(work)
    loop = asyncio.get_running_loop()
    meter = Meter()
    callbacks = 0
    end = time.perf_counter() + spec.seconds

    def busy() -> None:
        nonlocal callbacks
        callbacks += 1
        until = time.perf_counter() + spec.callback_us / 1e6
        while time.perf_counter() < until:
            pass
        if until < end:
            loop.call_soon(busy)

    task = asyncio.ensure_future(link.run(work, 1, meter.tick))
    loop.call_soon(busy)
    await asyncio.sleep(max(0.0, end - time.perf_counter()))
    completed = meter.count
    await stop([task])
    await close_all(peer, [link])
    # How busy the callbacks kept the loop: well below one, and the number of round trips means nothing.
    load = callbacks * spec.callback_us / 1e6 / spec.seconds
    return {"completed": completed, "load": load}


async def mass(spec: Spec, new_peer: NewPeer) -> Result:
    """Very many connections in one process: open all, one round trip on each, close all."""
    peer = new_peer()
    work = message(spec.size)
    start_kb = resident_kb()
    times = [time.perf_counter()]
    links = await open_links(peer, spec.connections)
    times.append(time.perf_counter())
    open_kb = resident_kb()
    await asyncio.gather(*(link.roundtrip(work) for link in links))
    times.append(time.perf_counter())
    echoed_kb = resident_kb()
    await close_all(peer, links)
    times.append(time.perf_counter())
    names = ("open_s", "echo_s", "close_s")
    return {
        **{name: times[index + 1] - times[index] for index, name in enumerate(names)},
        "idle_kb": (open_kb - start_kb) / spec.connections,
        "warm_kb": (echoed_kb - start_kb) / spec.connections,
    }


WORKS: dict[str, Callable[[Spec, NewPeer], Awaitable[Result]]] = {
    "roundtrip": throughput,
    "pipeline": throughput,
    "connections": throughput,
    "sparse": sparse,
    "application": application,
    "idle": idle,
    "blocked": blocked_works.blocked,
    "memory": memory,
    "connect": connect,
    "saturated": saturated,
    "mass": mass,
}
