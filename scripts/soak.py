"""Traffic over several connections, all of which the server drops again and again: nothing grows, nothing is lost.

Ten minutes aim at ten million messages (written and received) and 10,000 reconnects; another length at its share. The
server runs in this process, so that what is measured of memory, descriptors and threads holds for both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soak_baseline import settled_resources, warm_up
from soak_report import MIB, Sample, as_json, descriptors, resident, svg, threads, trends

from fal_realtime import (
    ConnectionClosedError,
    ConnectionLostError,
    FalRealtimeError,
    RealtimeConnection,
    ReconnectPolicy,
    RequestTimeoutError,
    SyncRealtimeConnection,
)
from fal_realtime.testing import LocalServer

MESSAGES_A_SECOND = 10_000_000 / 600
RECONNECTS_A_SECOND = 10_000 / 600
STREAMING, REQUESTING, BLOCKING = 16, 2, 2
"""How many connections send and receive independently, do requests, and do requests in a thread."""
BURST = 32
"""Messages that are sent at once."""
PAYLOAD = bytes(64)
QUIET = 30.0
"""Seconds at the end without a drop, at most, in which every message must be answered."""
OPTIONS: dict[str, Any] = {
    "throttle_interval": 0,
    "reconnect": ReconnectPolicy(initial_delay=0.01, max_delay=0.1, stable_after=0.0),
}


def accounted(connection: RealtimeConnection | SyncRealtimeConnection) -> Mapping[str, int]:
    """The statistics, of which both equations must hold."""
    stats: Mapping[str, int] = connection.stats()  # type: ignore[assignment]
    outgoing = sum(stats[name] for name in ("written", "coalesced", "dropped", "failed", "withdrawn", "pending"))
    incoming = sum(stats[name] for name in ("delivered", "received_dropped", "late", "received_pending"))
    if (stats["accepted"], stats["received"]) != (outgoing, incoming):
        message = f"the accounts are wrong: {stats}"
        raise SystemExit(message)
    return stats


class Soak:
    """One run."""

    def __init__(self, seconds: float, server: LocalServer) -> None:
        self.seconds = seconds
        self.server = server
        self.samples: list[Sample] = []
        self.faults: list[str] = []
        self.unanswered = 0
        """Requests whose answer a drop took."""
        self.told = 0
        """Messages of which receivers were told that their session had left them unanswered."""
        self.churned = 0
        """Connections that were opened, used once and closed."""
        self._begin = time.monotonic()
        self._over = threading.Event()
        client, blocking = server.client(), server.sync_client()
        self.streams = [client.connect("local/echo", **OPTIONS) for _ in range(STREAMING)]
        self.requesters = [client.connect("local/echo", use_jwt=False, **OPTIONS) for _ in range(REQUESTING)]
        self.blockers = [blocking.connect("local/echo", use_jwt=False, **OPTIONS) for _ in range(BLOCKING)]
        self._churn_client = server.client()
        self._churned_messages = 0

    @property
    def connections(self) -> list[RealtimeConnection | SyncRealtimeConnection]:
        """All that live as long as the run."""
        return [*self.streams, *self.requesters, *self.blockers]

    def messages(self) -> int:
        """Written and received so far."""
        stats = [accounted(connection) for connection in self.connections]
        return self._churned_messages + sum(each["written"] + each["received"] for each in stats)

    def reconnects(self) -> int:
        """Connections that were opened again so far."""
        return max(0, self.server.connections_total - self.churned - len(self.connections))

    def sample(self) -> None:
        """Takes one sample; a thread does so every second, also while the loop is busy."""
        at = time.monotonic() - self._begin
        sample = Sample(at, resident(), descriptors(), threads(), self.messages(), self.reconnects())
        self.samples.append(sample)

    def _keep_sampling(self) -> None:
        while not self._over.wait(1):
            self.sample()

    async def run(self) -> None:
        """All the traffic, then the books."""
        for connection in self.connections:
            await (
                connection.open() if isinstance(connection, RealtimeConnection) else asyncio.to_thread(connection.open)
            )
        receivers = [asyncio.ensure_future(self._receive(connection)) for connection in self.streams]
        self._begin = time.monotonic()
        sampler = threading.Thread(target=self._keep_sampling, name="soak-samples", daemon=True)
        blockers = [threading.Thread(target=self._block, args=(each,), daemon=True) for each in self.blockers]
        for thread in (sampler, *blockers):
            thread.start()
        share = MESSAGES_A_SECOND / 2 / STREAMING
        work = [self._stream(connection, share) for connection in self.streams]
        work += [self._request(connection) for connection in self.requesters]
        await asyncio.gather(self._drop(), self._churn(), *work)
        self._over.set()
        for thread in (sampler, *blockers):
            await asyncio.to_thread(thread.join)
        await self._settle()
        for receiver in receivers:
            receiver.cancel()
        await asyncio.gather(*receivers, return_exceptions=True)

    def _time_is_up(self) -> bool:
        return time.monotonic() - self._begin >= self.seconds

    async def _stream(self, connection: RealtimeConnection, rate: float) -> None:
        """Bursts by the clock; what the clock wants and the loop cannot do is not made up for."""
        number, due = 0, time.monotonic()
        while not self._time_is_up():
            for _ in range(BURST):
                number += 1
                await connection.send({"n": number, "data": PAYLOAD})
            due = max(due + BURST / rate, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _receive(self, connection: RealtimeConnection) -> None:
        last, open_ = 0, True
        while open_:
            try:
                async for result in connection:
                    if result["n"] <= last:
                        self.faults.append(f"{result['n']} came after {last}")
                    last = result["n"]
                open_ = False
            except ConnectionLostError as error:
                # It is opened again, and what comes then comes here.
                self.told += error.unanswered

    async def _request(self, connection: RealtimeConnection) -> None:
        number = 0
        while not self._time_is_up():
            number += 1
            try:
                answer = await connection.request({"n": number, "data": PAYLOAD}, timeout=1)
            except (ConnectionClosedError, RequestTimeoutError):
                self.unanswered += 1
            else:
                if answer["n"] != number:
                    self.faults.append(f"the answer of {number} was {answer['n']}")
            await asyncio.sleep(0.005)

    def _block(self, connection: SyncRealtimeConnection) -> None:
        while not self._over.wait(0.005):
            try:
                connection.request({"data": PAYLOAD}, timeout=1)
            except (ConnectionClosedError, RequestTimeoutError):
                self.unanswered += 1

    async def _churn(self) -> None:
        """Connections that live shortly, some of them through a drop."""
        while not self._time_is_up():
            connection = self._churn_client.connect("local/echo", use_jwt=False, throttle_interval=0, reconnect=None)
            with contextlib.suppress(FalRealtimeError):
                async with connection:
                    self.churned += 1
                    await connection.request({"data": PAYLOAD}, timeout=1)
            stats = accounted(connection)
            self._churned_messages += stats["written"] + stats["received"]
            await asyncio.sleep(0.05)

    async def _drop(self) -> None:
        """Drops all connections so often that as many reconnects come as are wanted."""
        every = len(self.connections) / RECONNECTS_A_SECOND
        abrupt = True
        while not self._time_is_up():
            await asyncio.sleep(every)
            self.server.drop_connections(abrupt=abrupt)
            abrupt = not abrupt

    async def _settle(self) -> None:
        """No more drops: what is sent now is answered, and then nothing is pending."""
        deadline = time.monotonic() + QUIET
        for connection in (*self.streams, *self.requesters):
            await asyncio.wait_for(connection.open(), QUIET)
            before = connection.stats()["received"]
            await connection.send({"n": 2**40})
            await asyncio.wait_for(connection.drain(), QUIET)
            while connection.stats()["received"] == before and time.monotonic() < deadline:  # noqa: ASYNC110 - counters
                await asyncio.sleep(0.01)
        # Answers that came after their request had given up are ordinary results.
        for connection in self.requesters:
            while connection.stats()["received_pending"]:
                await connection.recv()
        for blocking in self.blockers:
            while blocking.stats()["received_pending"]:
                await asyncio.to_thread(blocking.recv)
        await asyncio.sleep(0.1)
        for number, stats in enumerate(map(accounted, self.connections)):
            if stats["pending"] or stats["received_pending"] or stats["failed"] or stats["received_dropped"]:
                self.faults.append(f"connection {number} is not settled: {stats}")
        counted = sum(accounted(connection)["unanswered"] for connection in self.streams)
        if self.told != counted:
            self.faults.append(f"{counted} messages of streams have no answer, and of {self.told} of them was told")

    async def close(self) -> None:
        """Closes all."""
        for connection in (*self.streams, *self.requesters):
            await connection.aclose()
        for blocking in self.blockers:
            await asyncio.to_thread(blocking.close)


def main() -> int:
    """Run, report, and say by the status whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, help="how long (default: 600)")
    length.add_argument("--minutes", type=float, help="how long")
    length.add_argument("--hours", type=float, help="how long")
    parser.add_argument("--json", type=Path, default=Path("benches/results/soak.json"), help="where the figures go")
    parser.add_argument("--plot", type=Path, default=Path("docs/soak.svg"), help="where the plot goes")
    given = parser.parse_args()
    seconds = given.seconds or (given.minutes or 0) * 60 or (given.hours or 0) * 3600 or 600.0

    with LocalServer() as server:
        before = warm_up(server, OPTIONS)
        soak = Soak(seconds, server)

        async def work() -> None:
            try:
                await soak.run()
            finally:
                await soak.close()

        asyncio.run(work())
        at_server = {"messages_received": server.messages_received, "messages_sent": server.messages_sent}
        stats = [accounted(connection) for connection in soak.connections]
        reconnects, messages = soak.reconnects(), soak.messages()
        # A connection that somebody holds keeps its event loop's descriptor, closed or not.
        soak.streams, soak.requesters, soak.blockers = [], [], []
        after = settled_resources(server, before)

    found = trends(soak.samples)
    soak.faults += [f"{trend.name} grew by {trend.growth} {trend.unit}" for trend in found if not trend.flat]
    if after[0] > before[0] or after[1] > before[1]:
        soak.faults.append(f"descriptors and threads before {before}, after {after}")
    written, received = (sum(each[name] for each in stats) for name in ("written", "received"))
    if not received <= at_server["messages_sent"] or not at_server["messages_received"] <= written + soak.churned:
        soak.faults.append("one side received what the other did not send")
    summary = {
        "seconds": seconds,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "messages": messages,
        "messages_aimed_at": round(MESSAGES_A_SECOND * seconds),
        "reconnects": reconnects,
        "reconnects_aimed_at": round(RECONNECTS_A_SECOND * seconds),
        "short_connections": soak.churned,
        "requests_cut_off_by_a_drop": soak.unanswered,
        "told_unanswered": soak.told,
        "written": written,
        "received": received,
        "in_flight_at_a_drop": written - received,
        "failed": sum(each["failed"] for each in stats),
        "descriptors_and_threads_before": before,
        "descriptors_and_threads_after": after,
        **{f"server_{name}": value for name, value in at_server.items()},
        "faults": soak.faults[:100],
    }
    given.json.write_text(json.dumps({**summary, **as_json(soak.samples, found)}, indent=1) + "\n", encoding="utf-8")
    title = f"{seconds:.0f} s, {messages:,} messages, {reconnects:,} reconnects"
    given.plot.write_text(svg(soak.samples, title), encoding="utf-8")
    for name, value in summary.items():
        print(f"{name.replace('_', ' ')}: {value}")
    for trend in found:
        grew = f"{trend.growth:+.2f} {trend.unit}".strip()
        print(f"{trend.name}: {trend.lowest} to {trend.highest}, trend {grew} (bound {trend.bound})")
    print(f"memory at the end: {resident() / MIB:.1f} MiB")
    print("FAILED" if soak.faults else "all well")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
