"""A relay of browsers' sessions: `fal_realtime.asgi.Relay` beside the same one written by hand with `websockets`.

    .venv/bin/python benches/gateway_relay.py [--sessions 1000] [--rounds 5] [--messages 10] …

Three processes on loopback: a `LocalServer` as fal, the relay, and a client with all the sessions, each of which sends
a message every `interval` seconds and waits for its echo. Each round runs every relay once, in turn; compared is
the relay process's CPU time a round trip, its memory a session, and the latency that it adds to what the client sees
without a relay. Raises its own limit of open files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent / "gateway"
RELAYS = ("uvicorn", "granian", "websockets", "uvicorn-websockets")
REFERENCE = "websockets"
WORDS = {
    "uvicorn": "this relay, under uvicorn",
    "granian": "this relay, under granian",
    "websockets": "by hand: websockets' server and client",
    "uvicorn-websockets": "by hand: uvicorn, and websockets' client",
    "direct": "no relay",
}
_TICKS = os.sysconf("SC_CLK_TCK")
_TARGET = 0.5


class Program:
    """A process that says a line when it is ready, and leaves when its standard input ends."""

    def __init__(self, script: str, *arguments: object) -> None:
        command = [sys.executable, str(HERE / script), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.said()

    def said(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, f"{self.process.args} ended"
        return line

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def measure(relay: str, fal: str, options: argparse.Namespace) -> dict[str, float]:
    """One relay with all sessions, once."""
    server = None if relay == "direct" else Program("relay.py", relay, fal)
    port, pid = (fal.split(maxsplit=1)[0], 0) if server is None else server.ready.split()
    try:
        before = resident_bytes(int(pid)) if server is not None else 0
        key = fal.split()[1]
        client = Program("load.py", port, key, options.sessions, options.messages, options.interval, options.size)
        time.sleep(1)  # what opening has set off is over
        idle = resident_bytes(int(pid)) if server is not None else 0
        began, cpu = time.monotonic(), cpu_seconds(int(pid)) if server is not None else 0.0
        client.say("go")
        seen: dict[str, float] = json.loads(client.said())
        seconds = time.monotonic() - began
        used = cpu_seconds(int(pid)) - cpu if server is not None else 0.0
        client.stop()
    finally:
        if server is not None:
            server.stop()
    trips = options.sessions * options.messages
    return {
        "cpu_us": used / trips * 1e6,
        "core": used / seconds,
        "kib": (idle - before) / options.sessions / 1024,
        **seen,
    }


def shown(values: list[float]) -> str:
    return f"{statistics.median(values):.2f}x [{min(values):.2f}..{max(values):.2f}]"


def report(rounds: list[dict[str, dict[str, float]]], options: argparse.Namespace) -> None:
    print(
        f"\n{options.sessions} sessions, a message of {options.size} B and its echo every {options.interval:g} s, "
        f"{len(rounds)} rounds of {options.messages} messages; medians, and ratios within a round [least..most]\n"
    )
    print(f"| relay | CPU a round trip | beside {REFERENCE} | of a core | memory a session | p50 added | p99 added |")
    print("|---|---|---|---|---|---|---|")
    for relay in rounds[0]:
        if relay == "direct":
            continue
        middle = {name: statistics.median(each[relay][name] for each in rounds) for name in ("cpu_us", "core", "kib")}
        ratios = [each[relay]["cpu_us"] / each[REFERENCE]["cpu_us"] for each in rounds]
        added = [
            statistics.median(each[relay][name] - each["direct"][name] for each in rounds) for name in ("p50", "p99")
        ]
        print(
            f"| {WORDS[relay]} | {middle['cpu_us']:.0f} µs | {shown(ratios)} | {middle['core']:.0%} | "
            f"{middle['kib']:.0f} KiB | {added[0]:.2f} ms | {added[1]:.2f} ms |"
        )
    ours = statistics.median(each["uvicorn"]["cpu_us"] / each[REFERENCE]["cpu_us"] for each in rounds)
    print(f"\ntarget: {_TARGET}x of the CPU of {REFERENCE}: {'met' if ours <= _TARGET else f'MISSED ({ours:.2f}x)'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--relays", nargs="+", default=list(RELAYS), choices=RELAYS)
    parser.add_argument("--json", type=Path, help="where the raw figures go")
    options = parser.parse_args()
    wanted = 4 * options.sessions + 1000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"needs {wanted} open files, and the system allows {hard}: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    fal = Program("fal.py")
    rounds = []
    try:
        for number in range(options.rounds):
            # Another one is first in each round.
            order = [*options.relays[number % len(options.relays) :], *options.relays[: number % len(options.relays)]]
            seen = {relay: measure(relay, fal.ready, options) for relay in ["direct", *order]}
            rounds.append({relay: seen[relay] for relay in ["direct", *options.relays]})
            print(
                number + 1,
                {relay: {name: round(value, 2) for name, value in each.items()} for relay, each in seen.items()},
                file=sys.stderr,
            )
    finally:
        fal.stop()
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))
    report(rounds, options)


if __name__ == "__main__":
    main()
