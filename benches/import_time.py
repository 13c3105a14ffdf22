"""What `import fal_realtime` costs over an interpreter that imports nothing, and what asyncio would cost alone.

    python benches/import_time.py              milliseconds: the clock's and the processor's
    python benches/import_time.py --limit 30   fails when the median of the clock's is above

The programs run alternately, so that a busy machine slows all of them. The clock's are medians; of the processor's
the least are compared, which a busy machine disturbs less. (Unix only.)
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

PROGRAMS = {"nothing": "pass", "asyncio": "import asyncio", "fal_realtime": "import fal_realtime"}


def milliseconds(program: str) -> tuple[float, float]:
    """By the clock, and of the processor."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock * 1e3, (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, help="how often each program runs (default: %(default)s)")
    parser.add_argument("--limit", type=float, help="milliseconds that the import may cost")
    arguments = parser.parse_args()
    for program in PROGRAMS.values():
        milliseconds(program)  # compiles, and fills the caches of the system
    clock: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    processor: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(arguments.rounds):
        for name, program in PROGRAMS.items():
            taken = milliseconds(program)
            clock[name].append(taken[0])
            processor[name].append(taken[1])
    print("CPython {}.{}.{}".format(*sys.version_info[:3]))
    print(
        f"an empty interpreter: {statistics.median(clock['nothing']):.1f} ms ({min(processor['nothing']):.1f} ms CPU)"
    )
    cost = 0.0
    for name in ("asyncio", "fal_realtime"):
        cost = statistics.median(one - empty for one, empty in zip(clock[name], clock["nothing"], strict=True))
        least = min(processor[name]) - min(processor["nothing"])
        print(f"importing {name} over it: {cost:.1f} ms ({least:.1f} ms CPU)")
    if arguments.limit is not None and cost > arguments.limit:
        print(f"more than {arguments.limit} ms", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
