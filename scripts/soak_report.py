"""What a soak measured: samples, whether they are flat, and the plot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """What this process had at one moment."""

    seconds: float
    """Since the traffic began."""
    resident: int
    """Bytes of memory."""
    descriptors: int
    threads: int
    messages: int
    """Written and received so far."""
    reconnects: int
    """So far."""


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir())) - 1


def threads() -> int:
    """Threads of this process, native ones too."""
    return len(list(Path("/proc/self/task").iterdir()))


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Of the line that fits best (least squares), a second."""
    mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
    spread = sum((time - mean_time) ** 2 for time in times)
    if not spread:
        return 0.0
    return sum((t - mean_time) * (v - mean_value) for t, v in zip(times, values, strict=True)) / spread


@dataclass(frozen=True)
class Trend:
    """How one of the measured values grew, by a line through the medians of its samples."""

    name: str
    unit: str
    growth: float
    """From the first sample that counts to the last."""
    bound: float
    """What it may grow by."""
    lowest: float
    highest: float

    @property
    def flat(self) -> bool:
        """Whether it did not grow beyond its bound."""
        return self.growth <= self.bound


BOUNDS = {
    "resident": ("memory", "MiB", MIB, 8.0),
    "descriptors": ("descriptors", "", 1, 4.0),
    "threads": ("threads", "", 1, 1.0),
}
"""Of each: its name, its unit, that unit's size, and by how many of them it may grow during the whole run."""

WARM_UP = 0.2
"""The part of the run that does not count: caches and arenas fill."""


PARTS = 10
"""So many medians the line goes through: a sample in the middle of a drop, when sockets are missing, bends none."""


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """How memory, descriptors and threads grew after the warm-up."""
    counted = samples[int(len(samples) * WARM_UP) :]
    size = -(-len(counted) // PARTS)
    parts = [counted[at : at + size] for at in range(0, len(counted), size)]
    times = [fmean(sample.seconds for sample in part) for part in parts]
    found = []
    for field, (name, unit, scale, bound) in BOUNDS.items():
        medians = [median(getattr(sample, field) / scale for sample in part) for part in parts]
        growth = slope(times, medians) * (counted[-1].seconds - counted[0].seconds)
        values = [getattr(sample, field) / scale for sample in counted]
        found.append(Trend(name, unit, round(growth, 3), bound, round(min(values), 2), round(max(values), 2)))
    return found


def as_json(samples: Sequence[Sample], found: Sequence[Trend]) -> dict[str, Any]:
    """Samples and trends for a file."""
    return {
        "trends": [{**asdict(trend), "flat": trend.flat} for trend in found],
        "samples": [asdict(sample) for sample in samples],
    }


WIDTH, PANEL, GAP, LEFT, RIGHT, TOP = 860, 120, 42, 70, 20, 56


def svg(samples: Sequence[Sample], title: str) -> str:
    """The samples as four panels over the same time."""
    times = [sample.seconds for sample in samples]
    rates = [
        (late.messages - early.messages) / max(late.seconds - early.seconds, 1e-9) for early, late in pairwise(samples)
    ]
    panels = [
        ("memory (MiB)", times, [sample.resident / MIB for sample in samples]),
        ("descriptors", times, [float(sample.descriptors) for sample in samples]),
        ("threads", times, [float(sample.threads) for sample in samples]),
        ("messages per second (written and received)", times[1:], rates),
    ]
    height = TOP + len(panels) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" fill="#222">{title}</text>',
    ]
    for number, (name, at, values) in enumerate(panels):
        parts += _panel(TOP + number * (PANEL + GAP), name, at, values, times[-1])
    return "\n".join([*parts, "</svg>\n"])


def _panel(y: float, name: str, times: Sequence[float], values: Sequence[float], end: float) -> list[str]:
    """One panel, whose axis begins at zero: growth must not look larger than it is."""
    top = max([*values, 1.0]) * 1.1
    width = WIDTH - LEFT - RIGHT

    def place(time: float, value: float) -> str:
        return f"{LEFT + width * time / max(end, 1e-9):.1f},{y + PANEL * (1 - value / top):.1f}"

    points = " ".join(place(time, value) for time, value in zip(times, values, strict=True))
    parts = [
        f'<text x="{LEFT}" y="{y - 6}" fill="#222">{name}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{width}" height="{PANEL}" fill="none" stroke="#bbb"/>',
        f'<polyline points="{points}" fill="none" stroke="#1864ab" stroke-width="1.3"/>',
        f'<text x="{LEFT}" y="{y + PANEL + 15}" fill="#555">0 s</text>',
        f'<text x="{WIDTH - RIGHT}" y="{y + PANEL + 15}" fill="#555" text-anchor="end">{end:.0f} s</text>',
    ]
    for part in (0.0, 0.5, 1.0):
        label_y = y + PANEL * (1 - part) + 4
        parts.append(f'<text x="{LEFT - 6}" y="{label_y:.1f}" fill="#555" text-anchor="end">{top * part:,.0f}</text>')
    return parts
