"""The work of `growth.py`: more and more messages, and a slow consumer beside busy connections."""

from __future__ import annotations

import asyncio
import contextlib

from common import Result, Spec, message

from .base import AwaitLink, CallbackLink, Link, Message
from .works import WARM_UP, Meter, NewPeer, Snapshot, close_all, open_links, report, resident_kb, stop

SLOW_BACKLOG = 500
"""Messages that wait for the slow consumer."""
SLOW_PAUSE = 0.02
"""Seconds that it takes for each."""


async def growth(spec: Spec, new_peer: NewPeer) -> Result:
    """The cost of each message until 10^3, 10^4, … have passed, all on one connection."""
    peer = new_peer()
    links = await open_links(peer, 1)
    meter = Meter()
    reached = asyncio.Event()
    goal = spec.counts[0]

    def tick() -> None:
        meter.count += 1
        if meter.count >= goal and not reached.is_set():
            reached.set()

    steps: list[Result] = []
    before = Snapshot(0)
    task = asyncio.ensure_future(links[0].run(message(spec.size), spec.window, tick))
    for count in spec.counts:
        goal = count
        waiting = asyncio.ensure_future(reached.wait())
        await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
        after = Snapshot(meter.count)
        reached.clear()
        steps.append({**report(before, after), "rss_kb": resident_kb()})
        before = Snapshot(meter.count)
        if task.done():
            break
    await stop([task])
    await close_all(peer, links)
    return {"steps": steps}


async def _consume_slowly(link: Link, work: Message) -> None:
    """A backlog of results that is taken one at a time, with pauses; a callback cannot pause, so it does little."""
    if isinstance(link, AwaitLink):
        for _ in range(SLOW_BACKLOG):
            await link.send(work)
        while True:
            await link.recv()
            await asyncio.sleep(SLOW_PAUSE)
            await link.send(work)
    if isinstance(link, CallbackLink):
        await link.fill(work, SLOW_BACKLOG)
    while True:
        await link.roundtrip(work)
        await asyncio.sleep(SLOW_PAUSE)


async def isolation(spec: Spec, new_peer: NewPeer) -> Result:
    """Messages a second of the busy connections, alone and beside a slow consumer."""
    peer = new_peer()
    links = await open_links(peer, spec.connections + 1)
    *busy, slow = links
    work = message(spec.size)
    meter = Meter()
    tasks = [asyncio.ensure_future(link.run(work, spec.window, meter.tick)) for link in busy]

    async def rate() -> float:
        await asyncio.sleep(WARM_UP)
        before = Snapshot(meter.count)
        await asyncio.sleep(spec.seconds)
        after = Snapshot(meter.count)
        return (after.count - before.count) / (after.wall - before.wall)

    alone = await rate()
    slowly = asyncio.ensure_future(_consume_slowly(slow, work))
    beside = await rate()
    await stop([*tasks, slowly])
    with contextlib.suppress(asyncio.TimeoutError):
        await close_all(peer, links)
    return {"alone": alone, "beside": beside}
