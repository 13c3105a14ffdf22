"""Draws what the project is for from the results of a run: `python benches/plot.py results.json results.svg`.

Two things beside the peers: what a message costs in sparse traffic, and how long pings wait while Python does not let
the event loop run. One column with few bars, so that it can be read at the width of a phone.
"""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import summary
from common import Spread

SPARSE = "sparse/ws/200B/100"
BLOCKED = "blocked/ws/200B"

Clients = Mapping[str, str]
"""The clients of a panel, in its order, and what they are called there."""

PEERS: Clients = {
    "aiohttp": "aiohttp",
    "websockets": "websockets",
    "fal-client": "fal-client",
    "wreq": "wreq",
    "rnet": "rnet",
}
IN_EACH_STYLE: Clients = {
    "fal-realtime/callback": "fal-realtime, callbacks",
    "picows/callback": "picows, callbacks",
    "fal-realtime/recv": "fal-realtime, awaiting",
    **PEERS,
    "sockets": "bare sockets",
    "harness": "the benchmark's own",
}
"""Like with like: picows has callbacks, the others are awaited. The last two are no clients: none goes below them."""
NO_CLIENTS = {"sockets", "harness"}
ONE_OF_EACH: Clients = {"fal-realtime/callback": "fal-realtime", "picows/callback": "picows", **PEERS}


@dataclass(frozen=True)
class Panel:
    """One figure of one cell, a bar for each client."""

    cell: str
    metric: str
    title: str
    unit: str
    clients: Clients
    counts_losses: bool = False
    """Whether a client's row also says how many of its pings stayed without a pong."""


@dataclass(frozen=True)
class Section:
    """Panels of the same situation."""

    title: str
    about: str
    panels: tuple[Panel, ...]


SECTIONS = (
    Section(
        "Sparse traffic",
        "100 connections, 200 B each way, 0.1 s between messages",
        (
            Panel(SPARSE, "cpu_us", "CPU time of a message", "µs", IN_EACH_STYLE),
            Panel(SPARSE, "p50_us", "round trip, median", "µs", IN_EACH_STYLE),
        ),
    ),
    Section(
        "A server's pings while Python is busy",
        "how long it waits for the pongs",
        (
            Panel(BLOCKED, "first_ms", "the event loop is blocked for 2 s", "ms", ONE_OF_EACH, counts_losses=True),
            Panel(BLOCKED, "computing_ms", "another thread computes for 2 s", "ms", ONE_OF_EACH),
        ),
    ),
)

WIDTH = 480
EDGE = 14
LABEL_WIDTH = 176
VALUE_WIDTH = 84
ROW = 21
BAR = 14
HEAD = 30
SECTION_HEAD = 52
GAP = 12
NOTE_ROW = 16
NOTE_CHARACTERS = 70
# It has a ground of its own: a reader's system may be dark where the page that shows the picture is light.
STYLE = """
svg { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
text { fill: #424a53; } .note { font-size: 11.5px; }
.section { font-size: 16px; font-weight: 700; fill: #1f2328; } .title { font-weight: 600; fill: #1f2328; }
.ground { fill: #ffffff; stroke: #d1d9e0; }
.ours { fill: #7c3aed; } .peer { fill: #9aa4af; } .none { fill: #d8dee4; } .spread { stroke: #1f2328; }
.mine { font-weight: 600; fill: #1f2328; }
@media (prefers-color-scheme: dark) {
  text { fill: #b1bac4; } .section, .title, .mine { fill: #f0f6fc; }
  .ground { fill: #0d1117; stroke: #3d444d; }
  .ours { fill: #a78bfa; } .peer { fill: #656d76; } .none { fill: #3d444d; } .spread { stroke: #f0f6fc; }
}
"""


@dataclass(frozen=True)
class Bar:
    """One client's figure in a panel."""

    client: str
    name: str
    spread: Spread
    lost: float

    @property
    def kind(self) -> str:
        """How it is coloured."""
        return "ours" if self.client.startswith("fal-realtime") else "none" if self.client in NO_CLIENTS else "peer"

    @property
    def value(self) -> str:
        """The median, with three digits."""
        median = self.spread.median
        return f"{median:,.{0 if median >= 100 else 1 if median >= 1 else 2}f}"


