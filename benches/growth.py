"""Shows how cost grows: with connections, with messages, and beside a slow consumer. Prints tables, writes JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from common import Result, Server, Spec, Spread, echo_server, measure
from entries import BY_NAME
from network import unpaced_loopback

CONNECTIONS = (10, 100, 1_000, 10_000)
MESSAGES = (1_000, 10_000, 100_000, 1_000_000)
FLAT = 2.0
"""Cost from the least to the greatest may differ by this factor: caches grow cold, nothing else may happen."""
ISOLATED = 0.8
"""Beside a slow consumer the others keep at least this share of their throughput."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./bench growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each measurement")
    parser.add_argument("--only", default="fal-realtime/callback,fal-realtime/recv", help="clients, by name")
    parser.add_argument("--quick", action="store_true", help="up to 1,000 connections and 100,000 messages, one round")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    return parser.parse_args()


def rounds_of(spec: Spec, rounds: int) -> list[Result]:
    """The rounds that succeeded; what failed is printed."""
    found = []
    for _ in range(rounds):
        result = measure(spec, BY_NAME[spec.peer], timeout=600)
        if "error" in result:
            print(f"  {spec.peer}: {result['error']}")
        else:
            found.append(result)
    return found


def cost(results: Sequence[Result], key: str) -> float | None:
    """The median of one figure."""
    spread = Spread.of([result[key] for result in results])
    return spread.median if spread else None


def verdict(costs: Sequence[float | None]) -> str:
    """Whether cost stayed flat."""
    known = [one for one in costs if one]
    if len(known) < 2:
        return "not measured"
    factor = known[-1] / known[0]
    return f"{'flat' if factor <= FLAT else 'GROWS'}: {factor:.2f}x from the least to the greatest"


def connections(server: Server, peer: str, counts: Sequence[int], rounds: int, seconds: float) -> list[Result]:
    """One message in flight on each of more and more connections."""
    print(f"\n{peer}: cost a message with more connections (200 B, one in flight each)")
    print(f"{'connections':>12} {'messages/s':>12} {'loop µs':>9} {'cpu µs':>9} {'server busy':>12}")
    rows: list[Result] = []
    for count in counts:
        length = max(seconds, count / 2_000)  # everyone gets its turn several times
        spec = Spec(peer, "connections", "ws", "200B", connections=count, seconds=length, **server.addresses("ws"))
        results = rounds_of(spec, rounds)
        row = {key: cost(results, key) for key in ("rate", "loop_us", "cpu_us", "server_busy")}
        rows.append({"connections": count, **row})
        if results:
            print(f"{count:>12,} {row['rate']:>12,.0f} {row['loop_us']:>9.2f} {row['cpu_us']:>9.2f}", end="")
            print(f" {row['server_busy']:>12.0%}")
    print(" ", verdict([row["cpu_us"] for row in rows]))
    return rows


def messages(server: Server, peer: str, counts: Sequence[int], rounds: int) -> list[Result]:
    """More and more messages on one connection, 64 in flight, in one process."""
    print(f"\n{peer}: cost a message with more messages (200 B, 64 in flight)")
    print(f"{'messages':>12} {'loop µs':>9} {'cpu µs':>9} {'resident KB':>12}")
    spec = Spec(peer, "growth", "ws", "200B", window=64, counts=tuple(counts), **server.addresses("ws"))
    results = rounds_of(spec, rounds)
    rows: list[Result] = []
    for index, count in enumerate(counts):
        steps = [result["steps"][index] for result in results]
        row = {key: cost(steps, key) for key in ("loop_us", "cpu_us", "rss_kb")}
        rows.append({"messages": count, **row})
        if steps:
            print(f"{count:>12,} {row['loop_us']:>9.2f} {row['cpu_us']:>9.2f} {row['rss_kb']:>12,.0f}")
    # The first thousand include warming up.
    print(" ", verdict([row["cpu_us"] for row in rows[1:]]))
    return rows


def isolation(server: Server, peer: str, rounds: int, seconds: float) -> Result:
    """Ten busy connections, alone and beside one whose consumer sleeps, on the same loop."""
    spec = Spec(peer, "isolation", "ws", "10KB", window=8, connections=10, seconds=seconds, **server.addresses("ws"))
    results = rounds_of(spec, rounds)
    kept = Spread.of([result["beside"] / result["alone"] for result in results])
    print(f"\n{peer}: ten busy connections beside a slow consumer on the same loop")
    if kept is None:
        print("  not measured")
        return {}
    word = "isolated" if kept.median >= ISOLATED else "DISTURBED"
    print(f"  {word}: they keep {kept.median:.2f} [{kept.low:.2f}..{kept.high:.2f}] of their throughput")
    return {"kept": kept.median, "low": kept.low, "high": kept.high, "rounds": results}


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    rounds = 1 if options.quick else options.rounds
    limit = 3 if options.quick else 4
    print("TCP congestion control:", unpaced_loopback())
    report: dict[str, Result] = {}
    with echo_server() as server:
        for peer in options.only.split(","):
            report[peer] = {
                "connections": connections(server, peer, CONNECTIONS[:limit], rounds, options.seconds),
                "messages": messages(server, peer, MESSAGES[:limit], rounds),
                "isolation": isolation(server, peer, rounds, options.seconds),
            }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
