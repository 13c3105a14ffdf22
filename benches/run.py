"""Runs this client and its peers alternately, and prints medians with their spread, ratios, and the targets."""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import plot
import summary
import targets
import wakes
from cells import METRICS, Cell, cells
from common import STOLEN, Result, Server, Spec, Spread, echo_server, measure, missing
from entries import PEERS, WORKS, Entry
from network import unpaced_loopback

MASS_PEERS = ("fal-realtime/callback", "picows/callback", "fal-client")
"""Who opens ten thousand connections."""
BOTTLENECK = 0.9
"""From this share of its time on, the server is what was measured."""
DISTRIBUTIONS: tuple[str, ...] = (
    *("fal-realtime", "fal-client", "picows", "aiohttp", "websockets", "wreq", "rnet"),
    *("msgspec", "ormsgpack", "msgpack", "uvloop"),
)
"""Whose versions a report names."""

Label = tuple[Entry, str]
"""A client and the loop it runs on."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="rounds of each cell (default 5, with --quick 2)")
    parser.add_argument("--seconds", type=float, help="length of each measurement (default 1, with --quick 0.4)")
    parser.add_argument("--quick", action="store_true", help="fewer cells, shorter: a few minutes, for a first look")
    parser.add_argument("--only", default="*", help="clients to measure, as patterns: 'fal-realtime/*,picows/*'")
    parser.add_argument("--work", default="*", help="cells to measure, as patterns: 'pipeline/ws/*,roundtrip/*'")
    parser.add_argument("--loops", help="event loops (default: uvloop; at 200B and 10KB over ws asyncio too)")
    parser.add_argument("--baseline", default=targets.PICOWS, help="the client that ratios refer to")
    parser.add_argument("--server-threads", type=int, default=1, help="threads of the echo server (default 1)")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    parser.add_argument("--svg", type=Path, help="draw sparse traffic and blocked loops into this file")
    parser.add_argument("--list", action="store_true", help="print the names of cells and clients, and stop")
    return parser.parse_args()


def matches(name: str, patterns: str) -> bool:
    """Whether a name is chosen; a pattern without `*` also chooses what is below it."""
    chosen = [pattern.strip() for pattern in patterns.split(",")]
    return any(fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in chosen)


def label(entry: Entry, loop: str) -> str:
    """The name in tables: uvloop is not mentioned."""
    return entry.name if loop == "uvloop" or entry.kind != "async" else f"{entry.name}@{loop}"


def contestants(cell: Cell, chosen: Sequence[Entry], loops: str | None) -> Iterator[Label]:
    """Who takes part in a cell."""
    small = cell.work in ("pipeline", "roundtrip") and cell.scheme == "ws" and cell.size in ("200B", "10KB")
    both = loops.split(",") if loops else ["uvloop", "asyncio"] if small else ["uvloop"]
    for entry in chosen:
        if cell.work not in WORKS[entry.kind] or (cell.work == "mass" and entry.name not in MASS_PEERS):
            continue
        for loop in both if entry.kind == "async" else both[:1]:
            yield entry, loop


def run_cell(cell: Cell, who: Sequence[Label], server: Server, rounds: int, seconds: float) -> dict[str, list[Result]]:
    """All rounds of one cell. Each round begins with another client, so that drift hits all alike."""
    results: dict[str, list[Result]] = {label(*one): [] for one in who}
    for number in range(min(rounds, cell.rounds or rounds)):
        first = number % len(who)
        for entry, loop in [*who[first:], *who[:first]]:
            spec = Spec(
                peer=entry.name,
                work=cell.work,
                scheme=cell.scheme,
                size=cell.size,
                loop=loop,
                window=cell.window,
                connections=cell.connections,
                seconds=cell.seconds or seconds,
                callback_us=cell.callback_us,
                think_ms=cell.think_ms,
                **server.addresses(cell.scheme),
            )
            result = measure(spec, entry)
            results[label(entry, loop)].append(result)
            if "error" in result:
                print(f"  {label(entry, loop)}: {result['error']}", file=sys.stderr)
    return results


def show(value: Spread | None, digits: int) -> str:
    """`median [low..high]`, or the one value."""
    if value is None:
        return "-"
    if value.low == value.high:
        return f"{value.median:,.{digits}f}"
    return f"{value.median:,.{digits}f} [{value.low:,.{digits}f}..{value.high:,.{digits}f}]"


def table(cell: Cell, results: Mapping[str, Sequence[Result]], baseline: str) -> Iterator[str]:
    """One cell as text."""
    metrics = METRICS[cell.work]
    if cell.work == "codec":
        baseline = "codec/msgspec"
    yield f"\n{cell.title}"
    head = ["", *(title for _, title, _ in metrics), f"{metrics[0][1]} / {baseline}"]
    rows = [head]
    for name, rounds in results.items():
        values = [Spread.of([one[key] for one in rounds if one.get(key) is not None]) for key, _, _ in metrics]
        ratio = Spread.of(targets.paired(results, metrics[0][0], name, baseline))
        row = [name, *(show(value, digits) for value, (_, _, digits) in zip(values, metrics, strict=True))]
        row.append(show(ratio, 2))
        failed = sum("error" in one for one in rounds)
        busy = Spread.of([one["server_busy"] for one in rounds if "server_busy" in one])
        if busy is not None and busy.median >= BOTTLENECK:
            row[-1] += f"  the server is the bottleneck ({busy.median:.0%})"
        if any(one.get("load", 1.0) < targets.SATURATED for one in rounds):
            row[-1] += "  the loop was not saturated"
        if failed:
            row[-1] += f"  {failed} of {len(rounds)} rounds failed"
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        first, *others = [f"{text:>{width}}" for text, width in zip(row, widths, strict=True)]
        yield "  ".join([f"{first.strip():<{widths[0]}}", *others]).rstrip()


def disturbances(measured: Mapping[str, Mapping[str, Sequence[Result]]]) -> Iterator[str]:
    """What a hypervisor did to the run."""
    results = [one for cell in measured.values() for rounds in cell.values() for one in rounds]
    repeats = sum(one["repeated"] for one in results)
    disturbed = sum(one["stolen"] > STOLEN for one in results)
    if repeats:
        yield (
            f"{repeats} measurements were made again because the hypervisor had taken more than {STOLEN:.0%} of the "
            f"processors' time; {disturbed} of {len(results)} remained so"
        )


def version(distribution: str) -> str:
    """The installed version."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def environment(congestion: str) -> dict[str, Any]:
    """What a reader must know of the machine and of the versions."""
    versions = {name: version(name) for name in DISTRIBUTIONS}
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = found[0].partition(":")[2].strip() if found else model
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "congestion": congestion,
        "wakes": wakes.measured(),
        "versions": versions,
    }


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    chosen = [entry for entry in PEERS if matches(entry.name, options.only)]
    todo = [cell for cell in cells(quick=options.quick) if matches(cell.id, options.work)]
    if options.list:
        print("cells:", *(f"  {cell.id}" for cell in todo), "clients:", *(f"  {one.name}" for one in chosen), sep="\n")
        return
    rounds = options.rounds or (2 if options.quick else 5)
    seconds = options.seconds or (0.4 if options.quick else 1.0)
    about = environment(unpaced_loopback())
    print(f"{about['python']}, {about['system']}, {about['cpu']}, {about['cores']} cores; {rounds} rounds")
    print("TCP congestion control:", about["congestion"])
    print("a process wakes another:", about["wakes"])
    print("versions:", ", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    if about["load_before"] > 0.5:
        print(f"warning: other work is running (load {about['load_before']:.1f}); the spreads will show it")
    present = []
    for entry in chosen:
        reason = missing(entry, "uvloop")
        if reason is None:
            present.append(entry)
        else:
            print(f"skipped {entry.name}: {reason}")

    settings = {"rounds": rounds, "seconds": seconds, "server_threads": options.server_threads}
    measured: dict[str, dict[str, list[Result]]] = {}
    with echo_server(options.server_threads) as server:
        for cell in todo:
            who = list(contestants(cell, present, options.loops))
            if not who:
                continue
            measured[cell.id] = run_cell(cell, who, server, rounds, seconds)
            print(*table(cell, measured[cell.id], options.baseline), sep="\n", flush=True)
            # After each cell: a run that is interrupted keeps what it has measured.
            report = {"environment": about, "settings": settings, "baseline": options.baseline, "cells": measured}
            save({**report, "targets": targets.evaluate(measured)}, options.json, options.svg)
    print("", *disturbances(measured), sep="\n")
    print("", *targets.lines(targets.evaluate(measured)), sep="\n")


def save(report: Mapping[str, Any], to_json: Path | None, to_svg: Path | None) -> None:
    """Write the report, as far as it goes, where it is wanted."""
    if to_json:
        to_json.write_text(json.dumps(report, indent=1) + "\n")
    if to_svg:
        to_svg.write_text(plot.draw(summary.of(report)))


if __name__ == "__main__":
    main()
