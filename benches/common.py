"""What the benchmark's programs share: the description of one measurement, messages, the server, processes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from entries import Entry

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NODE_DIRECTORY = HERE / "peers" / "node"

Result = dict[str, Any]

STOLEN = 0.02
"""The share of all processors' time that a hypervisor may take during a measurement."""
MOST_REPEATS = 4
"""How often a measurement is made again at most."""

SIZES = {"200B": 200, "10KB": 10_000, "100KB": 100_000, "1MB": 1_000_000}
"""Encoded sizes in bytes. `image` is not here: a small request that is answered with a 60 KB image result."""


@dataclass(frozen=True)
class Spec:
    """One measurement of one client in one process."""

    peer: str
    work: str
    scheme: str
    size: str
    loop: str = "uvloop"
    window: int = 1
    connections: int = 1
    seconds: float = 1.0
    callback_us: int = 0
    """Length of the callbacks that saturate the loop, or of the application's work on each result."""
    think_ms: float = 0.0
    """Mean time between a result and the next message of a connection, exponentially distributed."""
    counts: tuple[int, ...] = ()
    """After how many messages the cost is taken (`growth`)."""
    url: str = ""
    rest_url: str = ""
    ca_file: str = ""

    def to_json(self) -> str:
        """For the command line of the process that measures."""
        return json.dumps(asdict(self))

    @property
    def app(self) -> str:
        """The app id that the server answers accordingly."""
        return "local/image" if self.size == "image" else "local/echo"


def message(size: str) -> dict[str, Any]:
    """A dict whose msgpack encoding has exactly `size` bytes, the bulk of it `bytes`; or an image app's request."""
    msgspec = importlib.import_module("msgspec.msgpack")  # a peer: not needed to list or to plot
    fields: dict[str, Any] = {
        "prompt": "a cat in a hat, watercolour",
        "seed": 10_000_000,
        "strength": 0.65,
        "num_inference_steps": 3,
        "sync_mode": True,
        "request_id": "7b1c2f5e-bench",
    }
    if size == "image":
        return fields
    total = SIZES[size]
    bulk = total - len(msgspec.encode({**fields, "image_bytes": b""})) - (2 if total > 70_000 else 0)
    while (excess := len(msgspec.encode({**fields, "image_bytes": bytes(bulk)})) - total) > 0:
        bulk -= excess
    return {**fields, "image_bytes": os.urandom(bulk)}


def image_result() -> dict[str, Any]:
    """The result of an image app, as the echo server gives it for `image`."""
    image = {"content": os.urandom(60_000), "content_type": "image/jpeg", "width": 512, "height": 512}
    return {
        "images": [image],
        "timings": {"inference": 0.05},
        "seed": 10_000_000,
        "num_inference_steps": 3,
        "request_id": "7b1c2f5e-bench",
        "nsfw_content_detected": [False],
    }


def server_stats(rest_url: str) -> dict[str, float]:
    """CPU seconds and wall seconds of the echo server since its start, and its number of threads."""
    with urllib.request.urlopen(f"{rest_url}/stats", timeout=30) as response:
        stats: dict[str, float] = json.load(response)
    return stats


def server_busy(before: dict[str, float], after: dict[str, float]) -> float:
    """The share of its threads' time that the server was busy: at 0.9 and more it is what was measured."""
    wall = (after["wall"] - before["wall"]) * after["threads"]
    return (after["cpu"] - before["cpu"]) / wall if wall > 0 else 0.0


def binary(name: str) -> Path:
    """A release example of the crate."""
    path = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / name
    if not path.exists():
        message = f"{path} is missing: run ./bench, or cargo build --release --example {name}"
        raise SystemExit(message)
    return path


@dataclass(frozen=True)
class Server:
    """A running echo server."""

    ws: int
    wss: int
    ca_file: str

    def addresses(self, scheme: str) -> dict[str, Any]:
        """The address fields of a `Spec`."""
        port = self.wss if scheme == "wss" else self.ws
        return {
            "url": f"{scheme}://127.0.0.1:{port}",
            "rest_url": f"http://127.0.0.1:{self.ws}",
            "ca_file": self.ca_file if scheme == "wss" else "",
        }


@contextlib.contextmanager
def echo_server(threads: int = 1) -> Iterator[Server]:
    """The echo server in a process of its own; it ends when its standard input is closed."""
    with tempfile.TemporaryDirectory(prefix="fal-realtime-bench-") as directory:
        ca_file = str(Path(directory, "ca.pem"))
        process = subprocess.Popen(
            [binary("echo_server"), "--ca", ca_file, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ports = json.loads(process.stdout.readline())
            yield Server(ports["ws"], ports["wss"], ca_file)
        finally:
            process.stdin.close()
            process.wait(10)


def missing(entry: Entry, loop: str) -> str | None:
    """Why a client can't be measured here, or `None`."""
    packages = [*entry.packages, *(["uvloop"] if loop == "uvloop" and entry.kind == "async" else [])]
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if entry.name == "node":
        if shutil.which("node") is None:
            return "node is not on the PATH"
        if not (NODE_DIRECTORY / "node_modules").is_dir() and "FAL_BENCH_NODE_MODULES" not in os.environ:
            return f"no node_modules: run npm ci in {NODE_DIRECTORY.relative_to(ROOT)}"
    return None


def processor_ticks() -> tuple[int, int]:
    """What a hypervisor gave to others while this system wanted it, and all time; both zero where nothing tells."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0, 0
    ticks = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


def measure(spec: Spec, entry: Entry, timeout: float = 120.0, python: str = sys.executable) -> Result:
    """Runs one measurement, and again if the hypervisor took the processors away meanwhile.

    A thread that sleeps then wakes late: whoever is on the same host would be what is measured. `stolen` is the share
    of time that was taken, `repeated` how often the measurement was made again.
    """
    repeated = 0
    while True:
        before = processor_ticks()
        result = _measure(spec, entry, timeout, python)
        stolen, ticks = (after - start for start, after in zip(before, processor_ticks(), strict=True))
        share = stolen / ticks if ticks else 0.0
        if "error" in result or share <= STOLEN or repeated == MOST_REPEATS:
            return {**result, "stolen": share, "repeated": repeated}
        repeated += 1


def _measure(spec: Spec, entry: Entry, timeout: float, python: str) -> Result:
    """One measurement in a process of its own. A failure is a result too: `{"error": …}`."""
    environment = {**os.environ, **dict(entry.environment)}
    if spec.ca_file:
        # For clients without an option for it.
        environment["SSL_CERT_FILE"] = environment["NODE_EXTRA_CA_CERTS"] = spec.ca_file
    try:
        finished = subprocess.run(
            [python, "-m", "peers.worker", spec.to_json()],
            cwd=HERE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no result after {timeout:.0f} s"}
    if finished.returncode != 0:
        lines = finished.stderr.strip().splitlines() or [f"exit status {finished.returncode}"]
        return {"error": lines[-1], "details": lines[-40:]}
    result: Result = json.loads(finished.stdout.strip().splitlines()[-1])
    return result


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest of its rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """`None` when there are no values."""
        return cls(statistics.median(values), min(values), max(values)) if values else None
