"""Compares two builds of this package, in turns: the one of this environment, and the one of another interpreter.

    ./bench builds OTHER_PYTHON [--work 'sparse/ws/200B/100,pipeline/ws/200B'] [--only fal-realtime/callback]

OTHER_PYTHON is a Python in whose environment the other build is, with uvloop and msgspec. Prints both, and the ratios
of this one to the other within a round.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cells import METRICS, Cell, cells
from common import Result, Server, Spec, Spread, echo_server, measure
from entries import PEERS, WORKS, Entry
from network import unpaced_loopback
from run import matches, show


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="./bench builds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", help="the Python of the other build")
    parser.add_argument("--work", default="sparse/ws/200B/100,roundtrip/ws/200B,pipeline/ws/200B", help="cells")
    parser.add_argument("--only", default="fal-realtime/callback", help="ways of using the client, as patterns")
    parser.add_argument("--loop", default="uvloop", help="the event loop")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each cell")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each measurement")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    return parser.parse_args()


def compare(cell: Cell, entry: Entry, server: Server, options: argparse.Namespace) -> dict[str, list[Result]]:
    """All rounds of one cell. Every other round begins with the other build."""
    pythons = {"this": sys.executable, "other": options.other}
    results: dict[str, list[Result]] = {name: [] for name in pythons}
    for number in range(min(options.rounds, cell.rounds or options.rounds)):
        spec = Spec(
            peer=entry.name,
            work=cell.work,
            scheme=cell.scheme,
            size=cell.size,
            loop=options.loop,
            window=cell.window,
            connections=cell.connections,
            seconds=cell.seconds or options.seconds,
            callback_us=cell.callback_us,
            think_ms=cell.think_ms,
            **server.addresses(cell.scheme),
        )
        for name in ("this", "other") if number % 2 == 0 else ("other", "this"):
            results[name].append(measure(spec, entry, python=pythons[name]))
    return results


def lines(cell: Cell, results: dict[str, list[Result]]) -> list[str]:
    """One cell as text."""
    found = []
    for key, title, digits in METRICS[cell.work]:
        pairs = [
            (this[key], other[key])
            for this, other in zip(results["this"], results["other"], strict=True)
            if this.get(key) is not None and other.get(key)
        ]
        if pairs:
            ours, theirs = (Spread.of([pair[index] for pair in pairs]) for index in (0, 1))
            ratio = Spread.of([this / other for this, other in pairs])
            found.append(f"  {title:<22} {show(ratio, 2):>22}   {show(ours, digits)} / {show(theirs, digits)}")
    failed = [one["error"] for rounds in results.values() for one in rounds if "error" in one]
    return [*found, *(f"  failed: {error}" for error in failed)]


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    print("TCP congestion control:", unpaced_loopback())
    measured = {}
    with echo_server() as server:
        for cell in cells(quick=False):
            for entry in PEERS:
                if (
                    matches(cell.id, options.work)
                    and matches(entry.name, options.only)
                    and cell.work in WORKS[entry.kind]
                ):
                    results = measured[f"{cell.id} {entry.name}"] = compare(cell, entry, server, options)
                    print(f"\n{cell.title}, {entry.name}: this / other", *lines(cell, results), sep="\n", flush=True)
                    if options.json:
                        options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
