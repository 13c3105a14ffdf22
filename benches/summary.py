"""What a report keeps of a run: each client's median, least and greatest round in each cell, and the targets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import targets
from cells import METRICS, Cell, cells
from common import Result, Spread

DIGITS = 6
"""Significant digits of a figure."""

Figures = dict[str, Any]
"""Of one client in one cell: `rounds`, each metric, `ratio` (of the first metric to the base) and `server_busy`."""


def base_of(cell: Cell, baseline: str) -> str:
    """The client that the ratios of a cell refer to."""
    return "codec/msgspec" if cell.work == "codec" else baseline


def spread(values: Sequence[float]) -> list[float] | None:
    """Median, least and greatest."""
    found = Spread.of([float(f"{value:.{DIGITS}g}") for value in values])
    return found and [found.median, found.low, found.high]


def is_summary(report: Mapping[str, Any]) -> bool:
    """Whether this is what was kept of a run, and has no rounds any more."""
    return any(isinstance(rounds, dict) for clients in report["cells"].values() for rounds in clients.values())


def of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run."""
    if is_summary(report):
        return dict(report)
    known = {cell.id: cell for quick in (True, False) for cell in cells(quick=quick)}
    kept = {
        name: of_cell(known[name], results, report["baseline"])
        for name, results in report["cells"].items()
        if name in known
    }
    return {**report, "cells": kept}


def of_cell(cell: Cell, results: targets.Rounds, baseline: str) -> dict[str, Figures]:
    """The clients that were measured in a cell."""
    metrics = [key for key, _, _ in METRICS[cell.work]]
    clients = {}
    for name, rounds in results.items():
        figures = {key: of_metric(rounds, key) for key in (*metrics, "server_busy")}
        if any(figures[key] for key in metrics):
            figures["ratio"] = spread(targets.paired(results, metrics[0], name, base_of(cell, baseline)))
            known = {key: value for key, value in figures.items() if value is not None}
            clients[name] = {"rounds": sum(bool(one) for one in rounds), **known}
    return clients


def of_metric(rounds: Sequence[Result], metric: str) -> list[float] | None:
    """One figure of one client, as far as it was measured."""
    return spread([one[metric] for one in rounds if one.get(metric) is not None])


def shown(figures: Figures, metric: str) -> Spread | None:
    """A figure as the tables and the picture take it."""
    return Spread(*figures[metric]) if metric in figures else None


def dumps(summary: Mapping[str, Any]) -> str:
    """As JSON, a client or a target a line, so that what changes between two reports can be seen."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "{"
    for name in ("environment", "settings", "baseline", "beside", "dates", "earlier"):
        if name in summary:
            yield f" {json.dumps(name)}: {json.dumps(summary[name])},"
    yield ' "targets": ['
    yield ",\n".join(f"  {json.dumps(target)}" for target in summary["targets"])
    yield ' ],\n "cells": {'
    cells = []
    for cell, clients in summary["cells"].items():
        rows = ",\n".join(f"   {json.dumps(name)}: {json.dumps(figures)}" for name, figures in clients.items())
        cells.append(f"  {json.dumps(cell)}: {{\n{rows}\n  }}")
    yield ",\n".join(cells)
    yield " }\n}"
