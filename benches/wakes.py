"""What it costs here that one process wakes another: with a second thread, that is a part of every message.

Between processors it depends on the machine more than anything else does: on a virtual one, rousing a processor that
sleeps goes through the hypervisor. `python benches/wakes.py` prints it; a run names it with the machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

BATCHES, TURNS = 20, 100


def _wake(own: int, other: int) -> str:
    """From waking a process on the processor `other` until it runs (half of there and back), and the waker's CPU."""
    there, back = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(there[1])
        os.sched_setaffinity(0, {other})
        while byte := os.read(there[0], 1):
            os.write(back[1], byte)
        os._exit(0)
    os.close(there[0])
    os.close(back[1])  # so that its end is seen
    os.sched_setaffinity(0, {own})
    batches = []
    cpu = time.process_time()
    for _ in range(BATCHES):
        start = time.perf_counter()
        for _ in range(TURNS):
            os.write(there[1], b".")
            if not os.read(back[0], 1):
                sys.exit("the process to be woken has ended")
        batches.append((time.perf_counter() - start) / TURNS / 2 * 1e6)
    cpu_us = (time.process_time() - cpu) / BATCHES / TURNS * 1e6
    os.close(there[1])
    os.waitpid(child, 0)
    median = statistics.median(batches)
    return f"{median:.1f} [{min(batches):.1f}..{max(batches):.1f}] µs ({cpu_us:.1f} µs of its own CPU)"


def _report() -> str:
    if sys.platform != "linux":
        return "not measured on this system"
    own, *others = sorted(os.sched_getaffinity(0))
    found = [f"{_wake(own, own)} on the same processor", *(f"{_wake(own, other)} on another" for other in others[:1])]
    return ", ".join(found)


def measured() -> str:
    """In words. In a process of its own: this one is to keep all of its processors."""
    run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    return run.stdout.strip() or f"not measured ({run.stderr.strip().rpartition(chr(10))[2]})"


if __name__ == "__main__":
    print(_report())