def bars(panel: Panel, measured: Mapping[str, summary.Figures]) -> list[Bar]:
    """Those that were measured, in the panel's order."""
    found = []
    for client, name in panel.clients.items():
        spread = summary.shown(measured.get(client, {}), panel.metric)
        lost = summary.shown(measured.get(client, {}), "lost")
        if spread is not None and not math.isnan(spread.median):
            found.append(Bar(client, name, spread, lost.median if lost and panel.counts_losses else 0))
    return found


def draw_panel(panel: Panel, found: Sequence[Bar], y: int) -> Iterator[str]:
    """A bar for each client, its median, and a line from its least to its greatest round."""
    yield f'<text class="title" x="{EDGE}" y="{y + 15}">{escape(panel.title)} ({panel.unit})</text>'
    scale = (WIDTH - 2 * EDGE - LABEL_WIDTH - VALUE_WIDTH) / (max(bar.spread.high for bar in found) or 1.0)
    left = EDGE + LABEL_WIDTH
    for index, bar in enumerate(found):
        top = y + HEAD - 6 + index * ROW
        middle, baseline = top + BAR / 2, top + BAR - 2.5
        mine = ' class="mine"' if bar.kind == "ours" else ""
        lost = f", {bar.lost:,.0f} lost" if bar.lost else ""
        low, median, high = (left + value * scale for value in (bar.spread.low, bar.spread.median, bar.spread.high))
        yield f'<text{mine} x="{left - 8}" y="{baseline}" text-anchor="end">{escape(bar.name)}</text>'
        yield (
            f'<rect class="{bar.kind}" x="{left}" y="{top}" width="{max(median - left, 1):.1f}" height="{BAR}" rx="2"/>'
        )
        yield f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>'
        yield f'<text{mine} x="{high + 6:.1f}" y="{baseline}">{bar.value}{lost}</text>'


def notes(report: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know of the figures."""
    cells = [report["cells"].get(cell, {}) for cell in (SPARSE, BLOCKED)]
    rounds = sorted({figures["rounds"] for cell in cells for figures in cell.values()})
    shown = {client.partition("/")[0] for cell in cells for client in cell if client in {*IN_EACH_STYLE, *ONE_OF_EACH}}
    about = report["environment"]
    versions = {name: version for name, version in about["versions"].items() if name in shown - {"fal-realtime"}}
    many = " to ".join(map(str, dict.fromkeys([*rounds[:1], *rounds[-1:]])))
    yield f"Less is better. Medians of {many} rounds; lines from the least to the greatest."
    yield f"{about['date']}, {about['python']} on {about['system']}, {about['cpu']}, {about['cores']} cores"
    yield ", ".join(f"{name} {version}" for name, version in versions.items() if version != "absent")


def draw(report: Mapping[str, Any]) -> str:
    """The whole picture of what is kept of a run: of each section the panels whose cells were measured."""
    parts: list[str] = []
    drawn: list[str] = []
    y = EDGE
    for section in SECTIONS:
        measured = ((panel, bars(panel, report["cells"].get(panel.cell, {}))) for panel in section.panels)
        panels = [(panel, found) for panel, found in measured if found]
        if not panels:
            continue
        drawn.append(section.title)
        parts.append(f'<text class="section" x="{EDGE}" y="{y + 16}">{escape(section.title)}</text>')
        parts.append(f'<text x="{EDGE}" y="{y + 36}">{escape(section.about)}</text>')
        y += SECTION_HEAD
        for panel, found in panels:
            parts += draw_panel(panel, found, y)
            y += HEAD + ROW * len(found) + GAP
        y += GAP
    for line in (line for note in notes(report) for line in textwrap.wrap(note, NOTE_CHARACTERS)):
        parts.append(f'<text class="note" x="{EDGE}" y="{y}">{escape(line)}</text>')
        y += NOTE_ROW
    height = y + EDGE - NOTE_ROW // 2
    words = f"Beside other clients: {'; '.join(drawn)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(words)}"><style>{STYLE}</style>\n'
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(summary.of(json.loads(Path(sys.argv[1]).read_text()))))
