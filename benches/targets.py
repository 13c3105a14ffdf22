"""The project's performance targets, and whether a run met them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from common import Result, Spread

OURS = "fal-realtime/callback"
PICOWS = "picows/callback"
PICOWS_AWAIT = "picows/await"
FAL = "fal-client"

SATURATED = 0.75
"""A loop that ran its callbacks for less than this share of the time was not saturated: that round is not judged."""

COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt}

Rounds = Mapping[str, Sequence[Result]]
"""The results of each client in one cell, a round each."""


@dataclass(frozen=True)
class Target:
    """One number to reach: a ratio to another client in the same round, or (without `base`) a figure as it is."""

    group: str
    cell: str
    metric: str
    op: Literal[">=", "<=", "<"]
    bound: float
    base: str | tuple[str, ...] | None = PICOWS
    ours: str = OURS


def _sparse() -> Iterator[Target]:
    group = "sparse traffic"
    for cell, cpu, p50 in (
        ("sparse/ws/200B/100", 0.8, 0.9),
        ("sparse/ws/200B/1000", 0.75, 0.85),
        ("sparse/ws/image/50", 1.0, 1.0),
        ("sparse/wss/200B/100", 0.8, 0.9),
    ):
        yield Target(group, cell, "cpu_us", "<=", cpu)
        yield Target(group, cell, "p50_us", "<=", p50)
    yield Target(group, "sparse/ws/200B/100", "p99_us", "<=", 1.0)
    for base, bound in ((FAL, 0.4), ("aiohttp", 0.7)):
        yield Target(group, "sparse/ws/200B/100", "cpu_us", "<=", bound, base, "fal-realtime/recv")
    for cell in ("sparse/ws/200B/100", "sparse/ws/200B/1000"):
        yield Target("wakes of the network thread", cell, "wakes", "<=", 0.1, None)


def _speed() -> Iterator[Target]:
    for size, bound in (("200B", 4.5), ("10KB", 2.5), ("100KB", 1.5), ("1MB", 1.8)):
        yield Target("pipelined 64, ws", f"pipeline/ws/{size}", "rate", ">=", bound)
    # Like with like: awaiting against awaiting, which is the style in which the targets for large messages were found.
    for size, bound in (("200B", 4.0), ("10KB", 2.5), ("100KB", 1.4), ("1MB", 1.8)):
        cell = f"pipeline/ws/{size}"
        yield Target("pipelined 64, ws, awaiting", cell, "rate", ">=", bound, PICOWS_AWAIT, "fal-realtime/recv")
    yield Target("pipelined 64, ws", "pipeline/ws/200B", "rate", ">=", 6.5, FAL)
    for metric, op, bound in (("rate", ">=", 2.0), ("loop_us", "<=", 0.6)):
        cell, ours = "pipeline/ws/200B", "fal-realtime/request"
        yield Target("requests of 64 tasks", cell, metric, op, bound, "picows/request", ours)
    for size, bound in (("200B", 3.0), ("10KB", 1.1), ("100KB", 1.0), ("1MB", 1.0)):
        yield Target("pipelined 64, wss", f"pipeline/wss/{size}", "rate", ">=", bound)
        yield Target("pipelined 64, wss", f"pipeline/wss/{size}", "loop_us", "<=", 0.2)
    for scheme, small in (("ws", 0.95), ("wss", 1.05)):
        group = f"round trip p50, {scheme}"
        yield Target(group, f"roundtrip/{scheme}/200B", "p50_us", "<=", small)
        yield Target(group, f"roundtrip/{scheme}/100KB", "p50_us", "<=", 0.95 if scheme == "ws" else 1.0)
        yield Target(group, f"roundtrip/{scheme}/200B", "p50_us", "<=", 0.7, ours=f"{OURS}+spin")
    for scheme in ("ws", "wss"):
        for size in ("200B", "10KB", "100KB", "1MB", "image"):
            yield Target("round trip p50, below fal-client", f"roundtrip/{scheme}/{size}", "p50_us", "<", 1.0, FAL)
    yield Target("round trip p50, sync client", "roundtrip/ws/200B", "p50_us", "<=", 0.75, ours="fal-realtime/sync")


def _costs() -> Iterator[Target]:
    for size, bound in (("200B", 0.2), ("10KB", 0.2), ("100KB", 0.2), ("1MB", 0.35)):
        yield Target("loop-thread CPU a message", f"pipeline/ws/{size}", "loop_us", "<=", bound)
        yield Target("process CPU a message", f"pipeline/ws/{size}", "cpu_us", "<=", 0.5)
    for size, bound in (("200B", 1.0), ("10KB", 1.15), ("100KB", 1.15), ("1MB", 1.15)):
        yield Target("process CPU a message", f"roundtrip/ws/{size}", "cpu_us", "<=", bound)
    for callback in ("300us", "2000us"):
        yield Target("a saturated loop", f"saturated/ws/200B/{callback}", "completed", ">=", 0.95)
    yield Target("an application-bound loop", "application/ws/200B/100/20us", "rate", ">=", 1.3)
    yield Target("1,000 connections", "connections/ws/200B/1000", "rate", ">=", 1.6)
    yield Target("idle", "idle/ws/200B/100", "cpu_percent", "<=", 0.02, None)
    yield Target("idle", "memory/ws/200B", "idle_kb", "<=", 6.0, None)
    yield Target("idle", "memory/wss/200B", "idle_kb", "<=", 15.0, None)
    for metric, bound in (("first_ms", 60.0), ("later_ms", 1.0), ("computing_ms", 15.0), ("lost", 0.0)):
        yield Target("pongs", "blocked/ws/200B", metric, "<=", bound, None)
    fastest = ("codec/msgspec", "codec/ormsgpack")
    for size in ("200B", "10KB", "100KB", "1MB", "image"):
        for metric in ("encode_ns", "decode_ns"):
            yield Target("codec", f"codec/-/{size}", metric, "<=", 1.0, fastest, "codec/fal-realtime")
    for size, bound in (("200B", 0.70), ("10KB", 0.70), ("100KB", 0.85), ("1MB", 0.85)):
        yield Target("against bare Rust", f"pipeline/ws/{size}", "rate", ">=", bound, "rust")


TARGETS: tuple[Target, ...] = (*_sparse(), *_speed(), *_costs())


def counts(result: Result | None, metric: str, harness: float = 0.0) -> float | None:
    """The figure without the harness's own, unless it means nothing: round trips beside callbacks that hardly ran."""
    if result is None or result.get("load", 1.0) < SATURATED:
        return None
    value: float | None = result.get(metric)
    return None if value is None else value - harness


