"""Draws the results of a run as SVG, by hand: `python benches/plot.py results.json results.svg`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import summary
from common import Spread

PANELS = (
    ("pipeline/ws/200B", "rate", "pipelined 64 · 200 B · ws", "messages/s"),
    ("pipeline/ws/10KB", "rate", "pipelined 64 · 10 KB · ws", "messages/s"),
    ("pipeline/ws/100KB", "rate", "pipelined 64 · 100 KB · ws", "messages/s"),
    ("pipeline/ws/1MB", "rate", "pipelined 64 · 1 MB · ws", "messages/s"),
    ("pipeline/wss/200B", "rate", "pipelined 64 · 200 B · wss", "messages/s"),
    ("pipeline/ws/200B", "loop_us", "loop-thread CPU, pipelined · 200 B · ws", "µs a message"),
    ("roundtrip/ws/200B", "p50_us", "round trip p50 · 200 B · ws", "µs"),
    ("roundtrip/wss/image", "p50_us", "round trip p50 · image result · wss", "µs"),
    ("connections/ws/200B/1000", "rate", "1,000 connections · 200 B · ws", "messages/s"),
    ("saturated/ws/200B/300us", "completed", "saturated loop, 300 µs callbacks", "round trips"),
)
COLUMNS = 2
PANEL_WIDTH = 520
LABEL_WIDTH = 220
VALUE_WIDTH = 80
ROW = 18
HEAD = 40
GAP = 24
# Readable on white and on dark pages.
STYLE = """
svg { font: 12px system-ui, sans-serif; }
text { fill: #57606a; } .title { font-weight: 600; fill: #24292f; }
.ours { fill: #7c3aed; } .peer { fill: #9ca3af; } .limit { fill: #d1d5db; } .spread { stroke: #24292f; }
@media (prefers-color-scheme: dark) {
  text { fill: #9da7b3; } .title { fill: #e6edf3; } .peer { fill: #6b7280; } .limit { fill: #4b5563; }
  .spread { stroke: #e6edf3; }
}
"""


def bars(clients: Mapping[str, summary.Figures], metric: str) -> list[tuple[str, Spread]]:
    """The clients that have the metric, in the order they were measured."""
    found = ((name, summary.shown(figures, metric)) for name, figures in clients.items())
    return [(name, spread) for name, spread in found if spread is not None]


def panel(title: str, unit: str, found: Sequence[tuple[str, Spread]], x: int, y: int) -> Iterator[str]:
    """One bar for each client, its median, and a line from its least to its greatest round."""
    yield f'<g transform="translate({x},{y})"><text class="title" y="14">{escape(title)}</text>'
    yield f'<text y="30">{escape(unit)}: median, line from min to max</text>'
    width = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH
    scale = width / (max(spread.high for _, spread in found) or 1.0)
    for index, (name, spread) in enumerate(found):
        top = HEAD + index * ROW
        kind = "ours" if name.startswith("fal-realtime") else "limit" if name == "rust" else "peer"
        middle = top + ROW / 2 - 1
        yield f'<text x="{LABEL_WIDTH - 6}" y="{top + 12}" text-anchor="end">{escape(name)}</text>'
        yield (
            f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{top + 2}" width="{spread.median * scale:.1f}" '
            f'height="{ROW - 5}" rx="2"/>'
        )
        yield (
            f'<line class="spread" x1="{LABEL_WIDTH + spread.low * scale:.1f}" y1="{middle}" '
            f'x2="{LABEL_WIDTH + spread.high * scale:.1f}" y2="{middle}"/>'
        )
        digits = 0 if spread.median >= 100 else 1
        end = LABEL_WIDTH + spread.high * scale + 6
        yield f'<text x="{end:.1f}" y="{top + 12}">{spread.median:,.{digits}f}</text>'
    yield "</g>"


def draw(report: Mapping[str, Any]) -> str:
    """The whole picture of what is kept of a run: a panel for each chosen cell that was measured."""
    panels = []
    for cell, metric, title, unit in PANELS:
        found = bars(report["cells"].get(cell, {}), metric)
        if found:
            panels.append((title, unit, found))
    parts: list[str] = []
    y = GAP
    for start in range(0, len(panels), COLUMNS):
        line = panels[start : start + COLUMNS]
        for column, (title, unit, found) in enumerate(line):
            parts += panel(title, unit, found, GAP + column * (PANEL_WIDTH + GAP), y)
        y += HEAD + ROW * max(len(found) for _, _, found in line) + GAP
    about = report["environment"]
    note = f"{about['python']}, {about['system']}, {about['cpu']}, {about['cores']} cores, {about['date']}"
    parts.append(f'<text x="{GAP}" y="{y}">{escape(note)}; compare within one panel only.</text>')
    width, height = GAP + COLUMNS * (PANEL_WIDTH + GAP), y + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Benchmark results"><style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(summary.of(json.loads(Path(sys.argv[1]).read_text()))))
