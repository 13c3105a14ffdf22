"""Counts what one message costs, by thread and by function: instructions where they can be counted."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import HERE, Spec, echo_server

FEW, MANY = 1_000, 21_000
"""Messages of the two runs under callgrind: their difference leaves start-up out."""
SAMPLED = 300_000
"""Messages of the run that perf samples; start-up is in its count."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./bench profile", description=__doc__)
    parser.add_argument("peer", nargs="?", default="fal-realtime/callback")
    parser.add_argument("size", nargs="?", default="200B")
    parser.add_argument("scheme", nargs="?", default="ws", choices=("ws", "wss"))
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--with", dest="tool", choices=("perf", "callgrind"), help="default: perf where it can count")
    return parser.parse_args()


def worker(spec: Spec) -> list[str]:
    """The command that makes `spec.counts[-1]` round trips."""
    return [sys.executable, "-m", "peers.worker", spec.to_json()]


def run(command: Sequence[str], spec: Spec) -> subprocess.CompletedProcess[str]:
    """Runs it where the worker finds its modules."""
    environment = {**os.environ, **({"SSL_CERT_FILE": spec.ca_file} if spec.ca_file else {})}
    # valgrind follows the link of a virtual environment's interpreter, which then no longer finds its packages.
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)


def perf_event() -> str | None:
    """The best that perf can count here: instructions, or (as in most virtual machines) CPU time alone."""
    if shutil.which("perf") is None:
        return None
    for event in ("instructions:u", "cpu-clock"):
        command = ["perf", "record", "-q", "-e", event, "-o", os.devnull, "true"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return event
    return None


def with_perf(spec: Spec, event: str, directory: str) -> None:
    """Samples one long run."""
    data = str(Path(directory, "perf.data"))
    finished = run(["perf", "record", "-q", "-F", "999", "-e", event, "-o", data, *worker(spec)], spec)
    if finished.returncode != 0:
        sys.exit(finished.stderr)
    unit = "ns of CPU" if event == "cpu-clock" else "instructions"
    report = ["perf", "report", "-i", data, "--stdio", "-q", "--percent-limit", "0.5", "--show-total-period"]
    for keys, title in (("pid", "by thread"), ("comm,dso,symbol", "by function")):
        print(f"\n{title}: share, {unit} a message")
        for line in run([*report, "--sort", keys], spec).stdout.splitlines():
            found = re.match(r"\s*([\d.]+%)\s+(\d+)\s+(.*?)\s*(?:-\s+-)?\s*$", line)
            if found:
                share, period, name = found.groups()
                print(f"  {share:>8} {int(period) / spec.counts[-1]:>10,.0f}  {name}")


LAYERS = (
    ("encoding", r"py::encode|py::base::encoding|py::borrowed_bytes"),
    ("decoding", r"py::decode|py::codec"),
    ("callbacks, waiting, wakes of the loop", r"fal_realtime::py::"),
    ("framing and masking", r"core::frame|core::payload|net::writer|net::mask_keys"),
    ("what a message is", r"core::envelope|core::str"),
    ("queues and the lock", r"net::handle|core::(outbox|inbox|ring|throttle|requests|stats)|sync::"),
    ("reading, meeting, waking the I/O thread", r"fal_realtime::"),
    ("tokio", r"tokio|mio::"),
    ("allocating and copying", r"malloc|calloc|realloc|free|mem(move|cpy|set|cmp)|alloc::"),
    ("uvloop", r"uvloop|libuv|uv__"),
    ("CPython, the callback included", r"python|ceval|/Objects/|/Python/"),
)
"""What a function belongs to: the first pattern that is found in its name. What none is found in is `other`."""


def layer_of(function: str) -> str:
    """The layer of a function."""
    name = function.partition(" [")[0]  # without the file that it is in
    return next((layer for layer, pattern in LAYERS if re.search(pattern, name)), "other")


def callgrind_functions(spec: Spec, directory: str) -> dict[str, dict[str, int]]:
    """Instructions of each thread by function, start-up included."""
    name = str(Path(directory, f"callgrind.{spec.counts[-1]}"))
    tool = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={name}"]
    finished = run([*tool, *worker(spec)], spec)
    if finished.returncode != 0:
        sys.exit(finished.stderr)
    threads = {}
    for file in sorted(Path(directory).glob(f"callgrind.{spec.counts[-1]}-*")):
        functions: dict[str, int] = {}
        for line in run(["callgrind_annotate", "--threshold=100", str(file)], spec).stdout.splitlines():
            found = re.match(r"\s*([\d,]+) \(.*?%\)\s+(\S.*)", line)
            if found and "PROGRAM" not in line:
                function = found[2]
                functions[function] = functions.get(function, 0) + int(found[1].replace(",", ""))
        threads[file.name.rpartition("-")[2]] = functions
    return threads


def with_callgrind(few: Spec, many: Spec, directory: str) -> None:
    """Two runs, and their difference. Threads take turns under valgrind, so batches are not what they are outside."""
    before, after = callgrind_functions(few, directory), callgrind_functions(many, directory)
    messages = many.counts[-1] - few.counts[-1]
    for thread, functions in after.items():
        base = before.get(thread, {})
        each = {name: (count - base.get(name, 0)) / messages for name, count in functions.items()}
        total = sum(each.values())
        if total < 1:
            continue
        who = "the event loop" if thread == "01" else "an I/O thread"
        print(f"\nthread {thread} ({who}): {total:,.0f} instructions a message, without start-up")
        layers: dict[str, float] = {}
        for name, count in each.items():
            layers[layer_of(name)] = layers.get(layer_of(name), 0.0) + count
        for title, figures, limit in (("by layer", layers, 1.0), ("by function", each, total / 100)):
            print(f"  {title}:")
            for name, count in sorted(figures.items(), key=lambda item: -item[1]):
                if count >= limit:
                    print(f"  {count:>9,.0f}  {name}")


def main() -> None:
    """Count and print."""
    options = arguments()
    event = perf_event() if options.tool != "callgrind" else None
    callgrind = shutil.which("valgrind") is not None
    if options.tool == "callgrind" or (callgrind and options.tool is None and event != "instructions:u"):
        event = None
    if event is None and not callgrind:
        sys.exit("neither perf nor valgrind works here")
    with echo_server() as server, tempfile.TemporaryDirectory() as directory:

        def spec(count: int) -> Spec:
            return Spec(
                options.peer,
                "growth",
                options.scheme,
                options.size,
                window=options.window,
                counts=(count,),
                **server.addresses(options.scheme),
            )

        print(f"{options.peer}, {options.size}, {options.scheme}, {options.window} in flight")
        if event is not None:
            with_perf(spec(SAMPLED), event, directory)
        else:
            with_callgrind(spec(FEW), spec(MANY), directory)


if __name__ == "__main__":
    main()
