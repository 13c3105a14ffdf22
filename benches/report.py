"""Writes runs of `./bench --json` into the report: `python benches/report.py RUN.json…`.

What stands between the two marks of the page is replaced; everything else, the words about the figures, stays. Several
runs are put together: a cell that is in more than one of them has the rounds of all. Beside the page goes what is kept
of them (`summary.py`), and into `docs/` the picture. That file alone, in place of runs, gives the same page again.

With `--keep EARLIER.json` the cells that no run has are those of an earlier report, with its date. With
`--beside OTHER.json` the table of targets has a column with what that report reached, as far as it measured something
else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import plot
import run
import summary
import targets
from cells import METRICS, Cell, cells
from common import ROOT, Result

PAGE = ROOT / "benches" / "results" / "report.md"
PICTURE = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def row(columns: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(columns) + " |"


def cell_table(cell: Cell, clients: Mapping[str, summary.Figures], baseline: str, date: str | None) -> Iterator[str]:
    """One cell; `date`: of the report that it is kept from."""
    metrics = METRICS[cell.work]
    of = f", {date}" if date else ""
    yield f"\n**{cell.title}** ({max(figures['rounds'] for figures in clients.values())} rounds{of})\n"
    yield row(["", *(title for _, title, _ in metrics), f"{metrics[0][1]} / {summary.base_of(cell, baseline)}"])
    yield row(["---"] * (len(metrics) + 2))
    for name, figures in clients.items():
        ratio = run.show(summary.shown(figures, "ratio"), 2)
        busy = summary.shown(figures, "server_busy")
        if busy is not None and busy.median >= run.BOTTLENECK:
            ratio += f" (server at {busy.median:.0%})"
        shown = [run.show(summary.shown(figures, key), digits) for key, _, digits in metrics]
        yield row([name, *shown, ratio])


def figures(report: Mapping[str, Any]) -> Iterator[str]:
    """The whole text between the marks."""
    yield from circumstances(report)
    for earlier in report.get("earlier", ()):
        yield f"\nWhat bears the date {earlier['environment']['date']} is of an earlier run:\n"
        yield from circumstances(earlier)
    yield "\n### Targets\n"
    extra = [f"on {report['beside']}"] if "beside" in report else []
    yield row(["target", "cell", "figure", "reached", "wanted", "", *extra])
    yield row(["---"] * (6 + len(extra)))
    for verdict in report["targets"]:
        *columns, met = targets.columns(verdict)
        date = report.get("dates", {}).get(verdict["cell"])
        yield row([*columns, f"{met} ({date})" if date else met, *([verdict.get("beside", "")] if extra else [])])
    yield "\n### Tables\n"
    yield "Median [lowest..highest] of the rounds; the last column is the median of the rounds' own ratios."
    for cell in cells(quick=False):
        if cell.id in report["cells"]:
            date = report.get("dates", {}).get(cell.id)
            yield from cell_table(cell, report["cells"][cell.id], report["baseline"], date)


def circumstances(report: Mapping[str, Any]) -> Iterator[str]:
    """When, on what and with which versions it was measured."""
    about, settings = report["environment"], report["settings"]
    wakes = f" A process wakes another in {about['wakes']}." if "wakes" in about else ""
    yield (
        f"{about['date']}: {about['python']} on {about['system']}, {about['cpu']}, {about['cores']} cores; "
        f"rounds of {settings['seconds']:g} s; load before the run {about['load_before']:.1f}; "
        f"TCP congestion control: {about['congestion']}.{wakes}"
    )
    yield ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version != "absent") + "."


def beside_it(verdict: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """What another report reached of the same target; nothing if it is the same measurement."""
    names = ("cell", "metric", "ours", "base")
    for other in others:
        if all(other[name] == verdict[name] for name in names) and other["median"] != verdict["median"]:
            _, _, _, reached, _, met = targets.columns(other)
            return f"{reached} {met}"
    return ""


def length(rounds: targets.Rounds) -> int:
    """How many rounds a cell has."""
    return max(len(results) for results in rounds.values())


def joined(runs: Sequence[targets.Rounds]) -> dict[str, list[Result]]:
    """The rounds of all runs of a cell, each beside those measured with it: who took no part has empty ones."""
    names = dict.fromkeys(name for rounds in runs for name in rounds)
    return {name: [one for rounds in runs for one in rounds.get(name, [{}] * length(rounds))] for name in names}


def put_together(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One report of all: the cells with the rounds of all runs, the rest from the first."""
    merged = {}
    for cell in cells(quick=False):
        runs = [report["cells"][cell.id] for report in reports if cell.id in report["cells"]]
        if runs:
            merged[cell.id] = joined(runs)
    return {**reports[0], "cells": merged, "targets": targets.evaluate(merged)}


def completed(report: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """A report, with those cells of an earlier one that it does not have."""
    kept = {cell: clients for cell, clients in earlier["cells"].items() if cell not in report["cells"]}
    known = earlier.get("dates", {})
    sources = [*earlier.get("earlier", ()), {name: earlier[name] for name in ("environment", "settings")}]
    dates = {cell: known.get(cell, earlier["environment"]["date"]) for cell in kept}
    return {
        **{name: earlier[name] for name in ("beside",) if name in earlier},
        **report,
        "dates": dates,
        "earlier": [source for source in sources if source["environment"]["date"] in dates.values()],
        "targets": [*report["targets"], *(each for each in earlier["targets"] if each["cell"] in kept)],
        "cells": {**kept, **report["cells"]},
    }


def read(sources: Sequence[Path]) -> dict[str, Any]:
    """What is kept of some runs, or was."""
    reports = [json.loads(source.read_text()) for source in sources]
    if len(reports) == 1 and summary.is_summary(reports[0]):
        return summary.of(reports[0])
    for source, report in zip(sources, reports, strict=True):
        if summary.is_summary(report):
            sys.exit(f"{source} has no rounds any more: it cannot be put together with others")
    return summary.of(put_together(reports))


def main(page: Path, picture: Path, sources: Sequence[Path], keep: Path | None, beside: Path | None) -> None:
    """Replace the figures in `page`, what is kept of them beside it, and the picture."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{page} has no lines '{BEGIN}' and '{END}'")
    report = read(sources)
    if keep is not None:
        report = completed(report, json.loads(keep.read_text()))
    if beside is not None:
        other = json.loads(beside.read_text())
        report["beside"] = other["environment"]["date"]
        for verdict in report["targets"]:
            verdict["beside"] = beside_it(verdict, other["targets"])
    text = "\n".join(figures(report))
    page.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}")
    page.with_suffix(".json").write_text(summary.dumps(report))
    picture.write_text(plot.draw(report))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the figures go (%(default)s)")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes (%(default)s)")
    parser.add_argument("--keep", type=Path, help="an earlier report, for the cells that no run has")
    parser.add_argument("--beside", type=Path, help="another report, to be shown beside")
    arguments = parser.parse_args()
    main(arguments.page, arguments.picture, arguments.runs, arguments.keep, arguments.beside)