def paired(rounds: Rounds, metric: str, ours: str, base: str | tuple[str, ...] | None) -> list[float]:
    """The ratio in each round in which both were measured (of several bases the lower figure counts)."""
    bases = (base,) if isinstance(base, str) else base
    ratios = []
    for index, mine in enumerate(rounds.get(ours, ())):
        harness = cost_of_harness(rounds, metric, index)
        value = counts(mine, metric, harness)
        if value is None:
            continue
        if bases is None:
            ratios.append(float(value))
            continue
        others = [counts(rounds[name][index], metric, harness) for name in bases if index < len(rounds.get(name, ()))]
        known = [other for other in others if other and other > 0]
        if known:
            ratios.append(value / min(known))
    return ratios


def cost_of_harness(rounds: Rounds, metric: str, index: int) -> float:
    """The processor time that the harness takes without a client, where that was measured."""
    alone = rounds.get("harness", ())
    if metric != "cpu_us" or index >= len(alone):
        return 0.0
    cost: float = alone[index].get(metric, 0.0)
    return cost


def evaluate(cells: Mapping[str, Rounds]) -> list[dict[str, Any]]:
    """Each target whose cell was measured: its spread, and whether the median meets it."""
    rows = []
    for target in TARGETS:
        spread = Spread.of(paired(cells.get(target.cell, {}), target.metric, target.ours, target.base))
        if spread is None:
            continue
        met = COMPARE[target.op](spread.median, target.bound)
        base = target.base if isinstance(target.base, str) else "fastest" if target.base else ""
        rows.append({**vars(target), "base": base, **vars(spread), "met": met})
    return rows


def columns(row: Mapping[str, Any]) -> list[str]:
    """One target for a table: group, cell, figure, reached, wanted, verdict."""
    against = f" / {row['base']}" if row["base"] else ""
    ours = "" if row["ours"] == OURS else f" ({row['ours']})"
    unit = "x" if row["base"] else ""
    return [
        row["group"],
        row["cell"],
        f"{row['metric']}{against}{ours}",
        f"{row['median']:.2f}{unit} [{row['low']:.2f}..{row['high']:.2f}]",
        f"{row['op']} {row['bound']:g}{unit}",
        "met" if row["met"] else "MISSED",
    ]


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The evaluation as text."""
    if not rows:
        yield "targets: none of their cells were measured"
        return
    met = sum(row["met"] for row in rows)
    yield f"targets: {met} of {len(rows)} met"
    for row in rows:
        group, cell, figure, reached, wanted, verdict = columns(row)
        yield f"  {verdict:<6} {group:<34} {cell:<26} {figure}: {reached}, target {wanted}"
