"""What it costs here that one process wakes another: with a second thread, that is a part of every message.

Between processors it depends on the machine more than anything else does: on a virtual one, rousing a processor that
sleeps goes through the hypervisor. `python benches/wakes.py` prints it; a run names it with the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from common import Spread

BATCHES, TURNS = 20, 100


def _wake_us(own: int, other: int) -> Spread | None:
    """Microseconds from waking a process on the processor `other` until it runs, half of there and back."""
    there, back = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(there[1])
        os.sched_setaffinity(0, {other})
        while byte := os.read(there[0], 1):
            os.write(back[1], byte)
        os._exit(0)
    os.close(there[0])
    os.sched_setaffinity(0, {own})
    batches = []
    for _ in range(BATCHES):
        start = time.perf_counter()
        for _ in range(TURNS):
            os.write(there[1], b".")
            os.read(back[0], 1)
        batches.append((time.perf_counter() - start) / TURNS / 2 * 1e6)
    os.close(there[1])
    os.waitpid(child, 0)
    return Spread.of(batches)


def _report() -> str:
    if sys.platform != "linux":
        return "not measured on this system"
    own, *others = sorted(os.sched_getaffinity(0))
    found = [("on the same processor", _wake_us(own, own))]
    found += [("on another", _wake_us(own, other)) for other in others[:1]]
    return ", ".join(f"{us.median:.1f} [{us.low:.1f}..{us.high:.1f}] µs {where}" for where, us in found if us)


def measured() -> str:
    """In words. In a process of its own: this one is to keep all of its processors."""
    run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    return run.stdout.strip() or "not measured"


if __name__ == "__main__":
    print(_report())
