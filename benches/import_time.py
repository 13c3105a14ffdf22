"""What `import fal_realtime` costs over an interpreter that imports nothing, and what of that is asyncio's.

    python benches/import_time.py              milliseconds, median of 25 rounds
    python benches/import_time.py --limit 30   fails when the median is above

The programs run alternately, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

PROGRAMS = {"nothing": "pass", "asyncio": "import asyncio", "fal_realtime": "import fal_realtime"}


def seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, help="how often each program runs (default: %(default)s)")
    parser.add_argument("--limit", type=float, help="milliseconds that the import may cost")
    arguments = parser.parse_args()
    for program in PROGRAMS.values():
        seconds(program)  # compiles, and fills the caches of the system
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(arguments.rounds):
        for name, program in PROGRAMS.items():
            taken[name].append(seconds(program) * 1e3)
    version = ".".join(map(str, sys.version_info[:3]))
    cost = {
        name: statistics.median(one - empty for one, empty in zip(times, taken["nothing"], strict=True))
        for name, times in taken.items()
    }
    print(
        f"CPython {version}: importing fal_realtime takes {cost['fal_realtime']:.1f} ms over an empty interpreter "
        f"({statistics.median(taken['nothing']):.1f} ms), of which asyncio alone {cost['asyncio']:.1f} ms"
    )
    if arguments.limit is not None and cost["fal_realtime"] > arguments.limit:
        print(f"more than {arguments.limit} ms", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
