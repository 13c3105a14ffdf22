"""A pool whose server is killed under it, again and again: every input has one outcome, and memory stays flat.

FAL_REALTIME_SCALE=33 makes it 64 connections and 100,000 inputs, for the figure in docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from checks import descriptors, threads
from support import KEY, LIMIT, until
from support.killable import KillableServer
from support.scale import SCALE, scaled

from fal_realtime import ConnectionLostError, RealtimeClient, ReconnectPolicy
from fal_realtime.pool import Progress

pytestmark = pytest.mark.timeout(300 + 30 * SCALE)

CONNECTIONS = 8 if SCALE < 10 else 64
INPUTS = scaled(3_000)
KILLS = scaled(3)
POLICY = ReconnectPolicy(initial_delay=0.005, max_delay=0.05, stable_after=0.02, max_fruitless=None)


def resident() -> int:
    """Kilobytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4


class Traffic:
    """Maps numbers over a pool, and kills the server each time that so many have their outcome."""

    def __init__(self, server: KillableServer) -> None:
        self.server = server
        # Not a dict, whose growth would be measured.
        self.outcomes = bytearray(INPUTS)
        self.done = 0
        self.errors: Counter[type] = Counter()
        self.attempts = 0
        self.memory: list[int] = []

    async def run(self, pool: Any, **options: Any) -> None:
        inputs = ({"n": n, "body": b"x" * 200} for n in range(INPUTS))
        async with pool.map(inputs, on_progress=self.step, **options) as outcomes:
            async for outcome in outcomes:
                self.outcomes[outcome.index] += 1
                self.done += 1
                self.attempts += outcome.attempts
                if outcome.ok:
                    assert outcome.result["n"] == outcome.index
                else:
                    self.errors[type(outcome.error)] += 1
                if self.done % (INPUTS // (KILLS + 1)) == 0 and self.done // (INPUTS // (KILLS + 1)) <= KILLS:
                    self.server.kill()
                    self.memory.append(resident())
                    await asyncio.to_thread(self.server.start)
        self.memory.append(resident())
        assert outcomes.progress == Progress(INPUTS, INPUTS - self.errors.total(), self.errors.total(), 0, None)

    def step(self, progress: Progress) -> None:
        assert progress.pulled == progress.ok + progress.failed + progress.in_flight
        assert progress.in_flight <= CONNECTIONS


@pytest.mark.parametrize(("idempotent", "ordered"), [(True, True), (False, False)])
async def test_each_input_has_one_outcome(tmp_path: Path, figure: Any, idempotent: bool, ordered: bool) -> None:
    with KillableServer(tmp_path / "notes") as server:
        client = RealtimeClient(KEY, base_url=server.url, trust_env=False)
        options: dict[str, Any] = {"size": CONNECTIONS, "use_jwt": False, "reconnect": POLICY}
        # Whatever is made once and kept: the runtime's threads, descriptors of the loop, a thread for `to_thread`.
        async with client.pool("local/echo", **options) as pool:
            await pool.request({"n": INPUTS}, timeout=LIMIT)
        await asyncio.to_thread(gc.collect)
        tasks, fds, native = len(asyncio.all_tasks()), descriptors(), threads()
        traffic = Traffic(server)
        async with client.pool("local/echo", **options) as pool:
            # Killed so often, one input may be under way in a kill more than once.
            await asyncio.wait_for(
                traffic.run(pool, retries=20, idempotent=idempotent, ordered=ordered), LIMIT + 30 * SCALE
            )
        stats = pool.stats()
        gc.collect()
        await until(lambda: descriptors() <= fds, "the sockets are gone")
        assert len(asyncio.all_tasks()) == tasks
        # Fewer is no leak: what earlier tests left may be gone by now.
        await until(lambda: threads() <= native, "the threads are gone")
        noted = Counter(n for _, n in server.received() if n < INPUTS)

    assert set(traffic.outcomes) == {1}
    twice = noted.total() - len(noted)
    if idempotent:
        assert not traffic.errors
        assert set(noted) == set(range(INPUTS))
        assert twice <= KILLS * CONNECTIONS
    else:
        # Nothing that an app may have seen goes out again; what has no answer is told.
        assert twice == 0
        assert set(traffic.errors) <= {ConnectionLostError}
        assert traffic.errors.total() <= KILLS * CONNECTIONS
    assert stats["requests"] == stats["succeeded"] + stats["failed"] == traffic.attempts
    grown = traffic.memory[-1] - traffic.memory[len(traffic.memory) // 4]
    assert grown < 16_000
    figure(
        f"{CONNECTIONS} connections, {INPUTS} inputs, {KILLS} kills: {INPUTS} outcomes, {traffic.errors.total()} of "
        f"them ConnectionLostError, {traffic.attempts} attempts, {twice} seen twice by an app; "
        f"{stats['opened']} opened, {stats['messages']['reconnects']} reconnects; memory {traffic.memory[0]} KB at the "
        f"first kill, {traffic.memory[len(traffic.memory) // 4]} KB after a quarter, {traffic.memory[-1]} KB at the "
        f"end; tasks, descriptors and threads as before ({fds}, {native})"
    )
